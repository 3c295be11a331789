"""The outline of a nucleus in numbers: a candidate for what a model is told of a cell.

A shape is the same whatever lamp, stain and camera. :mod:`training.left_out` measures what it adds to the
served measures (:mod:`orchestrator.vision.morphometry`); no model is told it yet.
"""

import math
from typing import Final

import cv2
import numpy as np

from orchestrator.domain import UInt8Array
from orchestrator.vision.morphometry import MIN_PART_PX

CONVEX: Final = 0.02
"""Added to the share of the hull that is not nucleus: an outline of pixels is never quite convex."""


def nucleus_outline(nucleus: UInt8Array) -> tuple[float, float, float, float] | None:
    """Concavity, circularity, thickness and aspect of a nucleus, all its lobes together; None of a speck.

    ``nucleus`` is its mask, uint8 ``[H, W]`` of 0 and 255, at the scale of
    :class:`~orchestrator.vision.found_cell.FoundCell`. Concavity is the natural logarithm of the share of the
    convex hull that is not nucleus, plus :data:`CONVEX`: -3.9 (convex) to 0. Circularity is the logarithm of
    4 pi times the area over the squared perimeter, thickness that of the radius of the largest disc within
    over the radius of the disc of the same area; both are about 0 of a disc, and less of all else. Aspect is
    the smaller over the larger standard deviation along the axes, 0 (a line) to 1.
    """
    area = cv2.countNonZero(nucleus)
    if area < MIN_PART_PX:
        return None
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
