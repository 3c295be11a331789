"""What lies around a white cell: red cells with their pallor, platelets, specks of stain."""

from typing import Final

import numpy as np
from numpy.random import Generator

from orchestrator.painting.looks import Look
from orchestrator.painting.shapes import Canvas, Cover, Point, outline, polar, softened, union
from orchestrator.painting.white_cells import DensityMap

RED_CELL_UM: Final = 7.2
RED_CELL_SPREAD_UM: Final = 0.4
_TRIES_PER_RED_CELL: Final = 3


def red_cells(
    canvas: Canvas,
    look: Look,
    random: Generator,
    *,
    crowding: float,
    keep_clear: tuple[Point, float] | None = None,
) -> DensityMap:
    """Red cells at random places, their density as float32 ``[H, W, 3]``.

    ``crowding`` is about the share of the field that they cover; where there is much they touch and overlap.
    ``keep_clear`` is the centre and radius in micrometres of a cell that none may lie over.
    """
    thickness = canvas.empty()
    wanted = int(crowding * (canvas.side_um + RED_CELL_UM) ** 2 / (np.pi / 4 * RED_CELL_UM**2))
    size = random.normal(RED_CELL_UM, 0.3)
    pallor = random.uniform(0.15, 0.75)
    placed: list[Point] = []
    for _ in range(_TRIES_PER_RED_CELL * wanted):
        if len(placed) == wanted:
            break
        place = random.uniform(-RED_CELL_UM / 2, canvas.side_um + RED_CELL_UM / 2, 2)
        diameter = random.normal(size, RED_CELL_SPREAD_UM)
        if keep_clear and np.linalg.norm(place - keep_clear[0]) < keep_clear[1] + 0.42 * diameter:
            continue
        nearest = random.uniform(0.75, 1.02) * size
        if any(np.linalg.norm(place - other) < nearest for other in placed):
            continue
        placed.append(place)
        thickness += red_cell(canvas, place, diameter, pallor, random)
    return np.asarray(thickness[:, :, np.newaxis] * look.red_cell, np.float32)


def platelets(
    canvas: Canvas,
    look: Look,
    random: Generator,
    *,
    count: int,
    keep_clear: tuple[Point, float] | None = None,
) -> DensityMap:
    """Small granular fragments of 1.5 to 3.5 micrometres, some in clumps, at random places."""
    density = np.zeros((canvas.side_px, canvas.side_px, 3), np.float32)
    for _ in range(count):
        place = random.uniform(0, canvas.side_um, 2)
        if keep_clear and np.linalg.norm(place - keep_clear[0]) < keep_clear[1] + 2:
            continue
        radius = random.uniform(0.7, 1.7)
        body = canvas.polygon(
            outline(place, radius, random, roughness=0.12, elongation=random.uniform(1, 1.6))
        )
        granules = canvas.grains(body, 0.3, random.uniform(0.3, 0.8), random)
        density += softened(body, 0.12, canvas)[:, :, np.newaxis] * look.basophilia * np.float32(0.5)
        density += softened(granules, 0.1, canvas)[:, :, np.newaxis] * look.nucleus * np.float32(0.45)
    return density


def specks(canvas: Canvas, look: Look, random: Generator, *, count: int) -> DensityMap:
    """Precipitated stain: small, dark and without structure."""
    cover = canvas.empty()
    for _ in range(count):
        place = random.uniform(0, canvas.side_um, 2)
        cover = union(cover, canvas.polygon(outline(place, random.uniform(0.15, 0.6), random, roughness=0.1)))
    return np.asarray(softened(cover, 0.1, canvas)[:, :, np.newaxis] * look.nucleus, np.float32)


def red_cell(canvas: Canvas, place: Point, diameter_um: float, pallor: float, random: Generator) -> Cover:
    """How thick one red cell is, in that of an ordinary one's rim."""
    radius = diameter_um / 2
    body = canvas.polygon(
        outline(place, radius, random, roughness=0.03, elongation=1 + abs(random.normal(0, 0.1)))
    )
    middle = polar(place, radius * random.uniform(0, 0.12), random.uniform(0, 2 * np.pi))
    hollow = canvas.polygon(outline(middle, radius * random.uniform(0.35, 0.5), random, roughness=0.05))
    return np.asarray(
        softened(body, 0.15, canvas) * (1 - pallor * softened(hollow, 0.45, canvas)), np.float32
    )
