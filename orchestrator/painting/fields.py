"""A whole field of a smear: many red cells, and none to many white ones, alone, touching or cut."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.painting.looks import Look
from orchestrator.painting.shapes import Canvas, Point
from orchestrator.painting.smear import PX_PER_UM, photograph
from orchestrator.painting.surroundings import RED_CELL_SPREAD_UM, RED_CELL_UM, platelets, red_cell, specks
from orchestrator.painting.white_cells import PAINTERS

CELL_CANVAS_UM: Final = 27.0
RED_CANVAS_UM: Final = 11.0
"""Sides of what one cell is painted on before it is laid into the field."""

FIELD_UM: Final = 80.0
_TRIES: Final = 60

Corners = tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class WhiteCellOfField:
    """A white cell of a painted field: its class, its box (x0, y0, x1, y1) and outline, corners (row,
    column), in pixels of the field, and whether the frame cuts it."""

    class_name: str
    box: tuple[int, int, int, int]
    outline: Corners
    is_cut: bool


@dataclass(frozen=True, slots=True)
class PaintedField:
    """``rgb`` is uint8 ``[S, S, 3]``; ``red_cell_px`` the diameter of an ordinary red cell in its pixels."""

    rgb: UInt8Array
    cells: tuple[WhiteCellOfField, ...]
    red_cell_px: float


def paint_field(
    look: Look,
    random: Generator,
    class_names: Sequence[str] = (),
    *,
    side_um: float = FIELD_UM,
    crowding: float | None = None,
    touching: bool = False,
    cut: bool = False,
) -> PaintedField:
    """A square field of ``side_um`` micrometres with a white cell of each of ``class_names``.

    ``crowding`` is about the share that red cells cover, any where None. ``touching`` lays each second white
    cell against the one before it; ``cut`` lays the last one over the frame's edge. Otherwise white cells lie
    apart and whole; those for which there is no room are left out.

    Raises ``KeyError`` where there is no such class.
    """
    look = replace(look, frame_px=round(look.frame_px / look.frame_um * side_um), frame_um=side_um)
    canvas = Canvas(side_um, PX_PER_UM)
    density = _red_cells(canvas, look, random, random.uniform(0.1, 0.5) if crowding is None else crowding)
    density += platelets(canvas, look, random, count=int(random.poisson(4)))
    density += specks(canvas, look, random, count=int(random.poisson(1)))
    scale = look.frame_px / canvas.side_px
    placed: list[tuple[Point, float]] = []
    cells = []
    for number, class_name in enumerate(class_names):
        small = Canvas(CELL_CANVAS_UM, PX_PER_UM)
        white = PAINTERS[class_name](small, np.full(2, CELL_CANVAS_UM / 2), look, random)
        cover = np.maximum(white.cell, white.nucleus)
        radius = float(np.sqrt((cover > 0.5).sum() / np.pi)) / PX_PER_UM
        is_last = number == len(class_names) - 1
        against = placed[-1] if touching and number % 2 and placed else None
        place = _place(side_um, radius, placed, random, against=against, over_edge=cut and is_last)
        if place is None:
            continue
        placed.append((place, radius))
        whole = _laid(np.zeros(density.shape[:2], np.float32), cover, place)
        clear = (1 - 0.85 * _laid(np.zeros_like(whole), white.cell, place))[:, :, np.newaxis]
        density = density * clear + _laid(np.zeros_like(density), white.density, place)
        mask = cv2.resize(whole, (look.frame_px, look.frame_px), interpolation=cv2.INTER_AREA) > 0.5
        left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
        contours, _ = cv2.findContours(mask.view(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        largest = max(contours, key=cv2.contourArea)[:, 0]
        is_cut = bool((np.minimum(place, side_um - place) < radius).any())
        cells.append(
            WhiteCellOfField(
                class_name,
                (left, top, left + width, top + height),
                tuple((float(y) + 0.5, float(x) + 0.5) for x, y in largest),
                is_cut,
            )
        )
    rgb = photograph(np.asarray(density, np.float32), look, random)
    return PaintedField(rgb, tuple(cells), RED_CELL_UM * PX_PER_UM * scale)


def _place(
    side_um: float,
    radius: float,
    placed: Sequence[tuple[Point, float]],
    random: Generator,
    *,
    against: tuple[Point, float] | None,
    over_edge: bool,
) -> Point | None:
    """A middle for a cell; None where there is no room."""
    for _ in range(_TRIES):
        if against is not None:
            angle = random.uniform(0, 2 * np.pi)
            step = 0.98 * (radius + against[1])
            place = against[0] + step * np.array([np.sin(angle), np.cos(angle)])
        elif over_edge:
            place = random.uniform(0.2 * side_um, 0.8 * side_um, 2)
            place[random.integers(2)] = random.choice([0.4 * radius, side_um - 0.4 * radius])
        else:
            place = random.uniform(radius + 1, side_um - radius - 1, 2)
        inside = over_edge or bool((np.minimum(place, side_um - place) > radius + 0.5).all())
        others = [one for one in placed if one is not against]
        apart = all(np.linalg.norm(place - other) > radius + reach + 2 for other, reach in others)
        if inside and apart:
            return np.asarray(place, np.float64)
    return None


def _red_cells(canvas: Canvas, look: Look, random: Generator, crowding: float) -> Float32Array:
    thickness = canvas.empty()
    wanted = int(crowding * (canvas.side_um + RED_CELL_UM) ** 2 / (np.pi / 4 * RED_CELL_UM**2))
    pallor, size = random.uniform(0.15, 0.75), random.normal(RED_CELL_UM, 0.3)
    small = Canvas(RED_CANVAS_UM, canvas.px_per_um)
    placed = np.empty((0, 2))
    for _ in range(3 * wanted):
        if len(placed) == wanted:
            break
        place = random.uniform(-RED_CELL_UM / 2, canvas.side_um + RED_CELL_UM / 2, 2)
        if (np.linalg.norm(placed - place, axis=1) < random.uniform(0.75, 1.02) * size).any():
            continue
        placed = np.vstack([placed, place])
        diameter = random.normal(size, RED_CELL_SPREAD_UM)
        one = red_cell(small, np.full(2, RED_CANVAS_UM / 2), diameter, pallor, random)
        _laid(thickness, one, place)
    return np.asarray(thickness[:, :, np.newaxis] * look.red_cell, np.float32)


def _laid(field: Float32Array, small: Float32Array, place: Point) -> Float32Array:
    """``field`` with ``small`` added around a place in micrometres, as far as it lies in the field."""
    top, left = (
        round(float(middle) * PX_PER_UM - side / 2)
        for middle, side in zip(place, small.shape[:2], strict=True)
    )
    rows = slice(max(0, top), max(0, min(field.shape[0], top + small.shape[0])))
    columns = slice(max(0, left), max(0, min(field.shape[1], left + small.shape[1])))
    field[rows, columns] += small[
        rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
    ]
    return field
