"""Percentiles of 8-bit values by counting them: exact, and nothing is sorted."""

import math
from typing import Any

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray


def percentiles(image: MatLike, *percents: float, where: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """Percentiles of each channel of uint8 ``[H, W, C]`` or ``[H, W]``, float64 ``[C, len(percents)]``.

    Of all pixels, or of those at which ``where``, uint8 or bool ``[H, W]``, is not 0: at least one.
    Interpolated linearly, as ``np.percentile`` does.
    """
    channels = cv2.split(image) if image.ndim == 3 else (image,)
    if where is not None:  # Faster than calcHist's mask.
        inside = where.astype(np.bool_, copy=False)
        channels = [channel[inside] for channel in channels]
    positions = [percent / 100 * (channels[0].size - 1) for percent in percents]
    ranks = np.array([(math.floor(position), math.ceil(position)) for position in positions], np.float64)
    found = []
    for channel in channels:
        cumulated = cv2.calcHist([channel], [0], None, [256], [0, 256]).cumsum()
        # Few values: Python's own arithmetic is done before NumPy's has begun.
        neighbours = cumulated.searchsorted(ranks, "right").tolist()
        found.append(
            [
                below + (above - below) * (position % 1)
                for (below, above), position in zip(neighbours, positions, strict=True)
            ]
        )
    return np.array(found, np.float64)
