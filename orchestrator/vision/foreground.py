"""Where the cell is: a nucleus mask by stain, and a soft mask of the whole cell.

The masks crop, measure the focus ratio and inform the report. They never touch the pixels that the model
sees.
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array

WORKING_SIDE = 224
"""Masks are made at this length of the longer side: kernels below are in these pixels."""


def stain_map(rgb: UInt8Array) -> Float32Array:
    """How strongly each pixel carries the nuclear (azure) stain, float32 ``[H, W]``, 0 to about 255.

    Half of R - G, plus B - G, plus half of 255 - G, each cut at 0: nuclei are dark and have least green,
    red cells have no blue over green.
    """
    red, green, blue = (channel.astype(np.float32) for channel in cv2.split(rgb))
    stain = 0.5 * np.maximum(red - green, 0) + np.maximum(blue - green, 0) + 0.5 * (255 - green)
    return np.asarray(cv2.GaussianBlur(stain, (0, 0), 1.2), np.float32)


def nucleus_component(rgb: UInt8Array) -> NDArray[np.bool_] | None:
    """Mask of the nucleus of the cell nearest to the centre, at the working size, or None.

    Otsu's threshold on the stain map, and again within what lies above it; opened and closed; then the
    component that is both large and near the centre, with the lobes beside it.
    """
    scale = WORKING_SIDE / max(rgb.shape[:2])
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    stain = stain_map(
        np.asarray(
            cv2.resize(rgb, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR), np.uint8
        )
    )
    if float(np.ptp(stain)) < MIN_STAIN_CONTRAST:
        return None
    levels = np.clip(stain / 2, 0, 255).astype(np.uint8)
    above = levels[levels > _otsu(levels)]
    if above.size == 0:
        return None
    mask = (levels > _otsu(above)).astype(np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))
    mask = np.asarray(
        cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel), cv2.MORPH_CLOSE, kernel)
    )
    return _central_component(mask)


MIN_STAIN_CONTRAST = 40.0
"""Least range of the stain map for there to be a nucleus at all; a blank field has about 10."""


def _otsu(values: UInt8Array) -> int:
    threshold, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return int(threshold)


def _central_component(mask: UInt8Array) -> NDArray[np.bool_] | None:
    count, labels, stats, centroids = cv2.connectedComponentsWithStats(mask, connectivity=8)
    if count < 2:
        return None
    areas = stats[1:, cv2.CC_STAT_AREA].astype(np.float64)
    centre = np.array([mask.shape[1], mask.shape[0]]) / 2
    distance = np.linalg.norm(centroids[1:] - centre, axis=1) / WORKING_SIDE
    score = areas * np.exp(-((distance / 0.25) ** 2))
    best = int(np.argmax(score))
    if areas[best] < 0.003 * mask.size:
        return None
    # Lobes of one nucleus lie close together: join what is near and not much smaller than the best one.
    joined = labels == best + 1
    reach = 0.35 * float(np.sqrt(areas[best]))
    near = cv2.distanceTransform((~joined).astype(np.uint8), cv2.DIST_L2, 3)
    for other in range(len(areas)):
        if other != best and areas[other] >= 0.1 * areas[best]:
            part = labels == other + 1
            if float(near[part].min()) <= reach:
                joined |= part
    return cast("NDArray[np.bool_]", joined)


@dataclass(frozen=True, slots=True)
class CellMasks:
    """``nucleus`` is bool ``[H, W]``; ``cell``, the soft foreground, is float32 ``[H, W]`` in [0, 1]."""

    nucleus: NDArray[np.bool_]
    cell: Float32Array


def cell_masks(rgb: UInt8Array) -> CellMasks:
    """Nucleus and soft cell mask of an image, at the image's own size."""
    nucleus = nucleus_component(rgb)
    size = (rgb.shape[1], rgb.shape[0])
    if nucleus is None:
        at_size = np.zeros(rgb.shape[:2], np.bool_)
    else:
        at_size = cv2.resize(nucleus.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    return CellMasks(at_size, soft_foreground(rgb))


def soft_foreground(rgb: UInt8Array) -> Float32Array:
    """The reference system's soft mask of the cell, float32 ``[H, W]`` in [0, 1].

    Not white (saturation over its 60th percentile, at least 20; or value under its 85th, at most 245) or
    hinting at a nucleus (LAB a over its 60th and b under its 45th percentile); closed twice and opened
    once with 5x5; the largest contour where it is over 1 % of the area; blurred with sigma 6. All ones
    where that covers less than 5 %.
    """
    _, saturation, value = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV))
    _, a, b = cv2.split(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB))
    coloured = saturation > max(20.0, float(np.percentile(saturation, 60)))
    dark = value < min(245.0, float(np.percentile(value, 85)))
    nuclear = (a > np.percentile(a, 60)) & (b < np.percentile(b, 45))
    mask = (coloured | dark | nuclear).astype(np.uint8)
    kernel = np.ones((5, 5), np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel, iterations=2)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, kernel, iterations=1)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    largest = max(contours, key=cv2.contourArea, default=None)
    if largest is not None and cv2.contourArea(largest) > 0.01 * mask.size:
        mask = cv2.drawContours(np.zeros_like(mask), [largest], -1, 1, cv2.FILLED)
    if float(mask.mean()) < 0.05:
        return np.ones(mask.shape, np.float32)
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 6), np.float32)
