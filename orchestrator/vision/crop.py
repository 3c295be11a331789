"""Finding the cell by its nucleus' stain and its outline, and the window around it with its geometry.

How much of the frame a cell fills is part of the shift between microscopes; a window of a fixed number of
cell sizes takes it away.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.vision.cell_outline import OUTLINE_SIDE, cell_outline, fill
from orchestrator.vision.foreground import (
    at_working_size,
    has_other_nucleus,
    nucleus_by_stain,
    stain_map,
)
from orchestrator.vision.nucleus_stain import NucleusStain, nucleus_stain

NUCLEUS_TO_CELL = 0.78
"""Side of the nucleus' box over that of the cell's box; the median over the boxes of the Train split."""

SEARCH_SCALE = 1.5
"""Side of the window in which the outline is looked for, in cell sizes as the nucleus tells them.

Of 1.3 to 1.8 the one whose boxes agree best with those of Train."""

MAX_OUTLINE = 1.3
"""Largest side of an outline in cell sizes as the nucleus tells them.

Where a cell hardly stands out from what lies around it, the outline runs along its neighbours, and the
nucleus alone tells better where it is. By the boxes of Train, Chula and BCCD.
"""

CELL_DISC = 1.15
"""Diameter, in cell sizes, of the disc outside of which red cells are compared with the nucleus."""

OTHER_CELL = 0.8
"""Cell sizes between the middle of a cell and a nucleus of another: one that is nearer is mostly a lobe that
the outline left out. Chosen on Train and on composites of its images."""


@dataclass(frozen=True, slots=True)
class CellLocation:
    """Centre (row, column) and side of the square box of a cell, in pixels of the original frame.

    It is what in this frame is most like a white cell; ``stain`` is its nucleus', None where nobody measured
    it. ``is_alone`` says that no other white cell was seen.
    """

    row: float
    column: float
    size: float
    stain: NucleusStain | None = None
    is_alone: bool = True


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the original frame, in pixels; it may reach beyond the frame's edges."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True, slots=True)
class TracedCell:
    """A located cell with what it was located by, all in pixels of the original frame.

    ``nucleus`` is its mask, uint8 of 0 and 255, of the ``nucleus_window``, which is the whole frame.
    ``outline`` is float32 ``[N, 2]`` of x and y, (0, 0) the middle of the first pixel; None where there is
    none. ``outline_is_wide`` says that it is too wide to have located the cell.
    """

    location: CellLocation
    nucleus: UInt8Array
    nucleus_window: Window
    outline: Float32Array | None
    outline_is_wide: bool


def locate_cell(rgb: UInt8Array, nuclei: UInt8Array | None = None) -> CellLocation | None:
    """The white cell nearest to the centre of the frame; None where nothing stands out, as in an empty field.

    ``rgb`` is uint8 ``[H, W, 3]``. Centre and size are those of the cell's outline, or by the nucleus where
    the outline is too wide to be that of a cell. Intersection over union with the box of at least 0.5: Raabin
    98.2 % of 382, Barcelona 97.8 % of 400 (both Train), Chula 93.3 % of 193 and BCCD 98.9 % of 177 (fields
    that are not held back, cut to 2.2 boxes). ``nuclei`` as in :func:`trace_cell`.
    """
    traced = trace_cell(rgb, nuclei)
    return None if traced is None else traced.location


def trace_cell(rgb: UInt8Array, nuclei: UInt8Array | None = None) -> TracedCell | None:
    """As :func:`locate_cell`, with the nucleus and the outline that say so.

    ``nuclei``, uint8 of 0 and 255 in any resolution of the same frame, are those of the cell that is meant,
    where somebody has searched the field already.
    """
    frame = at_working_size(rgb)
    stain = stain_map(frame)
    if nuclei is None:
        nucleus = nucleus_by_stain(stain)
    else:
        given = cv2.resize(nuclei, frame.shape[1::-1], interpolation=cv2.INTER_LINEAR) > 127
        nucleus = given if given.any() else None
    if nucleus is None:
        return None
    guess = _by_its_nucleus(nucleus)
    by_outline, outline = _by_its_outline(frame, nucleus, guess)
    is_wide = by_outline.size > MAX_OUTLINE * guess.size
    cell = guess if is_wide else by_outline
    disc = _disc(cell, frame.shape)
    whole_cell = disc
    if outline is not None and not is_wide:
        whole_cell = disc | fill(outline - np.float32(0.5), frame.shape).view(np.bool_)
    scale_row, scale_column = rgb.shape[0] / frame.shape[0], rgb.shape[1] / frame.shape[1]
    location = CellLocation(
        cell.row * scale_row,
        cell.column * scale_column,
        cell.size * max(scale_row, scale_column),
        nucleus_stain(frame, nucleus, disc),
        not has_other_nucleus(stain, nucleus, whole_cell, (cell.row, cell.column), OTHER_CELL * cell.size),
    )
    if outline is not None:
        outline = outline * np.array([scale_column, scale_row], np.float32) - np.float32(0.5)
    whole = cell_window(None, None, rgb.shape)
    return TracedCell(location, nucleus.view(np.uint8) * np.uint8(255), whole, outline, is_wide)


def _by_its_nucleus(nucleus: NDArray[np.bool_]) -> CellLocation:
    """A first guess: the nucleus is in the middle and has the usual share of the cell."""
    left, top, width, height = cv2.boundingRect(nucleus.view(np.uint8))
    return CellLocation(top + height / 2, left + width / 2, max(width, height) / NUCLEUS_TO_CELL)


def _by_its_outline(
    frame: UInt8Array, nucleus: NDArray[np.bool_], guess: CellLocation
) -> tuple[CellLocation, Float32Array | None]:
    """The square around the nucleus' outline, and the outline, x and y from the frame's corner.

    The guess where there is no outline.
    """
    window = cell_window(guess, SEARCH_SCALE, frame.shape)
    seed = extract(nucleus.view(np.uint8) * np.uint8(255), window, OUTLINE_SIDE) > 127
    outline = cell_outline(extract(frame, window, OUTLINE_SIDE), seed.view(np.uint8))
    if outline is None:
        return guess, None
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    pixel = window.height / OUTLINE_SIDE
    location = CellLocation(
        window.top + (float(top + bottom) / 2 + 0.5) * pixel,
        window.left + (float(left + right) / 2 + 0.5) * pixel,
        float(max(right - left, bottom - top)) * pixel,
    )
    corner = np.array([window.left, window.top], np.float32)
    return location, (outline + np.float32(0.5)) * np.float32(pixel) + corner


def _disc(cell: CellLocation, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Where the cell lies, bool ``[H, W]``, and a little around it."""
    disc = np.zeros(shape[:2], np.uint8)
    centre = (round(cell.column), round(cell.row))
    cv2.circle(disc, centre, round(CELL_DISC / 2 * cell.size), (1,), cv2.FILLED)
    return disc.view(np.bool_)


def cell_window(cell: CellLocation | None, crop_scale: float | None, shape: tuple[int, ...]) -> Window:
    """The square of ``crop_scale`` cell sizes around the cell; the whole frame where either is None."""
    if cell is None or crop_scale is None:
        return Window(0.0, 0.0, float(shape[0]), float(shape[1]))
    side = cell.size * crop_scale
    return Window(cell.row - side / 2, cell.column - side / 2, side, side)


def extract(rgb: UInt8Array, window: Window, size: int) -> UInt8Array:
    """The window of uint8 ``[H, W, 3]`` or ``[H, W]`` resampled to ``[size, size, 3]`` or ``[size, size]``.

    What lies outside the frame is filled by its mirror image: smear goes on there, a black border would
    be a shape that the model never saw.
    """
    matrix = to_window(window, (size, size))
    if max(window.height, window.width) > size:  # warpAffine has no area filter: shrink without aliasing
        rgb = _blurred(rgb, window, (0.35 * window.height / size, 0.35 * window.width / size))
    return np.asarray(
        cv2.warpAffine(rgb, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101),
        np.uint8,
    )


def _blurred(rgb: UInt8Array, window: Window, sigmas: tuple[float, float]) -> UInt8Array:
    """A frame as large as ``rgb``, blurred where :func:`extract` reads it, and of any value elsewhere.

    As large, because the warp's coordinates must stay the same: from other ones it would round otherwise.
    """
    margin = math.ceil(4 * max(sigmas)) + 1  # more than OpenCV's kernels reach
    part = (
        _read_indices(window.top, window.height, margin, rgb.shape[0]),
        _read_indices(window.left, window.width, margin, rgb.shape[1]),
    )
    blurred = np.asarray(cv2.GaussianBlur(rgb[part], (0, 0), sigmaX=sigmas[1], sigmaY=sigmas[0]), np.uint8)
    if blurred.shape == rgb.shape:
        return blurred
    frame = np.empty_like(rgb)
    frame[part] = blurred
    return frame


def _read_indices(first: float, length: float, margin: int, side: int) -> slice:
    """Rows or columns of a frame in a stretch of it, or in the mirror image of what lies beyond its edges."""
    low, high = math.floor(first) - margin, math.ceil(first + length) + margin
    if low < 0:
        high = max(high, -low + 1 + margin)
    if high > side:
        low = min(low, 2 * side - high - 1 - margin)
    return slice(max(0, low), min(side, high))


def place(window_map: Float32Array, window: Window, shape: tuple[int, ...]) -> Float32Array:
    """The inverse of :func:`extract` for maps: float32 ``[size, size]`` to float32 ``[H, W]``, 0 outside."""
    from_window = cv2.invertAffineTransform(to_window(window, window_map.shape))
    placed = cv2.warpAffine(
        window_map, from_window, (shape[1], shape[0]), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(placed, np.float32)


def to_window(window: Window, shape: tuple[int, ...]) -> Float32Array:
    """Affine map, float32 ``[2, 3]``, from pixels of the frame to those of a window of this shape.

    As OpenCV counts: x, y of pixel centres.
    """
    scale_x, scale_y = shape[1] / window.width, shape[0] / window.height
    return np.array(
        [
            [scale_x, 0, (0.5 - window.left) * scale_x - 0.5],
            [0, scale_y, (0.5 - window.top) * scale_y - 0.5],
        ],
        np.float32,
    )
