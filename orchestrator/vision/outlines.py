"""Outlines of cell and nucleus in the original frame, for whoever draws them over the image."""

from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Box, CellOutlines, Polygon
from orchestrator.vision.crop import Window
from orchestrator.vision.foreground import CellMasks

CELL_LEVEL: Final = 0.5
"""Of the soft mask of the cell: where its edge lies."""

TOLERANCE_PX: Final = 0.7
"""How far, in pixels of the crop, an outline may pass by the mask's edge to need fewer corners."""


def mask_outlines(masks: CellMasks, window: Window) -> CellOutlines:
    """The outer edges of both masks, as polygons in pixels of the original frame; none where nothing is.

    ``masks`` are of the window ``window``. Corners may lie beyond the frame, as the window may.
    """
    return CellOutlines(
        cell=_polygons(masks.cell >= CELL_LEVEL, window), nucleus=_polygons(masks.nucleus, window)
    )


def bounding_box(polygons: tuple[Polygon, ...], shape: tuple[int, ...]) -> Box | None:
    """The smallest rectangle that holds all of them, as far as it lies within a frame of this shape (height,
    width); None where there are none."""
    corners = [corner for polygon in polygons for corner in polygon]
    if not corners:
        return None
    rows, columns = zip(*corners, strict=True)
    height, width = map(float, shape[:2])
    return Box(max(0.0, min(rows)), max(0.0, min(columns)), min(height, max(rows)), min(width, max(columns)))


def _polygons(mask: NDArray[np.bool_], window: Window) -> tuple[Polygon, ...]:
    contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    pixel_height, pixel_width = window.height / mask.shape[0], window.width / mask.shape[1]
    polygons = []
    for contour in contours:
        corners = cv2.approxPolyDP(contour, TOLERANCE_PX, closed=True)[:, 0]
        if len(corners) >= 3:
            polygons.append(
                tuple(
                    (
                        round(window.top + (float(y) + 0.5) * pixel_height, 1),
                        round(window.left + (float(x) + 0.5) * pixel_width, 1),
                    )
                    for x, y in corners
                )
            )
    return tuple(polygons)
