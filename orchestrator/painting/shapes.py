"""Shapes and textures on a canvas in micrometres: wavy discs, bands, clouds and grains."""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Point = NDArray[np.float64]
"""(row, column) in micrometres."""

Cover = NDArray[np.float32]
"""How much of each pixel a thing covers, float32 ``[H, W]`` in [0, 1]."""

_FRACTION_BITS: Final = 4
_OUTLINE_POINTS: Final = 96


@dataclass(frozen=True, slots=True)
class Canvas:
    """A square of ``side_um`` micrometres at ``px_per_um`` pixels each."""

    side_um: float
    px_per_um: float

    @property
    def side_px(self) -> int:
        """Side in pixels."""
        return round(self.side_um * self.px_per_um)

    def empty(self) -> Cover:
        """Nothing covered."""
        return np.zeros((self.side_px, self.side_px), np.float32)

    def polygon(self, points: NDArray[np.float64]) -> Cover:
        """The inside of an outline, float64 ``[N, 2]`` of (row, column) in micrometres."""
        mask = np.zeros((self.side_px, self.side_px), np.uint8)
        cv2.fillPoly(mask, [self._fixed_point(points)], (255,), cv2.LINE_AA, _FRACTION_BITS)
        return mask.astype(np.float32) / np.float32(255)

    def band(self, path: NDArray[np.float64], width_um: float) -> Cover:
        """A stroke of constant width with round ends along a path, float64 ``[N, 2]``."""
        mask = np.zeros((self.side_px, self.side_px), np.uint8)
        thickness = max(1, round(width_um * self.px_per_um))
        cv2.polylines(mask, [self._fixed_point(path)], False, (255,), thickness, cv2.LINE_AA, _FRACTION_BITS)
        return mask.astype(np.float32) / np.float32(255)

    def clouds(self, grain_um: float, random: Generator) -> Cover:
        """Smooth noise with structures of about ``grain_um``, mean 0 and standard deviation 1."""
        side = max(2, int(self.side_um / grain_um) + 2)
        coarse = random.standard_normal((side, side), dtype=np.float32)
        fine = cv2.resize(coarse, (self.side_px, self.side_px), interpolation=cv2.INTER_CUBIC)
        return np.asarray(fine * np.float32(1 / max(float(fine.std()), 1e-6)), np.float32)

    def grains(
        self, where: Cover, radius_um: float, share: float, random: Generator, *, size_spread: float = 0.2
    ) -> Cover:
        """Round grains with centres inside ``where``, until about ``share`` of it is covered."""
        rows, columns = np.nonzero(where > 0.5)
        covered = np.zeros(where.shape, np.uint8)
        radius_px = radius_um * self.px_per_um
        count = int(share * len(rows) / (np.pi * radius_px**2)) if len(rows) else 0
        scale = 1 << _FRACTION_BITS
        places = random.integers(0, max(1, len(rows)), count)
        radii = radius_px * np.clip(random.normal(1, size_spread, count), 0.4, 1.8)
        shifts = random.uniform(0, scale, (count, 2))
        for place, radius, (down, right) in zip(places, radii, shifts, strict=True):
            centre = (int(columns[place] * scale + right), int(rows[place] * scale + down))
            cv2.circle(
                covered, centre, max(1, int(radius * scale)), (255,), cv2.FILLED, cv2.LINE_AA, _FRACTION_BITS
            )
        return covered.astype(np.float32) / np.float32(255)

    def _fixed_point(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        pixels = points[:, ::-1] * self.px_per_um - 0.5
        return np.rint(pixels * (1 << _FRACTION_BITS)).astype(np.int32)


def outline(
    centre: Point,
    radius_um: float,
    random: Generator,
    *,
    roughness: float = 0.03,
    elongation: float = 1.0,
    angle: float | None = None,
    petals: float = 0.0,
) -> NDArray[np.float64]:
    """A disc whose rim is a smooth random wave, drawn out ``elongation`` times along ``angle``.

    ``roughness`` is about the standard deviation of the radius, as a share; ``petals`` the height of five to
    nine even bulges. Its area stays about that of the disc.
    """
    turns = np.linspace(0, 2 * np.pi, _OUTLINE_POINTS, endpoint=False)
    radii = np.ones(_OUTLINE_POINTS)
    for order in (2, 3, 4, 5, 7):
        radii += random.normal(0, roughness * 1.6 / order) * np.cos(
            order * turns + random.uniform(0, 2 * np.pi)
        )
    if petals:
        radii += petals * np.cos(random.integers(5, 10) * turns + random.uniform(0, 2 * np.pi))
    stretch = np.sqrt(elongation)
    along, across = radii * np.cos(turns) * stretch, radii * np.sin(turns) / stretch
    angle = random.uniform(0, 2 * np.pi) if angle is None else angle
    rows = along * np.sin(angle) + across * np.cos(angle)
    columns = along * np.cos(angle) - across * np.sin(angle)
    return centre + radius_um * np.stack([rows, columns], axis=1)


def polar(centre: Point, distance_um: float, angle: float) -> Point:
    """The point at an angle and a distance from ``centre``."""
    return np.asarray(centre + distance_um * np.array([np.sin(angle), np.cos(angle)]), np.float64)


def softened(cover: Cover, sigma_um: float, canvas: Canvas) -> Cover:
    """The cover with an edge of about ``sigma_um``."""
    return np.asarray(cv2.GaussianBlur(cover, (0, 0), max(0.3, sigma_um * canvas.px_per_um)), np.float32)


def union(*covers: Cover) -> Cover:
    """What any of them covers."""
    result = covers[0]
    for cover in covers[1:]:
        result = np.maximum(result, cover)
    return result
