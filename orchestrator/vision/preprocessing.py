"""The Medical Enhanced Filter (MEF) and the way from a decoded image to the pixels the model sees.

MEF v1 is the filter of the reference system: five steps, each uint8 RGB in and out, so that the wire to
the model server carries bytes. v2 has one CLAHE of 8x8 tiles instead of two scales; v3 adds a top-hat and
bottom-hat; v4 adds Macenko stain normalisation, and looks at the cell alone, so that one cell comes out the
same whatever surrounds it. v5 is our own: the stain anchored at field and nucleus
(:mod:`orchestrator.vision.stain_anchor`) in place of percentiles and CLAHE. v6 does the same by the masks
with which the cell was located (:mod:`orchestrator.vision.found_cell`); v5 finds it in the crop once more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from orchestrator.domain import UNMEASURED, MefVersion, Morphometry, UInt8Array
from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import CellLocation, Window, cell_window, extract, locate_cell
from orchestrator.vision.foreground import CellMasks, cell_masks
from orchestrator.vision.found_cell import find_cell, masks_in
from orchestrator.vision.histogram import percentiles
from orchestrator.vision.morphometry import measure
from orchestrator.vision.stain import (
    CALIBRATED_MACENKO,
    LabStatistics,
    MacenkoReference,
    macenko,
    reinhard,
    stained_pixels,
)
from orchestrator.vision.stain_anchor import anchor_stain, fade_field


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a decoded image becomes the model's input; part of a device profile.

    ``crop_scale``: side of the cell-centred square crop in cell sizes; None keeps the whole frame.
    ``reinhard``: LAB reference that the crop is mapped to; None leaves its colours.
    ``mef_version``: which filter. ``macenko``: the reference of v4 (the calibrated one where None).
    """

    crop_scale: float | None = 1.4
    reinhard: LabStatistics | None = None
    mef_version: MefVersion = "v6"
    macenko: MacenkoReference | None = None


@dataclass(frozen=True, slots=True)
class PreprocessedCell:
    """``pixels`` (what the model sees) and ``crop`` (the same window, colours untouched) are uint8
    ``[224, 224, 3]``; ``masks`` are those of ``crop``; ``window`` is where they lie in the original frame;
    ``cell`` is None where no cell was found, and the window is then the whole frame. ``morphometry``
    is of v6 alone: of v1 to v5 nothing is measured.
    """

    pixels: UInt8Array
    crop: UInt8Array
    masks: CellMasks
    window: Window
    cell: CellLocation | None
    morphometry: Morphometry


def preprocess(rgb: UInt8Array, recipe: Recipe, nuclei: UInt8Array | None = None) -> PreprocessedCell:
    """Locate the cell, crop, resize to 224, masks, Reinhard, MEF: in this order, as the recipe says.

    ``rgb`` is uint8 ``[H, W, 3]`` of any size. The masks are made here once for all that needs them;
    those of v6 are cut from the finding. ``nuclei`` are those of the cell that is meant
    (:func:`~orchestrator.vision.crop.trace_cell`), where there may be several.
    """
    is_found_once = recipe.mef_version == "v6"
    found = find_cell(rgb, nuclei) if is_found_once else None
    cell = (None if found is None else found.location) if is_found_once else locate_cell(rgb, nuclei)
    window = cell_window(cell, recipe.crop_scale, rgb.shape)
    crop = extract(rgb, window, IMAGE_SIZE)
    masks = masks_in(found, window, IMAGE_SIZE) if is_found_once else cell_masks(crop)
    measured = UNMEASURED if found is None else measure(rgb, found)
    return PreprocessedCell(enhance(crop, recipe, masks), crop, masks, window, cell, measured)


def enhance(crop: UInt8Array, recipe: Recipe, masks: CellMasks | None = None) -> UInt8Array:
    """Colour normalisation and MEF of an image that is already cropped and resized.

    ``masks`` are those of ``crop`` as it comes. v4 and v5 make them where they are not given, v1 to v3 need
    none.

    Raises ``ValueError`` for v6 without masks: a crop alone does not say where its cell was found.
    """
    if recipe.mef_version == "v6" and masks is None:
        raise ValueError("MEF v6 needs the masks of the crop: expected those of masks_in, received none")
    normalised = crop if recipe.reinhard is None else reinhard(crop, recipe.reinhard)
    if recipe.mef_version in ("v1", "v2", "v3"):
        return _stepped(normalised, MEF_STEPS[recipe.mef_version])
    masks = cell_masks(crop) if masks is None else masks
    if recipe.mef_version == "v4":
        return stained_cell(normalised, masks, recipe.macenko or CALIBRATED_MACENKO)
    return anchored_cell(normalised, masks)


def percentile_normalise(rgb: UInt8Array, cell: NDArray[np.bool_] | None = None) -> UInt8Array:
    """Step 1: stretch each channel so that its 2nd and 98th percentile become 0 and 255.

    The 2nd is that of the pixels in ``cell``, bool ``[H, W]``, where that is given.
    """
    lows, highs = percentiles(rgb, 2, where=cell), percentiles(rgb, 98)
    tables = np.stack([_stretch_table(*both) for both in np.hstack([lows, highs]).tolist()], axis=-1)
    return _u8(cv2.LUT(rgb, tables.reshape(256, 1, 3)))


def dual_scale_clahe(rgb: UInt8Array) -> UInt8Array:
    """Step 2: CLAHE of lightness at two scales; 4x4 tiles where there are edges (nuclei), 8x8 elsewhere.

    The weight is the blurred Canny(50, 150) edge map of the lightness.
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    lightness = cv2.extractChannel(lab, 0)
    coarse = cv2.createCLAHE(3.0, (4, 4)).apply(lightness)
    fine = cv2.createCLAHE(3.0, (8, 8)).apply(lightness)
    weight = cv2.blur(cv2.Canny(lightness, 50, 150), (7, 7)) / np.float32(255)
    return _with_lightness(lab, _u8(cv2.blendLinear(coarse, fine, weight, 1 - weight)))


def single_scale_clahe(rgb: UInt8Array) -> UInt8Array:
    """Step 2 of v2 and later: one CLAHE of lightness with 8x8 tiles."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    return _with_lightness(lab, _u8(cv2.createCLAHE(3.0, (8, 8)).apply(cv2.extractChannel(lab, 0))))


def hat_contrast(rgb: UInt8Array) -> UInt8Array:
    """Of v3 and later: add the 9x9 top-hat and take off the bottom-hat of lightness (granules, chromatin)."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    lightness = cv2.extractChannel(lab, 0)
    bright = cv2.morphologyEx(lightness, cv2.MORPH_TOPHAT, _ELLIPSE_9)
    dark = cv2.morphologyEx(lightness, cv2.MORPH_BLACKHAT, _ELLIPSE_9)
    return _with_lightness(lab, _u8(cv2.subtract(cv2.add(lightness, bright), dark)))


def stained_cell(rgb: UInt8Array, masks: CellMasks, reference: MacenkoReference) -> UInt8Array:
    """All of v4: stains and levels by those of the cell, which the further steps see at one size and which
    alone they change, so that neither its share of the image nor red cells around it matter.

    Where no cell is found, all that is stained is the cell; where nothing is, v3 is all of v4.
    """
    soft = masks.cell if masks.cell.any() else stained_pixels(rgb).astype(np.float32)
    cell = soft > 0.5
    if not cell.any():
        return _stepped(rgb, MEF_STEPS["v3"])
    normalised = percentile_normalise(macenko(rgb, reference, cell), cell)
    left, top, width, height = cv2.boundingRect(cell.view(np.uint8))
    middle = CellLocation(top + height / 2, left + width / 2, max(width, height))
    close = cell_window(middle, _CLOSE_UP, rgb.shape)
    enhanced = _stepped(extract(normalised, close, IMAGE_SIZE), MEF_STEPS["v3"][1:])
    pixel = close.height / IMAGE_SIZE
    whole = Window(-close.top / pixel, -close.left / pixel, rgb.shape[0] / pixel, rgb.shape[1] / pixel)
    return _u8(cv2.blendLinear(extract(enhanced, whole, IMAGE_SIZE), normalised, soft, 1 - soft))


def anchored_cell(rgb: UInt8Array, masks: CellMasks) -> UInt8Array:
    """All of v5 and v6: the empty field white, the nucleus of a reference density, the surroundings faded."""
    return fade_field(anchor_stain(rgb, masks), masks.cell)


def smooth_keeping_edges(rgb: UInt8Array) -> UInt8Array:
    """Step 3: bilateral filter, diameter 9, sigma 65 in colour and 65 px in space."""
    return _u8(cv2.bilateralFilter(rgb, 9, 65, 65))


def enhance_nucleus(rgb: UInt8Array) -> UInt8Array:
    """Step 4: darken the nucleus' outline by its inner 3x3 and outer 7x7 morphological gradient.

    The inner gradient (image minus erosion) lies on the bright side of an edge, the outer one (dilation
    minus image) on its dark side; their even blend, at strength 0.3, is taken off all three channels
    alike, which darkens and keeps the differences between them: a round trip through LAB would cost
    twice as much as all the rest of the step.
    """
    lightness = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    inner = cv2.subtract(lightness, cv2.erode(lightness, _ELLIPSE_3))
    outer = cv2.subtract(cv2.dilate(lightness, _ELLIPSE_7), lightness)
    darkening = cv2.addWeighted(inner, 0.15, outer, 0.15, 0)
    return _u8(cv2.subtract(rgb, cv2.merge([darkening, darkening, darkening])))


def sharpen_edges(rgb: UInt8Array) -> UInt8Array:
    """Step 5: subtract half the Laplacian of Gaussian on edges only; flat regions stay untouched."""
    lightness = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    edges = cv2.dilate(cv2.Canny(lightness, 50, 150), _ELLIPSE_3)
    laplacian = cv2.Laplacian(cv2.GaussianBlur(rgb, (3, 3), 0), cv2.CV_16S, ksize=3)
    sharpened = _u8(cv2.addWeighted(rgb, 1.0, laplacian, -0.5, 0, dtype=cv2.CV_8U))
    return _u8(cv2.copyTo(sharpened, edges, rgb.copy()))


MEF_STEPS: dict[MefVersion, tuple[Callable[[UInt8Array], UInt8Array], ...]] = {
    "v1": (percentile_normalise, dual_scale_clahe, smooth_keeping_edges, enhance_nucleus, sharpen_edges),
    "v2": (percentile_normalise, single_scale_clahe, smooth_keeping_edges, enhance_nucleus, sharpen_edges),
    "v3": (
        percentile_normalise,
        single_scale_clahe,
        hat_contrast,
        smooth_keeping_edges,
        enhance_nucleus,
        sharpen_edges,
    ),
}
"""Of the versions whose steps need the image alone; v4 is :func:`stained_cell`, v5 and v6 are
:func:`anchored_cell`."""

_CLOSE_UP = 1.4
"""Side of the window in cell sizes in which v4's steps see the cell: that of a cell-centred crop."""

_ELLIPSE_3, _ELLIPSE_7, _ELLIPSE_9 = (
    cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)) for side in (3, 7, 9)
)


def _stepped(rgb: UInt8Array, steps: Sequence[Callable[[UInt8Array], UInt8Array]]) -> UInt8Array:
    for step in steps:
        rgb = step(rgb)
    return rgb


def _stretch_table(low: float, high: float) -> UInt8Array:
    """Look-up table of step 1, uint8 ``[256]``."""
    if high <= low:  # a flat channel has nothing to stretch
        return np.arange(256, dtype=np.uint8)
    return _u8(np.clip(np.rint((_LEVELS - low) * (255 / (high - low))), 0, 255))


_LEVELS = np.arange(256)


def _with_lightness(lab: MatLike, lightness: MatLike) -> UInt8Array:
    cv2.insertChannel(lightness, lab, 0)
    return _u8(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _u8(array: object) -> UInt8Array:
    return np.asarray(array, np.uint8)
