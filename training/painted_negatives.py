"""Pictures without a white cell: what a service that knows five classes must send to a person."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from orchestrator.domain import UInt8Array
from orchestrator.painting.looks import Look
from orchestrator.painting.shapes import Canvas, outline, polar, softened
from orchestrator.painting.smear import PX_PER_UM, photograph
from orchestrator.painting.surroundings import platelets, red_cells, specks
from orchestrator.painting.white_cells import DensityMap


def paint_negative(kind: str, look: Look, random: Generator) -> UInt8Array:
    """A picture of one of :data:`NEGATIVES`, uint8 ``[frame_px, frame_px, 3]``.

    Raises ``KeyError`` where there is no such kind.
    """
    return photograph(NEGATIVES[kind](Canvas(look.frame_um, PX_PER_UM), look, random), look, random)


def _red_cells(canvas: Canvas, look: Look, random: Generator) -> DensityMap:
    density = red_cells(canvas, look, random, crowding=random.uniform(0.15, 0.7))
    return density + platelets(canvas, look, random, count=int(random.poisson(0.7)))


def _platelets(canvas: Canvas, look: Look, random: Generator) -> DensityMap:
    """A clump of them where a cell would be, among red cells."""
    centre = np.full(2, canvas.side_um / 2)
    density = red_cells(canvas, look, random, crowding=random.uniform(0, 0.35), keep_clear=(centre, 4.0))
    for _ in range(int(random.integers(1, 9))):
        place = polar(centre, random.uniform(0, 3.0), random.uniform(0, 2 * np.pi))
        radius = random.uniform(0.8, 1.9)
        body = canvas.polygon(outline(place, radius, random, roughness=0.12))
        granules = softened(canvas.grains(body, 0.3, random.uniform(0.3, 0.8), random), 0.1, canvas)
        density += softened(body, 0.12, canvas)[:, :, np.newaxis] * look.basophilia * np.float32(0.5)
        density += granules[:, :, np.newaxis] * look.nucleus * np.float32(0.45)
    return density


def _empty_field(canvas: Canvas, look: Look, random: Generator) -> DensityMap:
    return specks(canvas, look, random, count=int(random.integers(0, 2)))


def _precipitate(canvas: Canvas, look: Look, random: Generator) -> DensityMap:
    density = red_cells(canvas, look, random, crowding=random.uniform(0, 0.4))
    return density + specks(canvas, look, random, count=int(random.integers(15, 80)))


def _smudge(canvas: Canvas, look: Look, random: Generator) -> DensityMap:
    """A burst nucleus: a pale purple smear without an outline."""
    density = red_cells(canvas, look, random, crowding=random.uniform(0, 0.4))
    centre = canvas.side_um / 2 + random.normal(0, 1, 2)
    body = canvas.polygon(
        outline(centre, random.uniform(5, 9), random, roughness=0.2, elongation=random.uniform(1.2, 2.5))
    )
    strands = np.clip(softened(body, 1.2, canvas) * (0.5 + 0.35 * canvas.clouds(1.5, random)), 0, 1)
    density += strands[:, :, np.newaxis] * look.nucleus * np.float32(random.uniform(0.25, 0.5))
    return np.asarray(density, np.float32)


def _scene(canvas: Canvas, look: Look, random: Generator) -> DensityMap:  # noqa: ARG001 (one shape for all)
    """Nothing of a smear: overlapping flat and shaded things of any colour, as on a desk or in a street."""
    side = canvas.side_px
    density = np.empty((side, side, 3), np.float32)
    top, bottom = random.uniform(0, 1.5, (2, 3))
    density[:] = np.linspace(top, bottom, side, dtype=np.float32)[:, np.newaxis]
    for _ in range(int(random.integers(4, 18))):
        colour = random.uniform(0, 2.5, 3).astype(np.float32)
        corners = random.uniform(0, canvas.side_um, (int(random.integers(3, 7)), 2))
        cover = canvas.polygon(corners[cv2.convexHull(corners.astype(np.float32), returnPoints=False)[:, 0]])
        texture = 1 + random.uniform(0, 0.4) * canvas.clouds(random.uniform(0.3, 4), random)
        density += cover[:, :, np.newaxis] * (colour * texture[:, :, np.newaxis] - density)
    return np.clip(density, 0, 4)


NEGATIVES: Final[Mapping[str, Callable[[Canvas, Look, Generator], DensityMap]]] = MappingProxyType(
    {
        "red cells": _red_cells,
        "platelets": _platelets,
        "empty field": _empty_field,
        "stain precipitate": _precipitate,
        "smudge": _smudge,
        "scene": _scene,
    }
)
"""What can be painted without a white cell."""
