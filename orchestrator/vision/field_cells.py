"""Every white cell of a field, each with its own nuclei and its own part of the frame.

What is measured is compared with the red cells of the very field: lengths in their diameter, stain in their
density, so that no size and no colour of one camera is assumed. In optical density over the light beside it a
red cell takes blue as it takes green, up to a factor that is the field's; a nucleus takes far more green.
What green takes beyond that factor is :func:`_nuclear_stain`.

What is found here is offered to the network, which says what of it is no white cell
(:mod:`orchestrator.analyse_field`). Limits were chosen on the fields of Chula and BCCD that are not held
back, and on painted ones.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Box, Float32Array, UInt8Array
from orchestrator.vision.histogram import percentiles
from orchestrator.vision.red_cells import round_things

T = TypeVar("T", np.uint8, np.bool_)
Part = TypeVar("Part")
Found = TypeVar("Found")

WORKING_RED_CELL_PX: Final = 24
"""Fields are searched where a red cell has this diameter."""

MIN_RED_CELL_PX: Final = 12.0
"""With smaller red cells a white one has some twenty pixels: too few to tell its class."""

SEARCH_SIDE: Final = 480
"""Longer side at which the scale is looked for."""

SCALE_REACH: Final = 5.0
SCALE_SPAN: Final = (0.7, 1.4)
MIN_CIRCLES: Final = 2
WHITE_STAIN: Final = 0.35
SURE_COVER: Final = 0.02
NUCLEUS_TO_RED: Final = 1.4
_RED_TO_NUCLEUS: Final = (0.5, 0.7, 1.0, 1.4, 2.0)
_RED_CELLS_ACROSS: Final = (4, 5.6, 8, 11, 16, 22)
"""Circles are looked for within so many diameters of the strongest stain; between the least and the greatest
of those that a guess allows; at least so many; guesses are the nucleus' diameter over this, and it by these,
or without a nucleus the field's side over those. The guess whose circles cover most is right."""

SCALE_TILE_PX: Final = 1600
"""A longer field is cut into tiles of this side to find its scale, of which the most stained ones count."""

TILE_RED_CELLS: Final = 64
OVERLAP_RED_CELLS: Final = 4
"""Side of the tiles in which a field is searched, and how far each looks over its edge; it bounds memory."""

LIGHT_RED_CELLS: Final = 6
LIGHT_PERCENTILE: Final = 85.0
_SAMPLES: Final = 20
"""Light is the brightest seventh of each square of so many red cells, and smooth in between."""

PEAK_OF_RED: Final = 1.0
PEAK_OF_USUAL: Final = 3.0
MIN_STAIN: Final = 0.95
PEAK_OF_BEST: Final = 0.2
MIN_PEAK: Final = 0.04
"""Least stain of a nucleus in densities (green) of the field's red cells: at its middle, in the usual local
maximum of the field's stain, its median in red cells, in that of the strongest nucleus, and in itself: some
ten levels of a bright sensor.

Of 128 boxed cells of Chula and BCCD the least have 1.3 of the first and 4.3 of the second."""

EDGE_OF_PEAK: Final = 0.6
"""Where a nucleus ends, from no stain to that of its middle."""

MAX_NUCLEI: Final = 2.1
"""Diameter of the circle around the nuclei of one cell, at most, in red cells."""

WHOLE_NUCLEUS: Final = 0.6
"""In areas of a red cell: two nuclei of this size that are round are those of two cells."""

LOBE_GAP: Final = 0.6
"""Gap between lobes of one cell, at most, in red cells."""

MIN_NUCLEI: Final = 0.4
"""Area of all nuclei of a cell, at least, in areas of a red cell; platelets are smaller."""

MIN_CUT_NUCLEI: Final = 0.3
"""The same of one that the frame cuts."""

NECK: Final = 0.75
SPLIT_RADIUS: Final = 0.38
"""Two parts of a nucleus are two where the neck between them is narrower than this share of the smaller one,
and both are this wide (radius, in red cells)."""

MAX_SINGLE: Final = 2.6
"""What is longer, in red cells, is said to be a clump."""

NUCLEI_TO_CELL: Final = 0.78
PART: Final = 3.0
"""Side of the part of the frame around a cell, in cell sizes as the nuclei tell them."""


@dataclass(frozen=True, slots=True)
class NucleiOfCell:
    """The nuclei of one cell. ``rows`` and ``columns`` are the part of the frame around it, ``mask`` the
    nuclei in that part, uint8 of 0 and 255 at any resolution. ``stain`` is that of the nuclei in densities of
    red cells. ``is_cut`` says that the frame's edge cuts the nuclei, ``is_clump`` that more than one cell may
    be meant.
    """

    rows: slice
    columns: slice
    mask: UInt8Array
    stain: float
    is_cut: bool
    is_clump: bool


@dataclass(frozen=True, slots=True)
class SearchedField:
    """``red_cell_px`` is the diameter of the field's red cells, None where neither red nor white cells tell;
    ``cells`` are ordered from top to bottom."""

    red_cell_px: float | None
    cells: tuple[NucleiOfCell, ...]


class Mapped(Protocol):
    """Applies a function to all parts of something, and gives what it found in their order."""

    def __call__(self, function: Callable[[Part], Found], parts: Iterable[Part], /) -> Iterator[Found]: ...


def one_by_one(function: Callable[[Part], Found], parts: Iterable[Part], /) -> Iterator[Found]:
    """As :func:`map`."""
    return map(function, parts)


def search_field(
    rgb: UInt8Array, red_cell_px: float | None = None, mapped: Mapped = one_by_one
) -> SearchedField:
    """All that may be a white cell in a field, uint8 ``[H, W, 3]`` of any size.

    ``red_cell_px`` is the diameter of its red cells, where that is known. ``mapped`` may work on several
    parts of the field side by side, as a pool of threads does: each takes some 60 MB.
    """
    red_cell_px = red_cell_px or field_scale(rgb, mapped)
    if red_cell_px is None or red_cell_px < MIN_RED_CELL_PX:
        return SearchedField(red_cell_px, ())
    found: list[_Group] = []
    best = 0.0
    search = partial(_search_tile, rgb, red_cell_px=red_cell_px)
    for groups in mapped(search, _tiles(rgb.shape, red_cell_px)):
        best = max([best, *(group.stain for group in groups)])
        found += groups
    least = PEAK_OF_BEST * best
    cells = [_as_cell(group, rgb.shape) for group in found if group.stain >= least]
    return SearchedField(red_cell_px, tuple(sorted(cells, key=lambda c: (c.rows.start, c.columns.start))))


def nuclei_in(rgb: UInt8Array, box: Box) -> NucleiOfCell:
    """What is stained most within a box that a person drew around one cell of a field, uint8 ``[H, W, 3]``;
    the middle of the box where nothing stands out."""
    size = max(box.bottom - box.top, box.right - box.left)
    reach, row, column = PART / 2 * size, (box.top + box.bottom) / 2, (box.left + box.right) / 2
    rows = slice(max(0, math.floor(row - reach)), min(rgb.shape[0], math.ceil(row + reach)))
    columns = slice(max(0, math.floor(column - reach)), min(rgb.shape[1], math.ceil(column + reach)))
    scale = NUCLEI_TO_CELL * MAX_NUCLEI * WORKING_RED_CELL_PX / size
    small = _resized(rgb[rows, columns], scale)
    stain, red = _nuclear_stain(_densities(small, LIGHT_RED_CELLS * WORKING_RED_CELL_PX))
    inside = np.zeros(small.shape[:2], np.uint8)
    middle = (round((column - columns.start) * scale), round((row - rows.start) * scale))
    axes = [max(1, round(side * scale / 2)) for side in (box.right - box.left, box.bottom - box.top)]
    cv2.ellipse(inside, middle, axes, 0, 0, 360, (1,), cv2.FILLED)
    levels = np.clip(stain * (255 / max(float(stain.max()), MIN_PEAK)), 0, 255).astype(np.uint8)
    least, _ = cv2.threshold(levels[inside > 0], 0, 255, cv2.THRESH_OTSU)
    mask = cv2.morphologyEx((levels > least).view(np.uint8) & inside, cv2.MORPH_OPEN, _SMALL)
    if not mask.any():
        axes = [max(1, round(NUCLEI_TO_CELL * axis)) for axis in axes]
        cv2.ellipse(mask, middle, axes, 0, 0, 360, (1,), cv2.FILLED)
    strength = float(np.median(stain[mask > 0])) / max(red, MIN_PEAK)
    nuclei = np.asarray(mask * 255, np.uint8)
    return NucleiOfCell(rows, columns, nuclei, strength, is_cut=False, is_clump=False)


def field_scale(rgb: UInt8Array, mapped: Mapped = one_by_one) -> float | None:
    """Median diameter in pixels of the field's red cells; by the largest nucleus where they are not round or
    not there; None where there is neither. ``mapped`` as of :func:`search_field`."""
    scales = [scale for tile in _scale_tiles(rgb, mapped) if (scale := _scale_of(tile)) is not None]
    return float(np.median(scales)) if scales else None


# Scale


def _scale_tiles(rgb: UInt8Array, mapped: Mapped) -> list[UInt8Array]:
    height, width = rgb.shape[:2]
    if max(height, width) <= SCALE_TILE_PX:
        return [rgb]
    rows, columns = (max(1, round(side / SCALE_TILE_PX)) for side in (height, width))
    tiles = [
        rgb[r * height // rows : (r + 1) * height // rows, c * width // columns : (c + 1) * width // columns]
        for r in range(rows)
        for c in range(columns)
    ]

    def stain(tile: UInt8Array) -> float:
        thumb = np.asarray(cv2.resize(tile, (96, 96), interpolation=cv2.INTER_AREA), np.uint8)
        return float(np.percentile(_densities(thumb, 32)[:, :, 1], 99))

    stains = list(mapped(stain, tiles))
    strongest = sorted(range(len(tiles)), key=lambda index: stains[index], reverse=True)
    return [tiles[index] for index in strongest[:3]]


def _scale_of(rgb: UInt8Array) -> float | None:
    shrink = min(1.0, SEARCH_SIDE / max(rgb.shape[:2]))
    small = _resized(rgb, shrink)
    luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    low, high = percentiles(luma, 1, 99)[0]
    luma = np.clip((luma - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
    side, middle = max(luma.shape), (luma.shape[0] / 2, luma.shape[1] / 2)
    stain, _ = _nuclear_stain(_densities(small, side / 6))
    blob = _strongest_blob(stain)
    is_white, anywhere = stain > np.inf, [(middle, side / share) for share in _RED_CELLS_ACROSS]
    near: list[tuple[tuple[float, float], float]] = []
    if blob is not None:
        row, column, nucleus = blob
        is_white = stain > WHITE_STAIN * float(stain[round(row), round(column)])
        near = [((row, column), factor * nucleus) for factor in _RED_TO_NUCLEUS]
    best, diameter, place = 0.0, None, middle
    for guesses in (near, anywhere):
        for around, guess in guesses:
            found, pixels = _red_diameters(luma, is_white, around, guess)
            if len(found) < MIN_CIRCLES:
                continue
            median = float(np.median(found))
            covered = sum(one**2 for one in found) / pixels * math.sqrt(median / side)
            if covered > best:
                best, diameter, place = covered, median, around
        if best > SURE_COVER:
            break
    if diameter is not None:
        found, _ = _red_diameters(luma, is_white, place, diameter)
        return float((np.median(found) if len(found) >= MIN_CIRCLES else diameter) / shrink)
    return None if blob is None else float(blob[2]) / NUCLEUS_TO_RED / shrink


def _red_diameters(
    luma: UInt8Array, is_white: NDArray[np.bool_], place: tuple[float, float], guess: float
) -> tuple[list[float], int]:
    """Diameters of what is round around a place and not stained as a nucleus; and the pixels looked at."""
    near = _around(luma, *place, SCALE_REACH * guess)
    white = _around(is_white, *place, SCALE_REACH * guess).view(np.uint8)
    share = cv2.blur(white.astype(np.float32), (max(1, round(0.5 * guess)),) * 2)
    height, width = near.shape
    return [
        diameter
        for x, y, diameter in round_things(near, guess, SCALE_SPAN)
        if share[min(round(y), height - 1), min(round(x), width - 1)] < 0.3
    ], near.size


def _around(image: NDArray[T], row: float, column: float, reach: float) -> NDArray[T]:
    top, left = (max(0, math.floor(middle - reach)) for middle in (row, column))
    return image[top : math.ceil(row + reach), left : math.ceil(column + reach)]


def _strongest_blob(stain: Float32Array) -> tuple[float, float, float] | None:
    """Row, column and diameter of what is most like a disc of stain, at whatever size."""
    best, place = 0.0, None
    for share in _BLOBS_ACROSS:
        diameter = max(stain.shape) / share
        sigma = diameter / 2.83
        step = max(1, int(sigma / 3))
        small = cv2.resize(stain, None, fx=1 / step, fy=1 / step, interpolation=cv2.INTER_AREA)
        inner, outer = (
            cv2.GaussianBlur(small, (0, 0), factor * sigma / step, borderType=cv2.BORDER_REPLICATE)
            for factor in (0.8, 1.25)
        )
        _, highest, _, (x, y) = cv2.minMaxLoc(inner - outer)
        if highest * math.sqrt(diameter) > best and highest > MIN_PEAK / 4:
            best, place = highest * math.sqrt(diameter), (float(y * step), float(x * step), diameter)
    return place


_BLOBS_ACROSS: Final = (2.1, 3, 4.2, 6, 8.5, 12, 17, 24)


# Stain


def _resized(rgb: UInt8Array, scale: float) -> UInt8Array:
    size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(rgb, size, interpolation=interpolation), np.uint8)


def _densities(rgb: UInt8Array, square_px: float) -> Float32Array:
    """Optical density over the light of squares of about this side, float32 ``[H, W, 3]``, 0 and more."""
    height, width = rgb.shape[:2]
    rows, columns = (max(1, round(side / square_px)) for side in (height, width))
    squares = cv2.resize(rgb, (columns * _SAMPLES, rows * _SAMPLES), interpolation=cv2.INTER_AREA)
    squares = squares.reshape(rows, _SAMPLES, columns, _SAMPLES, 3).swapaxes(1, 2)
    samples = np.sort(squares.reshape(rows, columns, _SAMPLES**2, 3), axis=2)
    light = samples[:, :, int(LIGHT_PERCENTILE / 100 * _SAMPLES**2)].astype(np.float32)
    blurred = cv2.GaussianBlur(light, (3, 3), 0, borderType=cv2.BORDER_REPLICATE)
    smooth = cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR).reshape(height, width, 3)
    seen = cv2.GaussianBlur(rgb, (0, 0), 1.0).astype(np.float32)
    return np.asarray(np.maximum(cv2.log((smooth + 1) / (seen + 1)), 0), np.float32)


def _nuclear_stain(density: Float32Array) -> tuple[Float32Array, float]:
    """What green takes beyond what a red cell would that takes as much blue, float32 ``[H, W]``; and the
    density of red cells in green."""
    green, blue = density[:, :, 1], density[:, :, 2]
    sample_green, sample_blue = green[::2, ::2].ravel(), blue[::2, ::2].ravel()
    dense = sample_blue >= np.percentile(sample_blue, 70)  # nuclei take hardly any blue
    ratio = float(np.median(sample_green[dense] / np.maximum(sample_blue[dense], 0.02)))
    red = float(np.median(sample_green[dense]))
    stain = green - np.float32(np.clip(ratio, 0.6, 2.2)) * blue
    return np.maximum(stain, 0), red


# Search


@dataclass(frozen=True, slots=True)
class _Tile:
    """A part of the frame, and the ``core`` of it in which a cell's middle must lie: (top, bottom, left,
    right) in pixels of the frame."""

    part: tuple[slice, slice]
    core: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class _Group:
    """Nuclei of one cell: their mask at working size, whose first pixel lies at ``top`` and ``left`` of the
    frame and has a side of ``pixel``."""

    mask: UInt8Array
    top: float
    left: float
    pixel: tuple[float, float]
    stain: float
    is_cut: bool
    is_clump: bool


def _tiles(shape: tuple[int, ...], red_cell_px: float) -> Iterator[_Tile]:
    height, width = shape[:2]
    side, overlap = TILE_RED_CELLS * red_cell_px, math.ceil(OVERLAP_RED_CELLS * red_cell_px)
    rows, columns = (max(1, math.ceil(extent / side)) for extent in (height, width))
    for r in range(rows):
        for c in range(columns):
            top, bottom = r * height // rows, (r + 1) * height // rows
            left, right = c * width // columns, (c + 1) * width // columns
            part = (
                slice(max(0, top - overlap), min(height, bottom + overlap)),
                slice(max(0, left - overlap), min(width, right + overlap)),
            )
            yield _Tile(part, (top, bottom, left, right))


def _search_tile(rgb: UInt8Array, tile: _Tile, red_cell_px: float) -> list[_Group]:
    part = rgb[tile.part]
    small = _resized(part, WORKING_RED_CELL_PX / red_cell_px)
    pixel = (part.shape[0] / small.shape[0], part.shape[1] / small.shape[1])
    stain, red = _nuclear_stain(_densities(small, LIGHT_RED_CELLS * WORKING_RED_CELL_PX))
    least = max(PEAK_OF_RED * red, MIN_PEAK)
    pieces = [part for nucleus in _nuclei(stain, least) for part in _split(nucleus)]
    groups = []
    for members in _grouped(pieces):
        group = _as_group(members, stain, red, tile, pixel, rgb.shape)
        if group is not None and group.stain >= MIN_STAIN:
            groups.append(group)
    return groups


@dataclass(frozen=True, slots=True)
class _Nucleus:
    """A connected nucleus: where its box starts, and its mask in it, uint8 of 0 and 1."""

    top: int
    left: int
    mask: UInt8Array

    @property
    def area(self) -> float:
        """In areas of a red cell."""
        return cv2.countNonZero(self.mask) / _RED_AREA

    def contour(self) -> NDArray[np.int32]:
        """Corners of its hull in the tile, x and y."""
        contours, _ = cv2.findContours(self.mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        hull = cv2.convexHull(np.vstack(contours))
        return np.asarray(hull[:, 0] + np.array([self.left, self.top]), np.int32)

    def is_whole(self) -> bool:
        """Whether it is large and round as the only nucleus of a cell."""
        return self.area >= WHOLE_NUCLEUS and self.area * _RED_AREA > 0.88 * cv2.contourArea(self.contour())


_RED_AREA: Final = math.pi / 4 * WORKING_RED_CELL_PX**2


def _nuclei(stain: Float32Array, least: float) -> list[_Nucleus]:
    """Connected nuclei, each cut where its own stain falls to a share of its middle's."""
    smooth = np.asarray(cv2.GaussianBlur(stain, (0, 0), 0.14 * WORKING_RED_CELL_PX), np.float32)
    side = round(0.4 * WORKING_RED_CELL_PX) | 1
    highest = cv2.dilate(smooth, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
    peaks = np.argwhere((smooth >= highest) & (smooth > 0))
    heights = smooth[peaks[:, 0], peaks[:, 1]]
    if len(peaks) >= 10:
        least = max(least, PEAK_OF_USUAL * float(np.median(heights)))
    peaks, heights = peaks[heights >= least], heights[heights >= least]
    order = np.argsort(-heights, kind="stable")
    taken = np.zeros(stain.shape, np.uint8)
    blurred = cv2.GaussianBlur(stain, (0, 0), 1.0)
    reach = math.ceil(1.6 * WORKING_RED_CELL_PX)
    found = []
    for row, column in peaks[order].tolist():
        if taken[row, column]:
            continue
        rows = slice(max(0, row - reach), row + reach + 1)
        columns = slice(max(0, column - reach), column + reach + 1)
        level = max(EDGE_OF_PEAK * float(smooth[row, column]), 0.7 * least)
        above = ((blurred[rows, columns] >= level) & (taken[rows, columns] == 0)).view(np.uint8)
        above = np.asarray(cv2.morphologyEx(above, cv2.MORPH_OPEN, _SMALL), np.uint8)
        _, labels = cv2.connectedComponents(above)
        label = labels[row - rows.start, column - columns.start]
        if label == 0:
            continue
        own = (labels == label).view(np.uint8)
        # What lies within a nucleus, a hole of paler chromatin, starts no other.
        closed = cv2.dilate(cv2.morphologyEx(own, cv2.MORPH_CLOSE, _WIDE), _SMALL)
        taken[rows, columns] |= np.asarray(closed, np.uint8)
        left, top, width, height = cv2.boundingRect(own)
        found.append(
            _Nucleus(
                rows.start + top,
                columns.start + left,
                np.ascontiguousarray(own[top : top + height, left : left + width]),
            )
        )
    return found


_SMALL: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
_WIDE: Final = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9))


def _split(nucleus: _Nucleus) -> list[_Nucleus]:
    """The nucleus, or the two and more of which it is made where they touch."""
    if nucleus.area < 2 * WHOLE_NUCLEUS:
        return [nucleus]
    padded = cv2.copyMakeBorder(nucleus.mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(0,))
    padded = np.asarray(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, _WIDE), np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 5)
    _, most, _, _ = cv2.minMaxLoc(depth)
    # Raise the water: where two parts that are wide enough come apart, the neck is narrower than they are.
    for level in np.arange(0.15, NECK, 0.05) * most:
        count, labels = cv2.connectedComponents((depth > level).view(np.uint8))
        wide = [
            label
            for label in range(1, count)
            if (radius := float(depth[labels == label].max())) >= SPLIT_RADIUS * WORKING_RED_CELL_PX
            and level < NECK * radius
        ]
        if len(wide) >= 2:
            break
    else:
        return [nucleus]
    seeds = np.where(np.isin(labels, wide), labels, 0).astype(np.int32)
    distances = np.stack(
        [cv2.distanceTransform((seeds != label).view(np.uint8), cv2.DIST_L2, 5) for label in wide]
    )
    nearest = distances.argmin(axis=0)
    parts = []
    for index in range(len(wide)):
        own = ((nearest == index) & (padded > 0))[1:-1, 1:-1].view(np.uint8) & nucleus.mask
        left, top, width, height = cv2.boundingRect(own)
        cut = np.ascontiguousarray(own[top : top + height, left : left + width])
        parts.append(_Nucleus(nucleus.top + top, nucleus.left + left, cut))
    if any(part.area < WHOLE_NUCLEUS for part in parts):  # lobes of one nucleus
        return [nucleus]
    return parts


def _grouped(nuclei: list[_Nucleus]) -> list[list[_Nucleus]]:
    """Nuclei that are those of one cell; the largest first."""
    left = sorted(nuclei, key=lambda nucleus: -nucleus.area)
    hulls = {id(nucleus): nucleus.contour() for nucleus in left}
    groups = []
    while left:
        members = [left.pop(0)]
        grown = True
        while grown:
            grown = False
            for other in left:
                if _belongs(members, other, hulls):
                    members.append(other)
                    left.remove(other)
                    grown = True
                    break
        groups.append(members)
    return groups


def _belongs(members: list[_Nucleus], other: _Nucleus, hulls: dict[int, NDArray[np.int32]]) -> bool:
    if other.is_whole() and any(member.is_whole() for member in members):
        return False
    gap = min(_gap(hulls[id(member)], hulls[id(other)]) for member in members)
    if gap > LOBE_GAP * WORKING_RED_CELL_PX:
        return False
    together = np.vstack([hulls[id(nucleus)] for nucleus in (*members, other)])
    _, radius = cv2.minEnclosingCircle(together)
    return 2 * radius <= MAX_NUCLEI * WORKING_RED_CELL_PX


def _gap(one: NDArray[np.int32], other: NDArray[np.int32]) -> float:
    """Between two hulls, at least: from the corners of each to the other."""

    def from_corners(corners: NDArray[np.int32], hull: NDArray[np.int32]) -> float:
        points = corners.astype(np.float32).tolist()
        return min(-cv2.pointPolygonTest(hull, (x, y), True) for x, y in points)

    return max(0.0, min(from_corners(one, other), from_corners(other, one)))


def _as_group(
    members: list[_Nucleus],
    stain: Float32Array,
    red: float,
    tile: _Tile,
    pixel: tuple[float, float],
    frame: tuple[int, ...],
) -> _Group | None:
    """The nuclei as a cell in the frame; None where they are too small, or another tile's."""
    top, left = (min(getattr(member, side) for member in members) for side in ("top", "left"))
    bottom = max(member.top + member.mask.shape[0] for member in members)
    right = max(member.left + member.mask.shape[1] for member in members)
    mask = np.zeros((bottom - top, right - left), np.uint8)
    for member in members:
        rows = slice(member.top - top, member.top - top + member.mask.shape[0])
        columns = slice(member.left - left, member.left - left + member.mask.shape[1])
        mask[rows, columns] |= member.mask
    at_top, at_left = tile.part[0].start, tile.part[1].start
    frame_top, frame_left = at_top + top * pixel[0], at_left + left * pixel[1]
    frame_bottom, frame_right = at_top + bottom * pixel[0], at_left + right * pixel[1]
    row, column = (frame_top + frame_bottom) / 2, (frame_left + frame_right) / 2
    core_top, core_bottom, core_left, core_right = tile.core
    if not (core_top <= row < core_bottom and core_left <= column < core_right):
        return None
    near = 2 * max(pixel)
    is_cut = (
        min(frame_top, frame_left) < near or frame_bottom > frame[0] - near or frame_right > frame[1] - near
    )
    area = sum(member.area for member in members)
    if area < (MIN_CUT_NUCLEI if is_cut else MIN_NUCLEI):
        return None
    _, radius = cv2.minEnclosingCircle(np.vstack([member.contour() for member in members]))
    own = stain[top:bottom, left:right][mask > 0]
    return _Group(
        mask * np.uint8(255),
        frame_top,
        frame_left,
        pixel,
        float(np.median(own)) / max(red, MIN_PEAK),
        is_cut,
        2 * radius > MAX_SINGLE * WORKING_RED_CELL_PX,
    )


def _as_cell(group: _Group, frame: tuple[int, ...]) -> NucleiOfCell:
    """The group with the part of the frame around it."""
    height, width = group.mask.shape[0] * group.pixel[0], group.mask.shape[1] * group.pixel[1]
    row, column = group.top + height / 2, group.left + width / 2
    reach = PART / 2 * max(height, width) / NUCLEI_TO_CELL
    rows = slice(max(0, math.floor(row - reach)), min(frame[0], math.ceil(row + reach)))
    columns = slice(max(0, math.floor(column - reach)), min(frame[1], math.ceil(column + reach)))
    size = (
        max(1, round((columns.stop - columns.start) / group.pixel[1])),
        max(1, round((rows.stop - rows.start) / group.pixel[0])),
    )
    mask = np.zeros(size[::-1], np.uint8)
    top = min(max(0, round((group.top - rows.start) / group.pixel[0])), max(0, size[1] - group.mask.shape[0]))
    left = min(
        max(0, round((group.left - columns.start) / group.pixel[1])), max(0, size[0] - group.mask.shape[1])
    )
    part = group.mask[: size[1], : size[0]]
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return NucleiOfCell(rows, columns, mask, group.stain, group.is_cut, group.is_clump)
