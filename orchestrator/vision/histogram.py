"""Medians and percentiles of 8-bit values by counting them: exact, and nothing is sorted."""

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array


def median_colour(pixels: UInt8Array) -> Float32Array:
    """Median of each channel of uint8 ``[N, C]`` with N at least 1, float32 ``[C]``; equals ``np.median``."""
    return percentiles(pixels[np.newaxis], 50)[:, 0].astype(np.float32)


def percentiles(image: MatLike, *percents: float) -> NDArray[np.float64]:
    """Percentiles of each channel of uint8 ``[H, W, C]`` or ``[H, W]``, float64 ``[C, len(percents)]``.

    Interpolated linearly, as ``np.percentile`` does.
    """
    position = np.array(percents) / 100 * (image.shape[0] * image.shape[1] - 1)
    first = np.floor(position)
    found = []
    for channel in range(image.shape[2] if image.ndim == 3 else 1):
        cumulated = np.cumsum(cv2.calcHist([image], [channel], None, [256], [0, 256]))
        below = np.searchsorted(cumulated, first, side="right")
        above = np.searchsorted(cumulated, np.ceil(position), side="right")
        found.append(below + (above - below) * (position - first))
    return np.array(found)
