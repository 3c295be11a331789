"""The red cells around a white one, as a ruler: they are nearly alike in every smear.

A crop of a fixed number of cell sizes takes the magnification away, and with it how large a cell is, which
tells a lymphocyte from a monocyte. A nucleus measured in red cells needs no calibration of the microscope.

Of Raabin 95 % of the images have a value, of Barcelona 99 %, of Chula 84 %; of BCCD, whose crops end too
close to the cell, 2 %. Within a device the diameter varies by 0.10 to 0.17 of a doubling (standard
deviation); docs/accuracy.md has what the size tells.
"""

import math
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array
from orchestrator.vision.crop import Window, place
from orchestrator.vision.found_cell import FoundCell
from orchestrator.vision.histogram import percentiles

RED_TO_WHITE: Final = 0.6
"""A first guess of a red cell's diameter, in sizes of the white one; Train has 0.4 to 1."""

SPANS: Final = ((0.5, 2.3), (0.65, 1.5))
"""Diameters that are looked for: first in that guessed, then in the median of what was found.

With the first alone a large white cell seems to have large red cells around it.
"""

RED_CELL_PX: Final = 44
"""Circles are looked for where a red cell is guessed to have this diameter, so that the magnification does
not count. With 28 there is a diameter on fewer images."""

FIELD_RED_CELL_PX: Final = 28
"""The same where a whole field is searched."""

REACH: Final = 4.0
"""Red cells are looked for within so many sizes of the white cell; it bounds the work."""

MIN_RED_CELLS: Final = 2
"""With fewer credible circles there is no diameter. With three it is hardly surer, on fewer images."""

_CANNY: Final = 150.0
_ROUNDNESS: Final = 0.5
"""Of cv2.HoughCircles: the upper threshold of its edges, and how much of a circle must be edge."""

_BEYOND_EDGE: Final = 0.4
_ON_WHITE: Final = 0.15
"""Radii that a circle may reach beyond the frame, and the share of its disc that the white cell may cover."""

_BLUR_SIGMA: Final = 0.75 / 28
"""In diameters of a red cell."""

_LEVELS: Final = np.arange(256)
_GAP: Final = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))


def red_cell_diameter(rgb: UInt8Array, white_cell: FoundCell) -> float | None:
    """Median diameter in pixels of the red cells around a white cell; None with fewer than ``MIN_RED_CELLS``.

    ``rgb`` is uint8 ``[H, W, 3]``, the frame in which the white cell was found. A red cell is a circle of
    edges, whether it is seen as a disc, as a ring or as an outline, and contrast is stretched to that of what
    is not the white cell: no level is assumed. Where the frame ends close to the white cell there are no
    whole red cells to be seen.
    """
    rows, columns = _around(white_cell, rgb.shape)
    scale = RED_CELL_PX / (RED_TO_WHITE * white_cell.location.size)
    luma = _scaled(np.asarray(cv2.cvtColor(rgb[rows, columns], cv2.COLOR_RGB2GRAY), np.uint8), scale)
    seen = white_cell.window
    corner = (seen.top - rows.start) * scale, (seen.left - columns.start) * scale
    window = Window(*corner, seen.height * scale, seen.width * scale)
    white = place(white_cell.cell.astype(np.float32), window, luma.shape) > 127
    if white.all():
        return None
    low, high = percentiles(luma, 1, 99, where=~white)[0]
    stretched = np.clip((_LEVELS - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    luma = np.asarray(cv2.LUT(luma, stretched), np.uint8)
    blurred = _blurred(luma, RED_CELL_PX)
    diameter: float = RED_CELL_PX
    for span in SPANS:
        found = _diameters(blurred, white, diameter, span)
        if len(found) < MIN_RED_CELLS:
            return None
        diameter = float(np.median(found))
    return diameter / scale


def nucleus_diameter(cell: FoundCell) -> float:
    """Diameter in pixels of the disc of the nucleus' area."""
    pixel = cell.window.height / len(cell.nucleus)
    return math.sqrt(4 / math.pi * cv2.countNonZero(cell.nucleus)) * pixel


def relative_size(rgb: UInt8Array, cell: FoundCell) -> float | None:
    """Log2 of the nucleus' diameter over that of the red cells; None where either is not to be seen."""
    nucleus, red = nucleus_diameter(cell), red_cell_diameter(rgb, cell)
    return math.log2(nucleus / red) if red is not None and nucleus > 0 else None


def _around(cell: FoundCell, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the frame within ``REACH`` cell sizes of the cell."""
    reach, location = REACH * cell.location.size, cell.location
    top, left = (max(0, math.floor(middle - reach)) for middle in (location.row, location.column))
    bottom, right = (math.ceil(middle + reach) for middle in (location.row, location.column))
    return slice(top, min(bottom, shape[0])), slice(left, min(right, shape[1]))


def _diameters(
    blurred: UInt8Array, white: NDArray[np.bool_], expected: float, span: tuple[float, float]
) -> list[float]:
    """Of the circles that lie in the frame, but for a part, and not on the white cell; in pixels."""
    height, width = blurred.shape
    covered = cv2.dilate(white.view(np.uint8), _GAP)
    diameters = []
    for x, y, radius in _circles(blurred, expected, span):
        to_edges = (x - radius, y - radius, width - x - radius, height - y - radius)
        if min(to_edges) >= -_BEYOND_EDGE * radius and not _is_on(covered, round(x), round(y), round(radius)):
            diameters.append(2 * radius)
    return diameters


def _is_on(white: MatLike, x: int, y: int, radius: int) -> bool:
    """Whether more of a disc, as far as it is in the frame, lies on the white cell than may."""
    left, top = max(0, x - radius), max(0, y - radius)
    around = white[top : y + radius + 1, left : x + radius + 1]
    disc = cv2.circle(np.zeros_like(around), (x - left, y - top), radius, (1,), cv2.FILLED)
    return cv2.countNonZero(cv2.bitwise_and(disc, around)) > _ON_WHITE * cv2.countNonZero(disc)


def round_things(
    luma: UInt8Array, expected: float, span: tuple[float, float]
) -> list[tuple[float, float, float]]:
    """x, y and diameter in pixels of what is round in ``luma``, uint8 ``[H, W]``, about as ``expected``.

    ``span`` is the least and the greatest, in that diameter. Coarser than what is told of one white cell.
    """
    pixel = expected / FIELD_RED_CELL_PX
    found = _circles(_blurred(_scaled(luma, 1 / pixel), FIELD_RED_CELL_PX), FIELD_RED_CELL_PX, span)
    return [(x * pixel, y * pixel, 2 * radius * pixel) for x, y, radius in found]


def _scaled(luma: UInt8Array, scale: float) -> UInt8Array:
    size = max(1, round(luma.shape[1] * scale)), max(1, round(luma.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(luma, size, interpolation=interpolation), np.uint8)


def _blurred(luma: UInt8Array, red_cell_px: int) -> UInt8Array:
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), _BLUR_SIGMA * red_cell_px), np.uint8)


def _circles(blurred: UInt8Array, expected: float, span: tuple[float, float]) -> list[list[float]]:
    """x, y and radius in pixels of circles of about the ``expected`` diameter."""
    least, most = (round(factor * expected / 2) for factor in span)
    circles = cv2.HoughCircles(
        blurred,
        cv2.HOUGH_GRADIENT_ALT,
        dp=1.5,
        minDist=least,
        param1=_CANNY,
        param2=_ROUNDNESS,
        minRadius=least,
        maxRadius=most,
    )
    return [] if circles is None else circles[0, :, :3].tolist()
