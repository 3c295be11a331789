"""What is measured of a found cell: its nucleus in red cells, its parts against each other, the nucleus'
outline.

Parts of one cell are seen by the same lamp and camera through the same stain, so that what one is to the
other holds on every microscope, as does a shape. docs/accuracy.md has what the measures tell of the class.
"""

import math
from typing import Final

import cv2
import numpy as np

from orchestrator.domain import Morphometry, UInt8Array
from orchestrator.vision.crop import extract
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.found_cell import MASK_SIDE, FoundCell
from orchestrator.vision.histogram import percentiles
from orchestrator.vision.red_cells import relative_size
from orchestrator.vision.stain_anchor import field_colour

MIN_PART_PX: Final = 30
"""With fewer pixels of nucleus or cytoplasm, of :data:`~orchestrator.vision.found_cell.MASK_SIDE` across,
they are not compared."""

SHARES: Final = (0.02, 0.98)
"""Limits of the nucleus' share of the cell."""

DENSITIES: Final = (0.02, 2.0)
"""Limits of the cytoplasm's density, in that of the nucleus."""

HUES: Final = (-1.5, 1.5)
"""Limits of the cytoplasm's hue; of the cells of four devices 996 in 1,000 lie within."""

CONVEX: Final = 0.02
"""Added to the share of the hull that is not nucleus: an outline of pixels is never quite convex."""

_MIN_LEVEL: Final = 3.0
_EDGE: Final = cv2.getStructuringElement(cv2.MORPH_RECT, (5, 5))
"""What lies on an edge is of neither side."""


def measure(rgb: UInt8Array, cell: FoundCell) -> Morphometry:
    """Measure a cell that was found in ``rgb``, uint8 ``[H, W, 3]``."""
    return Morphometry(relative_size(rgb, cell), *_appearance(rgb, cell), *_outline(cell.nucleus))


def _appearance(rgb: UInt8Array, cell: FoundCell) -> tuple[float, float, float] | tuple[None, None, None]:
    """Share of the nucleus, density and hue of the cytoplasm; all or none."""
    around_nucleus = cv2.dilate(cell.nucleus, _EDGE)
    cytoplasm = cv2.bitwise_and(cv2.erode(cell.cell, _EDGE), cv2.bitwise_not(around_nucleus))
    nucleus_px = cv2.countNonZero(cell.nucleus)
    if min(nucleus_px, cv2.countNonZero(cytoplasm)) < MIN_PART_PX:
        return None, None, None
    crop = extract(rgb, cell.window, MASK_SIDE)
    field = field_colour(crop, CellMasks(cell.nucleus > 0, cell.cell.astype(np.float32)))
    # The median's density is the densities' median, as the one falls where the other rises.
    levels = np.array([percentiles(crop, 50, where=part)[:, 0] for part in (cytoplasm, cell.nucleus)])
    (red, green, _), (nucleus_red, nucleus_green, _) = np.log(
        (field.astype(np.float64) + 1) / (np.maximum(levels, _MIN_LEVEL) + 1)
    ).tolist()
    if nucleus_green <= 0:  # no nucleus is as clear as the field
        return None, None, None
    share = _within(SHARES, nucleus_px / cv2.countNonZero(cell.cell))
    density = _within(DENSITIES, green / nucleus_green)
    hue = _within(HUES, red / max(green, DENSITIES[0] * nucleus_green) - nucleus_red / nucleus_green)
    return math.log(share / (1 - share)), math.log(density), hue


def _outline(nucleus: UInt8Array) -> tuple[float, float, float, float] | tuple[None, None, None, None]:
    """Concavity, circularity, thickness and aspect of a mask, uint8 ``[H, W]`` of 0 and 255; all or none."""
    area = cv2.countNonZero(nucleus)
    if area < MIN_PART_PX:
        return None, None, None, None
    lobes, _ = cv2.findContours(nucleus, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.fillConvexPoly(np.zeros_like(nucleus), cv2.convexHull(np.concatenate(lobes)), (1,))
    perimeter = max(sum(cv2.arcLength(lobe, closed=True) for lobe in lobes), 1.0)
    radius = float(cv2.distanceTransform(nucleus, cv2.DIST_L2, 5).max())
    moments = cv2.moments(nucleus, binaryImage=True)
    mean, difference = (moments["mu20"] + moments["mu02"]) / 2, (moments["mu20"] - moments["mu02"]) / 2
    apart = math.hypot(difference, moments["mu11"])
    return (
        math.log(max(1 - area / cv2.countNonZero(hull), 0) + CONVEX),
        math.log(4 * math.pi * area / perimeter**2),
        math.log(radius / math.sqrt(area / math.pi)),
        math.sqrt(max(mean - apart, 0) / (mean + apart)),
    )


def _within(limits: tuple[float, float], value: float) -> float:
    return min(max(value, limits[0]), limits[1])
