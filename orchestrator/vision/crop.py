"""Finding the cell by its nucleus' stain, and the window around it with its geometry.

How much of the frame a cell fills is part of the shift between microscopes; a window of a fixed number of
cell sizes takes it away.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.vision.foreground import nucleus_component

NUCLEUS_TO_CELL = 0.78
"""Side of the nucleus' box over that of the cell's box; the median over the boxes of the Train split."""


MIN_NUCLEUS_DENSITY = 0.8
"""Least optical density of a nucleus in green, where the nuclear stain absorbs most and red cells far less.

Every nucleus of the Train split has 0.81 or more; of the darkest things in fields without a white cell 9 in
10 have less.
"""

MIN_NUCLEUS_HUE = 0.4
"""How far a nucleus' density in blue stays behind that in green, as a share of the latter.

Romanowsky stains make nuclei purple: Train's least is 0.58. Grey, brown, red and green things have less.
"""


@dataclass(frozen=True, slots=True)
class CellLocation:
    """Centre (row, column) and side of the square box of a cell, in pixels of the original frame."""

    row: float
    column: float
    size: float


@dataclass(frozen=True, slots=True)
class Window:
    """A rectangle of the original frame, in pixels; it may reach beyond the frame's edges."""

    top: float
    left: float
    height: float
    width: float


def locate_cell(rgb: UInt8Array) -> CellLocation | None:
    """The white cell nearest to the centre of the frame, or None where nothing is stained as a nucleus is.

    ``rgb`` is uint8 ``[H, W, 3]``.
    """
    nucleus = nucleus_component(rgb)
    if nucleus is None or not _is_stained_as_a_nucleus(rgb, nucleus):
        return None
    rows, columns = np.nonzero(nucleus)
    top, bottom = float(rows.min()), float(rows.max() + 1)
    left, right = float(columns.min()), float(columns.max() + 1)
    scale_row, scale_column = rgb.shape[0] / nucleus.shape[0], rgb.shape[1] / nucleus.shape[1]
    size = max((bottom - top) * scale_row, (right - left) * scale_column) / NUCLEUS_TO_CELL
    return CellLocation((top + bottom) / 2 * scale_row, (left + right) / 2 * scale_column, size)


def _is_stained_as_a_nucleus(rgb: UInt8Array, mask: NDArray[np.bool_]) -> bool:
    """By the median optical density of the masked part against the brightest tenth of each channel."""
    frame = cv2.resize(rgb, mask.shape[::-1], interpolation=cv2.INTER_AREA)
    light = np.percentile(frame, 90, axis=(0, 1))
    passed = np.median(frame[mask], axis=0)
    _, green, blue = np.log(np.maximum(light, 1) / np.maximum(passed, 1))
    return bool(green >= MIN_NUCLEUS_DENSITY and 1 - blue / green >= MIN_NUCLEUS_HUE)


def cell_window(cell: CellLocation | None, crop_scale: float | None, shape: tuple[int, ...]) -> Window:
    """The square of ``crop_scale`` cell sizes around the cell; the whole frame where either is None."""
    if cell is None or crop_scale is None:
        return Window(0.0, 0.0, float(shape[0]), float(shape[1]))
    side = cell.size * crop_scale
    return Window(cell.row - side / 2, cell.column - side / 2, side, side)


def extract(rgb: UInt8Array, window: Window, size: int) -> UInt8Array:
    """The window resampled to uint8 ``[size, size, 3]``.

    What lies outside the frame is filled by its mirror image: smear goes on there, a black border would
    be a shape that the model never saw.
    """
    to_window = _window_matrix(window, size)
    if max(window.height, window.width) > size:  # warpAffine has no area filter: shrink without aliasing
        sigma = 0.35 * np.array([window.height, window.width]) / size
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), sigmaX=sigma[1], sigmaY=sigma[0]), np.uint8)
    return np.asarray(
        cv2.warpAffine(
            rgb, to_window, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        ),
        np.uint8,
    )


def place(window_map: Float32Array, window: Window, shape: tuple[int, ...]) -> Float32Array:
    """The inverse of :func:`extract` for maps: float32 ``[size, size]`` to float32 ``[H, W]``, 0 outside."""
    from_window = cv2.invertAffineTransform(_window_matrix(window, window_map.shape[0]))
    placed = cv2.warpAffine(
        window_map, from_window, (shape[1], shape[0]), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return np.asarray(placed, np.float32)


def _window_matrix(window: Window, size: int) -> Float32Array:
    """Affine map from original to window coordinates (OpenCV: x, y of pixel centres)."""
    scale_x, scale_y = size / window.width, size / window.height
    return np.array(
        [
            [scale_x, 0, (0.5 - window.left) * scale_x - 0.5],
            [0, scale_y, (0.5 - window.top) * scale_y - 0.5],
        ],
        np.float32,
    )
