"""A cell that was found once, and its masks in any window of the frame.

:func:`~orchestrator.vision.foreground.cell_masks` looks for the cell in each crop anew. Here the outline by
which the cell was located is its mask too, the nucleus is cut out inside it once, and what a window shows of
both is a matter of geometry: served crop, jittered crop of training and frame have the same masks.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from orchestrator.domain import UInt8Array
from orchestrator.vision.cell_outline import fill
from orchestrator.vision.crop import (
    SEARCH_SCALE,
    CellLocation,
    TracedCell,
    Window,
    cell_window,
    extract,
    to_window,
    trace_cell,
)
from orchestrator.vision.foreground import SOFT_EDGE_SIGMA_PX, CellMasks, nucleus_within
from orchestrator.vision.histogram import percentiles

MASK_SIDE: Final = 160
"""Side in pixels in which the nucleus is cut out: 107 a cell. With 112 painted nuclei lose 0.009 of Dice,
with 224 they gain 0.003."""

MAX_RING_CHANGE: Final = 0.3
"""How far, at most, what a wide outline holds beyond the disc of the cell's size differs from what it holds
within, for the outline to be believed: as a share of how far it differs from what lies outside.

An outline that is wider than :data:`~orchestrator.vision.crop.MAX_OUTLINE` is that of a cell with a small
nucleus, or it runs along neighbours. Chosen by the boxes of Train, where most are cells, and of Chula, where
most are neighbours.
"""

_LEAST_PART_PX: Final = 30
_GAP: Final = cv2.getStructuringElement(cv2.MORPH_RECT, (7, 7))


@dataclass(frozen=True, slots=True)
class FoundCell:
    """Where a cell is, and its masks, uint8 ``[MASK_SIDE, MASK_SIDE]`` of 0 and 255, of ``window``.

    ``window`` is in pixels of the frame and holds the whole cell; ``nucleus`` lies within ``cell``.
    """

    location: CellLocation
    window: Window
    nucleus: UInt8Array
    cell: UInt8Array


def find_cell(rgb: UInt8Array, nuclei: UInt8Array | None = None) -> FoundCell | None:
    """The cell of :func:`~orchestrator.vision.crop.locate_cell` with its masks; None where it locates none.

    ``rgb`` is uint8 ``[H, W, 3]``. Where no outline can be the cell's, a disc of the cell's size is its mask.
    ``nuclei`` are those of the cell that is meant (:func:`~orchestrator.vision.crop.trace_cell`).
    """
    traced = trace_cell(rgb, nuclei)
    if traced is None:
        return None
    window = cell_window(traced.location, SEARCH_SCALE, rgb.shape)
    pixels = extract(rgb, window, MASK_SIDE)
    seed = (_moved(traced.nucleus, traced.nucleus_window, window, MASK_SIDE) > 127).view(np.uint8)
    cell = _whole_cell(pixels, seed, traced, window)
    nucleus = nucleus_within(pixels, seed, cell) if seed.any() else seed
    return FoundCell(traced.location, window, nucleus * np.uint8(255), (cell | nucleus) * np.uint8(255))


def masks_in(found: FoundCell | None, window: Window, size: int) -> CellMasks:
    """The masks in what :func:`~orchestrator.vision.crop.extract` makes of ``window``, ``[size, size]``.

    The soft edge is as many pixels wide as that of :func:`~orchestrator.vision.foreground.cell_masks`. Both
    are empty where no cell was found.
    """
    if found is None:
        return CellMasks(np.zeros((size, size), np.bool_), np.zeros((size, size), np.float32))
    nucleus, cell = (_moved(mask, found.window, window, size) for mask in (found.nucleus, found.cell))
    _, sharp = cv2.threshold(cell, 127, 255, cv2.THRESH_BINARY)
    soft = cv2.GaussianBlur(sharp, (0, 0), SOFT_EDGE_SIGMA_PX)  # of bytes: four times as fast
    return CellMasks(nucleus > 127, soft * np.float32(1 / 255))


def _moved(mask: UInt8Array, seen: Window, wanted: Window, size: int) -> UInt8Array:
    """What a mask of one window is in another, uint8 ``[size, size]``; 0 where it does not reach."""
    from_frame = to_window(wanted, (size, size)).astype(np.float64)
    to_frame = cv2.invertAffineTransform(to_window(seen, mask.shape).astype(np.float64))
    matrix = from_frame @ np.vstack([to_frame, [0, 0, 1]])
    return np.asarray(cv2.warpAffine(mask, matrix, (size, size), flags=cv2.INTER_LINEAR), np.uint8)


def _whole_cell(pixels: UInt8Array, seed: UInt8Array, traced: TracedCell, window: Window) -> UInt8Array:
    """The mask of the whole cell, uint8 ``[MASK_SIDE, MASK_SIDE]`` of 0 and 1; it holds the seed."""
    disc = np.zeros_like(seed)
    middle, radius = MASK_SIDE // 2, round(MASK_SIDE / SEARCH_SCALE / 2)
    cv2.circle(disc, (middle, middle), radius, (1,), cv2.FILLED)
    disc |= seed
    if traced.outline is None:
        return disc
    corner = np.array([window.left, window.top], np.float32)
    outline = (traced.outline + np.float32(0.5) - corner) * np.float32(MASK_SIDE / window.height)
    cell = fill(outline - np.float32(0.5), seed.shape) | seed
    return disc if traced.outline_is_wide and not _is_one_thing(pixels, seed, disc, cell) else cell


def _is_one_thing(pixels: UInt8Array, seed: UInt8Array, disc: UInt8Array, cell: UInt8Array) -> bool:
    """Whether what the outline holds beyond the disc is like the cytoplasm within, and unlike the outside."""
    lab = cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB)
    is_cell, in_disc, near_seed = cell > 0, disc > 0, np.asarray(cv2.dilate(seed, _GAP)) > 0
    ring, within, outside = is_cell & ~in_disc, is_cell & in_disc & ~near_seed, ~is_cell
    if min(np.count_nonzero(part) for part in (ring, within, outside)) < _LEAST_PART_PX:
        return False
    of_ring, of_within, of_outside = (
        percentiles(lab, 50, where=part)[:, 0] for part in (ring, within, outside)
    )
    change = np.linalg.norm(of_ring - of_within)
    return bool(change < MAX_RING_CHANGE * np.linalg.norm(of_ring - of_outside))
