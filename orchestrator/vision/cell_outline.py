"""The closed outline of a cell around its nucleus: slower to explain than a threshold, and closer.

What is cell by its colour is learned from the very image: colours on and beside the nucleus against colours
far from it, so that red cells and field are both learned as what they are here. Then the best closed, smooth
outline around the nucleus is found by dynamic programming in polar coordinates.

Every constant below was chosen on the boxes of the Train split and on painted cells with known masks
(``wbc-train masks`` measures both); none on TestA or TestB.

References
----------
Bamford and Lovell 1998, "Unsupervised cell nucleus segmentation with active contours", Signal Processing
71(2):203-213: the shortest closed path in polar coordinates.
"""

from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.vision.histogram import percentiles

OUTLINE_SIDE: Final = 112
"""The outline is found at this length of the longer side: half of the model's input, which shrinks fast."""

ANGLES: Final = 48
RADII: Final = 40
MAX_RADIUS: Final = 0.62
"""Rays around the nucleus' centre, steps on each, and their length in longer sides of the crop."""

NEAR: Final = 0.2
FAR: Final = 0.45
"""Distances from the nucleus' hull, in its diameters: nearer than the first is learned as cell (some field
and red cells among it do no harm), farther than the second as what is not cell."""

COLOUR_BINS: Final = 12
_LEAST_SHARE: Final = 2e-4
_MAX_LOG_ODDS: Final = 2.0
_CELL_STAIN: Final = (0.12, 0.1)
"""Difference from the empty field, as a share of the nucleus', that is as likely cell as not, and the
difference from there that makes sure."""

_EDGE_WEIGHT: Final = 12.0
_BEND_COST: Final = 2.0
_MAX_BEND: Final = 2
"""What a contrast of the nucleus' size is worth, in steps of sure cell; what a step of bending costs; and
steps that the outline may move from ray to ray."""

_BEND_COSTS: Final = np.repeat(
    np.float32(_BEND_COST) * np.abs(np.arange(-_MAX_BEND, _MAX_BEND + 1, dtype=np.float32))[:, np.newaxis],
    RADII,
    axis=1,
)

_LAB_WEIGHTS: Final = np.array([[0.7, 1.0, 1.0]], np.float32)
"""Lightness counts less than colour: shading and vignetting are lightness."""

_BLUR_SIGMA_PX: Final = 0.8
_FIELD_PERCENTILE: Final = 80

_DIRECTIONS: Final = np.arange(ANGLES, dtype=np.float32) * np.float32(2 * np.pi / ANGLES)
_COSINES, _SINES = np.cos(_DIRECTIONS), np.sin(_DIRECTIONS)
_STEP_PX: Final = MAX_RADIUS * OUTLINE_SIDE / RADII
_RADII_PX: Final = (np.arange(RADII, dtype=np.float32) + np.float32(0.5)) * np.float32(_STEP_PX)


def cell_outline(crop: UInt8Array, nucleus: UInt8Array) -> Float32Array | None:
    """Corners of the closed outline around the nucleus, float32 ``[ANGLES, 2]`` of x and y.

    ``crop`` is uint8 ``[H, W, 3]``, ``nucleus`` its mask, uint8 ``[H, W]`` of 0 and 1. Coordinates are the
    crop's, (0, 0) the middle of its first pixel. None where the nucleus is too small to be seen.
    """
    scale = OUTLINE_SIDE / max(crop.shape[:2])
    size = (max(1, round(crop.shape[1] * scale)), max(1, round(crop.shape[0] * scale)))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    seed = cv2.resize(nucleus, size, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(seed, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return None
    hull = cv2.fillConvexPoly(np.zeros_like(seed), cv2.convexHull(np.vstack(contours)), (1,))
    blurred = cv2.GaussianBlur(small, (0, 0), _BLUR_SIGMA_PX)
    lab = np.asarray(cv2.cvtColor(blurred, cv2.COLOR_RGB2LAB), np.uint8)
    field = _field_colour(lab)
    contrast = float(np.linalg.norm((percentiles(lab, 50, where=seed)[:, 0] - field) * _LAB_WEIGHTS))
    contrast = max(contrast, 1.0)
    odds = _cell_odds(lab, hull, _distance(lab, field) / np.float32(contrast))

    moments = cv2.moments(hull, binaryImage=True)
    centre = (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"])
    x = np.float32(centre[0]) + _COSINES[:, np.newaxis] * _RADII_PX
    y = np.float32(centre[1]) + _SINES[:, np.newaxis] * _RADII_PX
    score = _scores(lab, odds, hull, contrast, (x, y))

    path = _best_closed_path(score).astype(np.float32)
    smooth = cv2.blur(np.concatenate([path[-2:], path, path[:2]]), (1, 5)).ravel()[2:-2]
    length = (smooth + 1) * np.float32(_STEP_PX)
    outline = np.stack([centre[0] + length * _COSINES + 0.5, centre[1] + length * _SINES + 0.5], axis=1)
    return np.asarray(outline * (crop.shape[1] / size[0], crop.shape[0] / size[1]) - 0.5, np.float32)


def fill(outline: Float32Array, shape: tuple[int, ...]) -> UInt8Array:
    """The inside of an outline, uint8 ``[H, W]`` of 0 and 1; ``shape`` gives height and width."""
    points = np.rint(outline * 16).astype(np.int32)  # fixed point, four bits after the point
    return np.asarray(cv2.fillPoly(np.zeros(shape[:2], np.uint8), [points], (1,), shift=4), np.uint8)


def _field_colour(lab: UInt8Array) -> Float32Array:
    """The median of the brightest fifth, float32 ``[3]``."""
    lightness = lab[:, :, 0]
    bright = lightness >= percentiles(lightness, _FIELD_PERCENTILE)[0, 0]
    return percentiles(lab, 50, where=bright)[:, 0].astype(np.float32)


def _distance(lab: UInt8Array, colour: Float32Array) -> Float32Array:
    """Weighted distance of each pixel from a colour, float32 ``[h, w]``."""
    squares = ((np.arange(256, dtype=np.float32)[:, np.newaxis] - colour) * _LAB_WEIGHTS) ** 2
    parts = cv2.LUT(lab, squares.reshape(256, 1, 3))
    return np.asarray(cv2.sqrt(cv2.transform(parts, np.ones((1, 3), np.float32))), np.float32)


def _scores(
    lab: UInt8Array, odds: Float32Array, hull: MatLike, contrast: float, rays: tuple[MatLike, MatLike]
) -> Float32Array:
    """What speaks for the outline to cross each ray at each step, float32 ``[ANGLES, RADII]``.

    All that speaks for cell on the way there, and the contrast of what lies before and behind.
    """
    x, y = rays
    beyond_the_crop = (-1.0,)
    along = cv2.remap(odds, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_CONSTANT, beyond_the_crop)
    flat = cv2.blur(lab.astype(np.float32), (3, 3))
    colours = cv2.remap(flat, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    change = (colours[:, 4:] - colours[:, :-4]) * (_LAB_WEIGHTS / np.float32(contrast))
    score = np.cumsum(along, axis=1)
    score[:, 2:-2] += np.float32(_EDGE_WEIGHT) * np.sqrt(np.einsum("ijk,ijk->ij", change, change))
    in_hull = cv2.remap(hull, x, y, cv2.INTER_NEAREST) > 0
    last_in_hull = np.where(in_hull.any(axis=1), RADII - 1 - in_hull[:, ::-1].argmax(axis=1), 0)
    score[np.arange(RADII) < last_in_hull[:, np.newaxis]] = -1e4  # the nucleus is inside
    return np.asarray(score, np.float32)


def _cell_odds(lab: UInt8Array, hull: MatLike, stain: Float32Array) -> Float32Array:
    """How much speaks for each pixel being cell, float32 ``[h, w]``, negative where more speaks against.

    Log odds of its colour near the nucleus against far from it, plus how far it is from the empty field.
    """
    diameter = float(np.sqrt(4 / np.pi * cv2.countNonZero(hull)))
    distance = cv2.distanceTransform(1 - hull, cv2.DIST_L2, 5)
    outside = distance > FAR * diameter
    if int(np.count_nonzero(outside)) < 30:  # the nucleus fills the crop
        outside = distance > 0
    index = _colour_index(lab)
    near, far = (_colour_shares(index[where]) for where in (distance <= NEAR * diameter, outside))
    log_odds = np.log((near + np.float32(_LEAST_SHARE)) / (far + np.float32(_LEAST_SHARE)))
    even, sure = _CELL_STAIN
    by_colour = np.take(np.clip(log_odds, -_MAX_LOG_ODDS, _MAX_LOG_ODDS), index)
    odds = by_colour + np.clip((stain - np.float32(even)) * np.float32(1 / sure), -1, 1)
    odds[hull > 0] = _MAX_LOG_ODDS
    return np.asarray(odds, np.float32)


_BINS: Final = COLOUR_BINS + 2  # an empty one at each end, so that smoothing does not run around


def _colour_index(lab: UInt8Array) -> NDArray[np.int32]:
    """Which of ``_BINS ** 3`` colours each pixel has, int32 ``[h, w]``; bins span the crop's own colours."""
    index = np.zeros(lab.shape[:2], np.int32)
    for channel, weight in zip(cv2.split(lab), _LAB_WEIGHTS[0], strict=True):
        lowest, highest, _, _ = cv2.minMaxLoc(channel)
        span = max((highest - lowest) * float(weight), 1.0)
        steps = np.clip((np.arange(256) - lowest) * float(weight) / span * COLOUR_BINS, 0, COLOUR_BINS - 1)
        index = index * _BINS + (steps.astype(np.int32) + 1)[np.asarray(channel, np.uint8)]
    return index


def _colour_shares(index: NDArray[np.int32]) -> Float32Array:
    """Share of each colour, smoothed over its neighbours, float32 ``[_BINS ** 3]``."""
    counts = np.bincount(index, minlength=_BINS**3).astype(np.float32)
    kernel, itself = np.array([0.25, 0.5, 0.25], np.float32), np.ones(1, np.float32)
    rows = cv2.sepFilter2D(counts.reshape(_BINS**2, _BINS), -1, kernel, kernel)  # b, and a
    smooth = cv2.sepFilter2D(rows.reshape(_BINS, _BINS**2), -1, itself, kernel)  # lightness
    return np.asarray(smooth.ravel() / np.float32(max(1, index.size)), np.float32)


def _best_closed_path(score: Float32Array) -> NDArray[np.int64]:
    """The radius of each ray that maximises the sum of scores less what bending costs, int64 ``[rays]``.

    Dynamic programming over one turn and a half; the turn in its middle is kept, whose ends agree.
    """
    rays, radii = score.shape
    lead = rays // 4
    turns = np.concatenate([score[-lead:], score, score[:lead]])
    best = np.full((len(turns), radii + 2 * _MAX_BEND), -1e9, np.float32)
    inner = best[:, _MAX_BEND:-_MAX_BEND]
    # Row b of a ray's view: the radius b - _MAX_BEND away on that ray.
    shifted = np.lib.stride_tricks.sliding_window_view(best, radii, axis=1)
    reached = np.empty((len(turns) - 1, len(_BEND_COSTS), radii), np.float32)
    inner[0] = turns[0]
    # Views are cut by iterating: to index them costs as much as the sums do.
    for before, sums, here, turn in zip(shifted[:-1], reached, inner[1:], turns[1:], strict=True):
        np.subtract(before, _BEND_COSTS, sums)
        np.maximum.reduce(sums, 0, None, here)
        np.add(here, turn, here)
    bends = (reached.argmax(axis=1) - _MAX_BEND).tolist()
    path = [int(inner[-1].argmax())]
    for bend in reversed(bends):
        path.append(path[-1] + bend[path[-1]])
    return np.array(path[::-1][lead : lead + rays])
