"""Where the cell is: a nucleus mask by stain, and a soft mask of the whole cell.

The masks crop, measure the focus ratio and inform the report. They never touch the pixels that the model
sees.
"""

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np
from cv2.typing import MatLike
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
    """``nucleus`` is bool ``[H, W]``; ``cell`` is the soft mask of the whole cell, float32 ``[H, W]`` in
    [0, 1]."""

    nucleus: NDArray[np.bool_]
    cell: Float32Array


REACH = 0.25
"""How far cytoplasm is looked for around the nucleus, in diameters of its convex hull."""

BACKGROUND_DISTANCE = 0.2
"""Least distance from the field's colour, as a share of the nucleus' distance, of what belongs to a cell."""

SOFT_EDGE_SIGMA_PX = 3.0


def cell_masks(crop: UInt8Array) -> CellMasks:
    """Nucleus and soft mask of the whole cell in a cell-centred crop, at the crop's own size.

    The cell is what lies around the nucleus and differs from the colour of the empty field; red cells are
    kept out by the reach. ``REACH`` and ``BACKGROUND_DISTANCE`` are chosen by the boxes of the Train split
    (mean intersection over union of box and mask's box 0.77); Dice with the true masks of the Tecom set,
    which chose nothing, is 0.91 for the cell and 0.91 for the nucleus. Both masks are empty where there
    is no nucleus: a heatmap can then lie on no cell.
    """
    found = nucleus_component(crop)
    if found is None:
        return CellMasks(np.zeros(crop.shape[:2], np.bool_), np.zeros(crop.shape[:2], np.float32))
    size = (crop.shape[1], crop.shape[0])
    nucleus = np.asarray(cv2.resize(found.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST))
    hull = _convex_hull(nucleus)
    diameter = float(np.sqrt(4 / np.pi * hull.sum()))
    near = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5) <= REACH * diameter
    stained = _distance_from_field(crop, nucleus > 0) > BACKGROUND_DISTANCE
    mask = _opened((near & stained).astype(np.uint8) | hull, diameter) | hull
    _, labels = cv2.connectedComponents(mask)
    connected = (labels == labels[hull > 0][0]).astype(np.float32)
    soft = cv2.GaussianBlur(connected, (0, 0), SOFT_EDGE_SIGMA_PX)
    return CellMasks(nucleus > 0, np.minimum(soft, np.float32(1)))  # the kernel sums to 1 up to rounding


def _convex_hull(mask: MatLike) -> UInt8Array:
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    return np.asarray(
        cv2.fillConvexPoly(np.zeros_like(mask), cv2.convexHull(np.vstack(contours)), (1,)), np.uint8
    )


def _distance_from_field(rgb: UInt8Array, nucleus: NDArray[np.bool_]) -> Float32Array:
    """LAB distance from the median of the brightest fifth; the nucleus' median colour has 1.

    Lightness counts less than colour: shading and vignetting are lightness.
    """
    lab = cv2.cvtColor(cv2.GaussianBlur(rgb, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab = lab * np.array([0.7, 1.0, 1.0], np.float32)
    field = np.median(lab[lab[:, :, 0] >= np.percentile(lab[:, :, 0], 80)], axis=0)
    distance = np.linalg.norm(lab - field, axis=-1)
    reference = float(np.linalg.norm(np.median(lab[nucleus], axis=0) - field))
    return np.asarray(distance / max(reference, 1.0), np.float32)


def _opened(mask: UInt8Array, diameter: float) -> UInt8Array:
    """Small gaps closed, bridges to neighbours cut; kernels are shares of the nucleus' diameter."""
    for operation, share in ((cv2.MORPH_CLOSE, 0.08), (cv2.MORPH_OPEN, 0.13)):
        side = 2 * max(1, round(share * diameter / 2)) + 1
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
        mask = np.asarray(cv2.morphologyEx(mask, operation, kernel), np.uint8)
    return mask
