"""What of a field goes to the network: each cell by the steps of a single one, with its box and outlines."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from orchestrator.domain import Box, CellOutlines, Morphometry, ReviewReason, UInt8Array
from orchestrator.vision import quality
from orchestrator.vision.crop import Window
from orchestrator.vision.field_cells import NucleiOfCell, nuclei_in
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.outlines import bounding_box, mask_outlines
from orchestrator.vision.png import write_png
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.same_cells import mark_of

CUT_BY_FRAME: Final = ReviewReason(
    "cut_by_frame", "The edge of the field cuts this cell: look at a field in which it lies whole."
)
CLUMP: Final = ReviewReason(
    "clump", "Several white cells may lie on each other here, and are counted as one: count them by eye."
)

OF_ONE_CELL: Final = frozenset({"several_cells"})
"""Reasons for a review that a field answers by itself."""

SAME_CELL: Final = 0.65
"""Share of the smaller outline that two may have in common; with more they are the same cell."""


@dataclass(frozen=True, slots=True)
class PreparedFieldCell:
    """One cell of a field: its box and outlines in pixels of the field, and what the model sees of it.

    ``masks`` are those of ``crop``, the window as it is, uint8 ``[224, 224, 3]``; both None where nothing is
    to be drawn. ``image`` is the part of the field around it, a PNG, and ``mark`` what it is known again by
    (:mod:`orchestrator.vision.same_cells`), both None where it is not to be kept.
    """

    box: Box
    outlines: CellOutlines
    pixels: UInt8Array
    morphometry: Morphometry
    quality: tuple[ReviewReason, ...]
    is_cut: bool
    is_clump: bool
    masks: CellMasks | None = None
    crop: UInt8Array | None = None
    image: bytes | None = None
    mark: bytes | None = None


def prepare_cell(
    rgb: UInt8Array,
    nuclei: NucleiOfCell,
    recipe: Recipe,
    usual: quality.QualityLimits = quality.GENERAL_LIMITS,
    *,
    keep_crops: bool = False,
) -> PreparedFieldCell | None:
    """One cell by the very steps of a single one, in its part of the field; None where it has no outline."""
    part = rgb[nuclei.rows, nuclei.columns]
    cell = preprocess(part, recipe, nuclei.mask)
    if cell.cell is None:
        return None
    top, left = float(nuclei.rows.start), float(nuclei.columns.start)
    window = Window(cell.window.top + top, cell.window.left + left, cell.window.height, cell.window.width)
    outlines = mask_outlines(cell.masks, window)
    box = bounding_box(outlines.cell, rgb.shape)
    if box is None:
        return None
    height, width = rgb.shape[:2]
    near = 0.02 * cell.cell.size
    is_cut = nuclei.is_cut or (
        min(box.top, box.left) < near or box.bottom > height - near or box.right > width - near
    )
    reasons = [
        reason for reason in quality.assess_located(part, cell.cell, usual) if reason.code not in OF_ONE_CELL
    ]
    reasons += [CUT_BY_FRAME] * is_cut + [CLUMP] * nuclei.is_clump
    return PreparedFieldCell(
        box,
        outlines,
        cell.pixels,
        cell.morphometry,
        tuple(reasons),
        is_cut,
        nuclei.is_clump,
        cell.masks if keep_crops else None,
        cell.crop if keep_crops else None,
    )


def with_image(
    cell: PreparedFieldCell, rgb: UInt8Array, nuclei: NucleiOfCell, red_cell_px: float
) -> PreparedFieldCell:
    """The cell with what is kept of it; ``red_cell_px`` is the diameter of its field's red cells."""
    image = write_png(np.ascontiguousarray(rgb[nuclei.rows, nuclei.columns]))
    return replace(cell, image=image, mark=mark_of(rgb, cell.box, red_cell_px))


def as_drawn(
    rgb: UInt8Array,
    box: Box,
    recipe: Recipe,
    usual: quality.QualityLimits = quality.GENERAL_LIMITS,
    *,
    keep_crops: bool = False,
) -> PreparedFieldCell | None:
    """The cell in a box that a person drew, with its image; None where nothing in it has an outline."""
    nuclei = nuclei_in(rgb, box)
    cell = prepare_cell(rgb, nuclei, recipe, usual, keep_crops=keep_crops)
    if cell is None:
        return None
    return replace(cell, box=box, image=write_png(np.ascontiguousarray(rgb[nuclei.rows, nuclei.columns])))


def without_doubles(cells: list[PreparedFieldCell]) -> list[PreparedFieldCell]:
    """The cells, of each that was found twice only the larger; in their order."""
    largest_first = sorted(range(len(cells)), key=lambda index: -cells[index].box.area)
    kept: list[int] = []
    for index in largest_first:
        box = cells[index].box
        if all(box.common(cells[other].box) < SAME_CELL * box.area for other in kept):
            kept.append(index)
    return [cells[index] for index in sorted(kept)]
