"""Masks of a white cell: its nucleus, and the whole of it.

They crop, fade the surroundings (MEF v5), guide the attention in training, measure the focus ratio and
inform the report. The stain says where a nucleus is; :mod:`orchestrator.vision.cell_outline` then finds the
cell's outline around it, and inside the outline, where there are only two things to tell apart, the nucleus
is cut out anew. Constants were chosen on the boxes of the Train split and on painted cells with known masks.
"""

import math
from dataclasses import dataclass
from typing import Final, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.vision.cell_outline import cell_outline, fill
from orchestrator.vision.histogram import percentiles

WORKING_SIDE = 224
"""Masks are made at this length of the longer side: kernels below are in these pixels."""


def stain_map(rgb: UInt8Array) -> Float32Array:
    """How strongly each pixel carries the nuclear (azure) stain, float32 ``[H, W]``, 0 to about 255.

    Half of R - G, plus B - G, plus half of 255 - G, each cut at 0: nuclei are dark and have least green,
    red cells have no blue over green.
    """
    red, green, blue = cv2.split(rgb)  # cv2.subtract stops at 0
    stain = cv2.addWeighted(
        cv2.subtract(red, green), 0.5, cv2.subtract(blue, green), 1.0, 0, dtype=cv2.CV_32F
    )
    stain = cv2.addWeighted(stain, 1.0, cv2.bitwise_not(green), 0.5, 0, dtype=cv2.CV_32F)
    return np.asarray(cv2.GaussianBlur(stain, (0, 0), 1.2), np.float32)


def at_working_size(rgb: UInt8Array) -> UInt8Array:
    """The image with ``WORKING_SIDE`` as its longer side; itself where it has that already.

    To shrink, a box filter before bilinear sampling: OpenCV's area filter takes four times as long.
    """
    scale = WORKING_SIDE / max(rgb.shape[:2])
    if scale == 1:
        return rgb
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    if scale < 1:
        side = 2 * math.ceil((1 / scale - 1) / 2) + 1
        rgb = np.asarray(cv2.blur(rgb, (side, side)), np.uint8)
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def nucleus_component(rgb: UInt8Array) -> NDArray[np.bool_] | None:
    """:func:`nucleus_by_stain` of an image of any size."""
    return nucleus_by_stain(stain_map(at_working_size(rgb)))


def nucleus_by_stain(stain: Float32Array) -> NDArray[np.bool_] | None:
    """Mask of the nucleus of the cell nearest to the centre, bool ``[H, W]``, or None.

    ``stain`` is that of :func:`stain_map` at the working size. Otsu's
    threshold on it, and again within what lies above; opened and closed; then the component that is both
    large and near the centre, with the lobes beside it.
    """
    lowest, highest, _, _ = cv2.minMaxLoc(stain)
    if highest - lowest < MIN_STAIN_CONTRAST:
        return None
    levels = (stain * np.float32(0.5)).astype(np.uint8)
    above = levels[levels > _otsu(levels)]
    if above.size == 0:
        return None
    mask = (levels > _otsu(above)).astype(np.uint8)
    mask = np.asarray(
        cv2.morphologyEx(cv2.morphologyEx(mask, cv2.MORPH_OPEN, _SPECK), cv2.MORPH_CLOSE, _SPECK)
    )
    return _central_component(mask)


_SPECK: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7))

MIN_STAIN_CONTRAST = 40.0
"""Least range of the stain map for there to be a nucleus at all; a blank field has about 10."""


OTHER_STAIN: Final = 0.55
OTHER_AREA: Final = 0.3
"""From where on something outside the cell is another nucleus: how strongly it is stained, from the field's
stain (0) to the nucleus' (1), and its area, as a share of the nucleus'.

Chosen on Train and on composites of two and of four of its images: a basophil of pale stain beside a dense
nucleus has 0.6, and the lobes of a segmented nucleus are found one by one."""


def has_other_nucleus(
    stain: Float32Array,
    nucleus: NDArray[np.bool_],
    cell: NDArray[np.bool_],
    centre: tuple[float, float],
    distance: float,
) -> bool:
    """Whether outside of the cell there is another nucleus, at least ``distance`` pixels from the ``centre``.

    The masks have the size of the stain, ``[H, W]``; ``centre`` is (row, column). What is stained like the
    nucleus that was found is another, so that no level is assumed.
    """
    outside = ~(cell | nucleus)
    if not outside.any():
        return False
    levels = (stain * np.float32(0.5)).astype(np.uint8)
    field, own = (float(percentiles(levels, 50, where=part)[0, 0]) for part in (outside, nucleus))
    dense = ((levels > field + OTHER_STAIN * (own - field)) & outside).view(np.uint8)
    opened = cv2.morphologyEx(dense, cv2.MORPH_OPEN, _SPECK)
    _, _, stats, middles = cv2.connectedComponentsWithStatsWithAlgorithm(opened, 8, cv2.CV_32S, cv2.CCL_BBDT)
    is_large = stats[1:, cv2.CC_STAT_AREA] >= OTHER_AREA * np.count_nonzero(nucleus)
    is_apart = np.linalg.norm(middles[1:, ::-1] - centre, axis=1) >= distance
    return bool((is_large & is_apart).any())


def _otsu(values: UInt8Array) -> int:
    threshold, _ = cv2.threshold(values.reshape(-1, 1), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return int(threshold)


def _central_component(mask: UInt8Array) -> NDArray[np.bool_] | None:
    # Two times as fast on one core as the algorithm that OpenCV takes by itself.
    count, labels, stats, centroids = cv2.connectedComponentsWithStatsWithAlgorithm(
        mask, 8, cv2.CV_32S, cv2.CCL_BBDT
    )
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
    others = [i for i in range(len(areas)) if i != best and areas[i] >= 0.1 * areas[best]]
    near = cv2.distanceTransform((~joined).view(np.uint8), cv2.DIST_L2, 3) if others else None
    for other in others:
        left, top, width, height = stats[other + 1, :4]
        box = np.s_[top : top + height, left : left + width]
        part = labels[box] == other + 1
        if near is not None and float(near[box][part].min()) <= reach:
            joined[box] |= part
    return cast("NDArray[np.bool_]", joined)


@dataclass(frozen=True, slots=True)
class CellMasks:
    """``nucleus`` is bool ``[H, W]``; ``cell`` is the soft mask of the whole cell, float32 ``[H, W]`` in
    [0, 1]."""

    nucleus: NDArray[np.bool_]
    cell: Float32Array


SOFT_EDGE_SIGMA_PX: Final = 3.0

_OPENING: Final = 0.08
_LARGEST_HOLE: Final = 0.05
_LEAST_LOBE: Final = 0.05
"""Kernel side in square roots of the nucleus' area, and shares of that area."""

_GAP: Final = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))


def cell_masks(crop: UInt8Array) -> CellMasks:
    """Nucleus and soft mask of the whole cell in a cell-centred crop, at the crop's own size.

    ``crop`` is uint8 ``[H, W, 3]``; a larger one than ``WORKING_SIDE`` is looked at in that size. Both masks
    are empty where there is no nucleus: a heatmap can then lie on no cell.

    Mean intersection over union of the mask's box and the cell's on Train: 0.86 (Raabin) and 0.91
    (Barcelona). Dice with the true masks of the Tecom set, which chose nothing: 0.97 for the cell and 0.94
    for the nucleus. ``wbc-train masks`` measures both.
    """
    small = at_working_size(crop) if max(crop.shape[:2]) > WORKING_SIDE else crop
    found = nucleus_component(small)
    if found is None:
        return CellMasks(np.zeros(crop.shape[:2], np.bool_), np.zeros(crop.shape[:2], np.float32))
    seed = found.view(np.uint8)
    if seed.shape != small.shape[:2]:
        seed = np.asarray(cv2.resize(seed, small.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    outline = cell_outline(small, seed)
    cell = seed if outline is None else fill(outline, seed.shape) | seed
    nucleus = nucleus_within(small, seed, cell)
    soft = cv2.GaussianBlur((cell | nucleus).astype(np.float32), (0, 0), SOFT_EDGE_SIGMA_PX)
    soft = np.minimum(soft, np.float32(1))  # the kernel sums to 1 up to rounding
    if small is not crop:
        size = crop.shape[1::-1]
        nucleus = np.asarray(cv2.resize(nucleus, size, interpolation=cv2.INTER_NEAREST), np.uint8)
        soft = cv2.resize(soft, size, interpolation=cv2.INTER_LINEAR)
    return CellMasks(nucleus.view(np.bool_), np.asarray(soft, np.float32))


def nucleus_within(crop: UInt8Array, seed: UInt8Array, cell: UInt8Array) -> UInt8Array:
    """The seed cut anew inside the cell, uint8 ``[H, W]`` of 0 and 1; ``cell`` holds the seed.

    By half of R + G: azure absorbs both, eosin and the basophilic cytoplasm mostly one. The threshold lies
    halfway between the medians of the seed and of the rest of the cell, which is where the edge between two
    flat things lies however they are blurred.
    """
    box = _box_with_margin(cell)
    seed_in_box, inside = np.ascontiguousarray(seed[box]), cell[box] > 0
    light = np.asarray(cv2.GaussianBlur(cv2.transform(crop[box], _HALF_RED_GREEN), (0, 0), 1.0), np.uint8)
    rest = inside & (cv2.dilate(seed_in_box, _GAP) == 0)
    if np.count_nonzero(rest) > 50:
        threshold = sum(float(percentiles(light, 50, where=part)[0, 0]) for part in (seed_in_box, rest)) / 2
    else:  # all nucleus: nothing to compare with
        threshold = _otsu(light[inside])
    area = float(cv2.countNonZero(seed_in_box))
    side = 2 * round(_OPENING * np.sqrt(area) / 2) + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    dark = cv2.morphologyEx(((light < threshold) & inside).view(np.uint8), cv2.MORPH_OPEN, kernel)
    count, labels = cv2.connectedComponents(dark)
    areas = np.bincount(labels.ravel(), minlength=count)
    kept = (np.bincount(labels[seed_in_box > 0], minlength=count) > 0.3 * areas) & (
        areas > _LEAST_LOBE * area
    )
    kept[0] = False
    if not kept.any():
        return seed
    nucleus = np.zeros_like(seed)
    nucleus[box] = _without_small_holes(kept[labels].view(np.uint8), _LARGEST_HOLE * area)
    return nucleus


_HALF_RED_GREEN: Final = np.array([[0.5, 0.5, 0]], np.float32)


def _box_with_margin(mask: UInt8Array) -> tuple[slice, slice]:
    """Where the mask is, and as many pixels around it as the filters inside reach."""
    left, top, width, height = cv2.boundingRect(mask)
    margin = WORKING_SIDE // 16
    return (
        slice(max(0, top - margin), top + height + margin),
        slice(max(0, left - margin), left + width + margin),
    )


def _without_small_holes(mask: UInt8Array, largest: float) -> UInt8Array:
    """Holes of up to ``largest`` pixels filled; a ring nucleus keeps its own."""
    contours, hierarchy = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    filled = mask.copy()
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0], strict=True):
        if parent >= 0 and cv2.contourArea(contour) <= largest:
            cv2.drawContours(filled, [contour], -1, (1,), cv2.FILLED)
    return np.asarray(filled, np.uint8)
