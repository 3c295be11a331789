"""Procedurally painted white cells on a smear: images that no patient has given.

Enough of each class's morphology (Giemsa colours, nucleus, granules) for the pipeline to work on; not a
substitute for real images where accuracy is measured.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

UInt8Array = NDArray[np.uint8]
Mask = NDArray[np.bool_]

FIELD: Final = (238, 222, 214)
RED_CELL: Final = (222, 168, 164)
NUCLEUS: Final = (96, 52, 138)
CYTOPLASM: Final = {
    "Basophil": (196, 172, 212),
    "Eosinophil": (232, 178, 160),
    "Lymphocyte": (164, 182, 226),
    "Monocyte": (176, 182, 206),
    "Neutrophil": (232, 204, 212),
}
CELL_RADIUS: Final = {  # shares of the image's side; a red cell has 0.095
    "Basophil": 0.155,
    "Eosinophil": 0.17,
    "Lymphocyte": 0.125,
    "Monocyte": 0.2,
    "Neutrophil": 0.17,
}


@dataclass(frozen=True, slots=True)
class SyntheticCell:
    """``rgb`` is uint8 ``[H, W, 3]``; ``nucleus`` and ``cell`` are bool ``[H, W]``; the nucleus is part of
    the cell."""

    rgb: UInt8Array
    nucleus: Mask
    cell: Mask


def synthetic_cell(class_name: str, seed: int = 0, size: int = 360) -> UInt8Array:
    """A smear with one white cell near its centre, uint8 ``[size, size, 3]``; the same for the same seed."""
    return synthetic_cell_with_masks(class_name, seed, size).rgb


def synthetic_cell_with_masks(class_name: str, seed: int = 0, size: int = 360) -> SyntheticCell:
    """The same with the true masks of nucleus and whole cell."""
    random = np.random.default_rng((seed, sorted(CYTOPLASM).index(class_name)))
    centre = np.array([size / 2, size / 2]) + random.normal(0, 0.02 * size, 2)
    radius = CELL_RADIUS[class_name] * size * random.uniform(0.94, 1.06)
    cell = _blob(size, centre, radius, random, roughness=0.03)
    nucleus = _nucleus(class_name, size, centre, radius, random) & cell

    canvas = np.full((size, size, 3), FIELD, np.float32)
    _paint_red_cells(canvas, centre, radius, random)
    canvas[cell] = CYTOPLASM[class_name]
    canvas[nucleus] = np.array(NUCLEUS) + random.normal(0, 4)
    chromatin = cv2.GaussianBlur(random.normal(0, 1, (size, size)).astype(np.float32), (0, 0), size / 110)
    canvas += (nucleus * chromatin * 90)[..., np.newaxis]
    _paint_granules(canvas, class_name, cell, nucleus, random)

    rim = cv2.morphologyEx(cell.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    canvas[rim] *= 0.9
    canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), size / 330), np.float32)
    canvas += random.normal(0, 2.5, canvas.shape)
    light = np.linspace(-4, 4, size, dtype=np.float32)
    canvas += light[np.newaxis, :, np.newaxis]
    return SyntheticCell(np.clip(canvas, 0, 255).astype(np.uint8), nucleus, cell)


def _blob(size: int, centre: NDArray[np.float64], radius: float, random: Generator, roughness: float) -> Mask:
    """A disc whose rim is a smooth random wave; ``centre`` is (row, column)."""
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    waves = sum(
        random.normal(0, roughness / order) * np.cos(order * angles + random.uniform(0, 6.3))
        for order in (2, 3, 5)
    )
    radii = radius * (1 + waves)
    points = np.stack([centre[1] + radii * np.cos(angles), centre[0] + radii * np.sin(angles)], axis=1)
    mask = np.zeros((size, size), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 1)
    return mask > 0


def _nucleus(
    class_name: str, size: int, centre: NDArray[np.float64], radius: float, random: Generator
) -> Mask:
    turn = random.uniform(0, 2 * np.pi)

    def lobe(angle: float, distance: float, share: float) -> Mask:
        offset = distance * radius * np.array([np.sin(turn + angle), np.cos(turn + angle)])
        return _blob(size, centre + offset, share * radius, random, roughness=0.05)

    if class_name == "Lymphocyte":
        return lobe(0, 0.08, 0.84)
    if class_name == "Basophil":
        return lobe(0.4, 0.25, 0.5) | lobe(-2.4, 0.25, 0.52)
    if class_name == "Monocyte":  # a kidney: a large disc with a bay
        return lobe(0, 0.05, 0.7) & ~lobe(0, 0.72, 0.38)
    if class_name == "Eosinophil":
        return lobe(0, 0.4, 0.42) | lobe(np.pi, 0.4, 0.42) | lobe(0, 0.0, 0.15)
    lobes = int(random.integers(3, 5))
    angles = np.linspace(0, 1.2 * np.pi, lobes)
    mask = np.zeros((size, size), np.uint8)
    for angle in angles:
        mask |= lobe(angle, 0.4, 0.33).astype(np.uint8)
    path = [
        centre + 0.4 * radius * np.array([np.sin(turn + a), np.cos(turn + a)])
        for a in np.linspace(0, angles[-1], 30)
    ]
    points = np.array([(column, row) for row, column in path])
    cv2.polylines(mask, [np.rint(points).astype(np.int32)], False, 1, max(2, round(0.2 * radius)))
    return mask > 0


def _paint_red_cells(
    canvas: NDArray[np.float32], centre: NDArray[np.float64], radius: float, random: Generator
) -> None:
    size = len(canvas)
    own = 0.095 * size
    placed: list[NDArray[np.float64]] = []
    for _ in range(60):
        spot = random.uniform(0, size, 2)
        clear_of_cell = np.linalg.norm(spot - centre) > radius + 1.15 * own
        if clear_of_cell and all(np.linalg.norm(spot - other) > 2.05 * own for other in placed):
            placed.append(spot)
            red = _blob(size, spot, own * random.uniform(0.9, 1.05), random, roughness=0.03)
            canvas[red] = np.array(RED_CELL) + random.normal(0, 3)
            pallor = _blob(size, spot, 0.4 * own, random, roughness=0.03)
            canvas[pallor] = 0.5 * np.array(RED_CELL) + 0.5 * np.array(FIELD)


def _paint_granules(
    canvas: NDArray[np.float32], class_name: str, cell: Mask, nucleus: Mask, random: Generator
) -> None:
    """Basophil: coarse and dark, over the nucleus too; eosinophil: orange-red; neutrophil: fine and pale."""
    size = len(canvas)
    looks = {
        "Basophil": (cell, (58, 30, 92), 0.011, 0.35),
        "Eosinophil": (cell & ~nucleus, (214, 92, 62), 0.0095, 0.55),
        "Neutrophil": (cell & ~nucleus, (206, 150, 178), 0.005, 0.3),
    }
    if class_name not in looks:
        return
    where, colour, granule_radius, density = looks[class_name]
    pixel_radius = max(1, round(granule_radius * size))
    rows, columns = np.nonzero(cv2.erode(where.astype(np.uint8), np.ones((3, 3), np.uint8)))
    count = int(density * len(rows) / (np.pi * pixel_radius**2) * 1.4)
    for index in random.integers(0, len(rows), count):
        shade = tuple(float(c) for c in np.array(colour) + random.normal(0, 8, 3))
        cv2.circle(canvas, (int(columns[index]), int(rows[index])), pixel_radius, shade, -1)
