"""Percentiles of 8-bit values by counting them: exact, and nothing is sorted."""

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
    mask = None if where is None else where.view(np.uint8)
    count = image.shape[0] * image.shape[1] if mask is None else cv2.countNonZero(mask)
    position = np.array(percents) / 100 * (count - 1)
    first = np.floor(position)
    found = []
    for channel in range(image.shape[2] if image.ndim == 3 else 1):
        cumulated = np.cumsum(cv2.calcHist([image], [channel], mask, [256], [0, 256]))
        below = np.searchsorted(cumulated, first, side="right")
        above = np.searchsorted(cumulated, np.ceil(position), side="right")
        found.append(below + (above - below) * (position - first))
    return np.array(found)
