"""Images for networks that have not learned anything."""

import cv2
import numpy as np
from numpy.typing import NDArray


def varied_images(count: int, size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coloured patterns of every coarseness and brightness, uint8 ``[count, size, size, 3]``.

    Smooth: flat areas would give equal activations, and a maximum over them that rounding decides.
    """
    rng = np.random.default_rng(seed)
    images = np.empty((count, size, size, 3), dtype=np.uint8)
    for index in range(count):
        cells = int(rng.integers(3, 12))
        low, high = np.sort(rng.integers(0, 256, (2, 3)), axis=0)
        grid = rng.integers(low, high + 1, (cells, cells, 3)).astype(np.uint8)
        images[index] = cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC)
    return images
