"""The five classes by their textbook morphology, as optical density over a canvas.

Each painter below is one class: size, nucleus, cytoplasm, granules, in that order. Sizes are diameters on a
dried smear in micrometres (Bain 2015, chapter 3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from orchestrator.painting import nuclei
from orchestrator.painting.looks import Look
from orchestrator.painting.nuclei import Nucleus
from orchestrator.painting.shapes import Canvas, Cover, Point, outline, polar, softened, union

DensityMap = NDArray[np.float32]
"""Optical density of red, green and blue, float32 ``[H, W, 3]``."""

EDGE_UM: Final = 0.12
"""How soft the edges of a cell are before any optics."""

BIG_CELL_UM: Final = 13.5
HIGH_RATIO: Final = 0.6
"""From which diameter a cell is called big, and from which share of its area the nucleus is called large."""


@dataclass(frozen=True, slots=True)
class WhiteCell:
    """A painted cell: its density, where cell and nucleus lie, and its attributes by WBCAtt's names."""

    density: DensityMap
    cell: Cover
    nucleus: Cover
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Cytoplasm:
    """What a class's painter decides beside the nucleus; densities are shares of the look's pigments."""

    basophilia: float
    neutral: float
    vacuoles: int = 0
    frosted: float = 0.06


def lymphocyte(canvas: Canvas, centre: Point, look: Look, random: Generator) -> WhiteCell:
    """Small and nearly all nucleus, or large with a wide pale blue rim; clumped chromatin, few granules."""
    is_large = random.random() < 0.3
    diameter = random.uniform(11.5, 15.5) if is_large else random.uniform(8.0, 11.5)
    share = random.uniform(0.62, 0.8) if is_large else random.uniform(0.8, 0.95)
    cell = _cell(canvas, centre, diameter, random, roughness=0.06 if is_large else 0.02)
    nucleus = nuclei.round_nucleus(
        canvas,
        polar(centre, diameter / 2 * (1 - share) * random.uniform(0, 0.7), random.uniform(0, 6.3)),
        diameter / 2 * share,
        random,
    )
    density = _body(
        canvas,
        cell,
        nucleus,
        look,
        random,
        _Cytoplasm(basophilia=random.uniform(0.1, 0.95), neutral=0.1),
        grain_um=random.uniform(0.7, 1.2),
        contrast=0.16,
        depth=random.uniform(0.95, 1.15),
    )
    if is_large and random.random() < 0.4:
        granules = canvas.grains(_rim(cell, nucleus), 0.25, 0.03, random)
        density += _pigment(granules, look.nucleus, 0.5)
    return _described(
        density,
        cell,
        nucleus,
        diameter,
        cell_shape="irregular" if is_large else "round",
        chromatin_density="densely",
        cytoplasm_colour="blue",
        cytoplasm_texture="frosted",
    )


def monocyte(canvas: Canvas, centre: Point, look: Look, random: Generator) -> WhiteCell:
    """The largest: folded nucleus of loose chromatin, grey-blue cytoplasm like ground glass, vacuoles."""
    diameter = random.uniform(13.0, 20.0)
    is_ragged = random.random() < 0.5
    cell = _cell(
        canvas,
        centre,
        diameter,
        random,
        roughness=0.1 if is_ragged else 0.04,
        elongation=1 + abs(random.normal(0, 0.2)),
    )
    nucleus = nuclei.folded_nucleus(
        canvas,
        polar(centre, diameter * random.uniform(0, 0.09), random.uniform(0, 6.3)),
        diameter / 2 * random.uniform(0.6, 0.82),
        random,
    )
    vacuoles = int(random.integers(1, 14)) if random.random() < 0.5 else 0
    density = _body(
        canvas,
        cell,
        nucleus,
        look,
        random,
        _Cytoplasm(
            basophilia=random.uniform(0.08, 0.8),
            neutral=random.uniform(0.1, 0.6),
            vacuoles=vacuoles,
            frosted=random.uniform(0.1, 0.22),
        ),
        grain_um=random.uniform(0.8, 1.8),
        contrast=0.22,
        depth=random.uniform(0.62, 1.1),
    )
    return _described(
        density,
        cell,
        nucleus,
        diameter,
        cell_shape="irregular" if is_ragged else "round",
        chromatin_density="loosely",
        cytoplasm_vacuole="yes" if vacuoles else "no",
        cytoplasm_colour="purple blue" if random.random() < 0.4 else "blue",
        cytoplasm_texture="frosted",
    )


def neutrophil(canvas: Canvas, centre: Point, look: Look, random: Generator) -> WhiteCell:
    """Three or four dense lobes on threads, or a band; pale cytoplasm with a dust of fine granules."""
    diameter = random.uniform(11.0, 15.0)
    cell = _cell(canvas, centre, diameter, random, roughness=0.03)
    radius = diameter / 2 * random.uniform(0.72, 0.86)
    place = polar(centre, diameter * random.uniform(0, 0.06), random.uniform(0, 6.3))
    if random.random() < 0.35:
        nucleus = nuclei.band_nucleus(canvas, place, radius, random)
    else:
        lobes = int(random.choice([2, 3, 4, 5], p=[0.17, 0.45, 0.3, 0.08]))
        nucleus = nuclei.segmented_nucleus(canvas, place, radius, lobes, random)
    density = _body(
        canvas,
        cell,
        nucleus,
        look,
        random,
        _Cytoplasm(basophilia=random.uniform(0.0, 0.2), neutral=random.uniform(0.35, 1.0)),
        grain_um=random.uniform(0.7, 1.1),
        contrast=0.18,
        depth=random.uniform(0.95, 1.2),
    )
    granules = canvas.grains(_rim(cell, nucleus), 0.16, random.uniform(0.15, 0.5), random)
    density += _pigment(softened(granules, 0.08, canvas), look.neutral, random.uniform(0.4, 1.3))
    return _described(
        density,
        cell,
        nucleus,
        diameter,
        granule_type="small",
        granule_colour="pink",
        granularity="yes",
        chromatin_density="densely",
    )


def eosinophil(canvas: Canvas, centre: Point, look: Look, random: Generator) -> WhiteCell:
    """Two lobes, mostly, and a cytoplasm packed with large round orange granules."""
    diameter = random.uniform(12.0, 16.5)
    cell = _cell(canvas, centre, diameter, random, roughness=0.035)
    radius = diameter / 2 * random.uniform(0.68, 0.82)
    place = polar(centre, diameter * random.uniform(0.02, 0.12), random.uniform(0, 6.3))
    if random.random() < 0.1:
        nucleus = nuclei.band_nucleus(canvas, place, radius, random)
    else:
        nucleus = nuclei.segmented_nucleus(canvas, place, radius, 2 if random.random() < 0.75 else 3, random)
    density = _body(
        canvas,
        cell,
        nucleus,
        look,
        random,
        _Cytoplasm(basophilia=random.uniform(0.0, 0.45), neutral=random.uniform(0.3, 0.7)),
        grain_um=random.uniform(0.7, 1.2),
        contrast=0.15,
        depth=random.uniform(0.85, 1.1),
    )
    where = _rim(cell, nucleus) if random.random() < 0.6 else cell * (1 - 0.75 * nucleus.cover)
    strength = random.uniform(0.25, 1.05)
    for _ in range(2):  # packed: two layers, so that where they overlap it is darker
        granules = canvas.grains(where, random.uniform(0.32, 0.5), random.uniform(0.5, 0.9), random)
        density += _pigment(softened(granules, 0.08, canvas) * where, look.eosinophil, strength * 0.6)
    return _described(
        density,
        cell,
        nucleus,
        diameter,
        granule_type="round",
        granule_colour="red",
        granularity="yes",
        chromatin_density="densely",
    )


def basophil(canvas: Canvas, centre: Point, look: Look, random: Generator) -> WhiteCell:
    """Coarse dark granules over cytoplasm and nucleus alike, so that the nucleus hardly shows."""
    diameter = random.uniform(10.5, 15.0)
    is_ragged = random.random() < 0.25
    cell = _cell(canvas, centre, diameter, random, roughness=0.07 if is_ragged else 0.03)
    radius = diameter / 2 * random.uniform(0.66, 0.85)
    nucleus = (
        nuclei.folded_nucleus(canvas, centre, radius, random)
        if random.random() < 0.4
        else nuclei.segmented_nucleus(canvas, centre, radius, int(random.integers(2, 4)), random)
    )
    density = _body(
        canvas,
        cell,
        Nucleus(softened(nucleus.cover, 0.35, canvas), nucleus.shape),
        look,
        random,
        _Cytoplasm(basophilia=random.uniform(0.1, 0.6), neutral=random.uniform(0.5, 1.5)),
        grain_um=1.2,
        contrast=0.15,
        depth=random.uniform(0.6, 1.0),
    )
    strength = random.uniform(0.45, 0.95)
    for share in (random.uniform(0.25, 0.65), random.uniform(0.1, 0.35)):
        granules = canvas.grains(cell, random.uniform(0.18, 0.4), share, random, size_spread=0.35)
        density += _pigment(softened(granules, 0.07, canvas), look.nucleus, strength)
    if random.random() < 0.4:  # a burst cell scatters some around itself
        halo = np.clip(softened(cell, 1.6, canvas) * 2, 0, 1) * (1 - cell)
        scattered = canvas.grains(halo, 0.35, 0.06, random)
        density += _pigment(softened(scattered, 0.07, canvas), look.nucleus, strength)
    return _described(
        density,
        cell,
        nucleus,
        diameter,
        cell_shape="irregular" if is_ragged else "round",
        granule_type="coarse",
        granule_colour="purple",
        granularity="yes",
        chromatin_density="densely",
    )


PAINTERS: Final[Mapping[str, Callable[[Canvas, Point, Look, Generator], WhiteCell]]] = MappingProxyType(
    {
        "Basophil": basophil,
        "Eosinophil": eosinophil,
        "Lymphocyte": lymphocyte,
        "Monocyte": monocyte,
        "Neutrophil": neutrophil,
    }
)


def _cell(
    canvas: Canvas,
    centre: Point,
    diameter_um: float,
    random: Generator,
    *,
    roughness: float,
    elongation: float | None = None,
) -> Cover:
    if elongation is None:
        elongation = 1 + abs(random.normal(0, 0.07))
    return canvas.polygon(
        outline(centre, diameter_um / 2, random, roughness=roughness, elongation=elongation)
    )


def _rim(cell: Cover, nucleus: Nucleus) -> Cover:
    return np.asarray(cell * (1 - nucleus.cover), np.float32)


def _pigment(cover: NDArray[np.float32], colour: NDArray[np.float32], amount: float) -> DensityMap:
    return np.asarray(cover[:, :, np.newaxis] * (colour * np.float32(amount)), np.float32)


def _body(
    canvas: Canvas,
    cell: Cover,
    nucleus: Nucleus,
    look: Look,
    random: Generator,
    cytoplasm: _Cytoplasm,
    *,
    grain_um: float,
    contrast: float,
    depth: float,
) -> DensityMap:
    """Cytoplasm and nucleus; ``depth`` is the nucleus' density as a share of the look's."""
    soft_cell = softened(cell, EDGE_UM, canvas)
    soft_nucleus = softened(nucleus.cover * cell, EDGE_UM * 1.3, canvas)
    ground = soft_cell * (1 - soft_nucleus)
    ground *= np.clip(
        1 + cytoplasm.frosted * canvas.clouds(0.5, random) + 0.1 * canvas.clouds(3, random), 0.2, 2
    )
    for _ in range(cytoplasm.vacuoles):
        ground *= 1 - random.uniform(0.5, 0.95) * _vacuole(canvas, cell, random)
    # A membrane is seen edge-on, so that the rim is a little denser.
    rim = np.clip(soft_cell - softened(cell, 0.6, canvas), 0, 1)
    density = _pigment(ground + 0.5 * rim, look.basophilia, cytoplasm.basophilia)
    density += _pigment(ground, look.neutral, cytoplasm.neutral)
    texture = nuclei.chromatin(canvas, soft_nucleus, grain_um, contrast * look.chromatin, random)
    return np.asarray(density + _pigment(texture, look.nucleus, depth), np.float32)


def _vacuole(canvas: Canvas, cell: Cover, random: Generator) -> Cover:
    rows, columns = np.nonzero(cell > 0.5)
    place = int(random.integers(len(rows)))
    centre = np.array([rows[place], columns[place]]) / canvas.px_per_um
    return softened(
        canvas.polygon(outline(centre, random.uniform(0.3, 0.9), random, roughness=0.03)), 0.1, canvas
    )


def _described(
    density: DensityMap, cell: Cover, nucleus: Nucleus, diameter_um: float, **differing: str
) -> WhiteCell:
    """With the attributes of WBCAtt (Tsutsui et al. 2023): the common values, and where the cell differs."""
    inside = nucleus.cover * cell
    ratio = float(inside.sum() / max(float(union(cell, inside).sum()), 1.0))
    attributes = {
        "cell_size": "big" if diameter_um >= BIG_CELL_UM else "small",
        "cell_shape": "round",
        "nucleus_shape": nucleus.shape,
        "nuclear_cytoplasmic_ratio": "high" if ratio >= HIGH_RATIO else "low",
        "chromatin_density": "densely",
        "cytoplasm_vacuole": "no",
        "cytoplasm_texture": "clear",
        "cytoplasm_colour": "light blue",
        "granule_type": "nil",
        "granule_colour": "nil",
        "granularity": "no",
    }
    return WhiteCell(density, cell, inside, {**attributes, **differing})
