"""Nuclei by class: their outlines, what a reader would call their shape, and their chromatin."""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from orchestrator.painting.shapes import Canvas, Cover, Point, outline, polar, union


@dataclass(frozen=True, slots=True)
class Nucleus:
    """``cover`` is where it lies; ``shape`` the WBCAtt name of its outline."""

    cover: Cover
    shape: str


def round_nucleus(canvas: Canvas, centre: Point, radius_um: float, random: Generator) -> Nucleus:
    """A lymphocyte's: round or a little oval, one in five with a dent."""
    place = polar(centre, radius_um * random.uniform(0, 0.08), random.uniform(0, 2 * np.pi))
    angle = random.uniform(0, 2 * np.pi)
    cover = canvas.polygon(
        outline(
            place, radius_um, random, roughness=0.025, elongation=1 + abs(random.normal(0, 0.15)), angle=angle
        )
    )
    if random.random() < 0.2:
        dent = polar(place, radius_um * random.uniform(1.05, 1.25), random.uniform(0, 2 * np.pi))
        cut = canvas.polygon(outline(dent, radius_um * random.uniform(0.25, 0.4), random, roughness=0.05))
        return Nucleus(cover * (1 - cut), "unsegmented-indented")
    return Nucleus(cover, "unsegmented-round")


def folded_nucleus(canvas: Canvas, centre: Point, radius_um: float, random: Generator) -> Nucleus:
    """A monocyte's: a kidney, a horseshoe, a folded, lobed or torn mass, seldom round."""
    kind = random.choice(5, p=[0.35, 0.2, 0.2, 0.15, 0.1])
    turn = random.uniform(0, 2 * np.pi)
    if kind == 0:
        body = canvas.polygon(
            outline(
                centre, radius_um, random, roughness=0.05, elongation=random.uniform(1.05, 1.4), angle=turn
            )
        )
        bay = polar(centre, radius_um * random.uniform(0.7, 1.0), turn + np.pi / 2 * random.choice([-1, 1]))
        cut = canvas.polygon(
            outline(bay, radius_um * random.uniform(0.3, 0.5), random, roughness=0.08, elongation=1.3)
        )
        return Nucleus(body * (1 - cut), "unsegmented-indented")
    if kind == 1:
        path = _arc(centre, radius_um * 0.62, turn, random.uniform(3.2, 4.6), random, wobble=0.1)
        return Nucleus(canvas.band(path, radius_um * random.uniform(0.7, 0.95)), "unsegmented-indented")
    if kind == 2:
        lobes = [
            canvas.polygon(
                outline(
                    polar(
                        centre,
                        radius_um * random.uniform(0.3, 0.6),
                        turn + k * 2 * np.pi / 3 + random.normal(0, 0.3),
                    ),
                    radius_um * random.uniform(0.5, 0.72),
                    random,
                    roughness=0.1,
                    elongation=random.uniform(1, 1.3),
                )
            )
            for k in range(int(random.integers(2, 4)))
        ]
        return Nucleus(union(*lobes), "irregular")
    rim = outline(
        centre,
        radius_um,
        random,
        roughness=0.07,
        elongation=random.uniform(1, 1.3),
        petals=random.uniform(0.08, 0.22) if kind == 3 else 0.0,
    )
    if kind == 4:
        return Nucleus(canvas.polygon(rim), "unsegmented-round")
    cover = canvas.polygon(rim)
    for _ in range(int(random.integers(0, 4))):
        edge = polar(centre, 1.1 * radius_um, random.uniform(0, 2 * np.pi))
        tear = np.array([edge, edge + random.uniform(0.4, 0.8) * (centre - edge)])
        cover = cover * (1 - canvas.band(tear, radius_um * random.uniform(0.08, 0.25)))
    return Nucleus(cover, "irregular")


def band_nucleus(canvas: Canvas, centre: Point, radius_um: float, random: Generator) -> Nucleus:
    """A young neutrophil's: a curved rod of nearly constant width, C, U or S."""
    turn = random.uniform(0, 2 * np.pi)
    if random.random() < 0.2:
        first = _arc(centre, radius_um * 0.42, turn, np.pi, random, wobble=0.05)
        shift = first[-1] - polar(centre, radius_um * 0.42, turn)
        second = _arc(centre + shift * 0.98, radius_um * 0.42, turn + 2 * np.pi, -np.pi, random, wobble=0.05)
        middle = (first.mean(axis=0) + second.mean(axis=0)) / 2
        path = np.concatenate([first, second]) - middle + centre
    else:
        path = _arc(
            centre,
            radius_um * random.uniform(0.55, 0.68),
            turn,
            random.uniform(3.0, 4.9),
            random,
            wobble=0.08,
        )
    return Nucleus(canvas.band(path, radius_um * random.uniform(0.42, 0.58)), "unsegmented-band")


def segmented_nucleus(
    canvas: Canvas, centre: Point, radius_um: float, lobes: int, random: Generator
) -> Nucleus:
    """Lobes joined by thin threads: neutrophils (three or four), eosinophils (mostly two)."""
    turn, side = random.uniform(0, 2 * np.pi), random.choice([-1, 1])
    step = 2 * np.pi / max(lobes, 2.6) * random.uniform(0.75, 0.98)
    share = {2: 0.56, 3: 0.44, 4: 0.38}.get(lobes, 0.34)
    distance = radius_um * (0.5 if lobes == 2 else 0.58)
    covers, path = [], []
    for lobe in range(lobes):
        angle = (
            turn + side * (lobe * (step if lobes > 2 else random.uniform(2.2, 3.2))) + random.normal(0, 0.12)
        )
        place = polar(centre, distance * random.uniform(0.85, 1.1), angle)
        path.append(place)
        covers.append(
            canvas.polygon(
                outline(
                    place,
                    radius_um * share * random.uniform(0.85, 1.12),
                    random,
                    roughness=0.06,
                    elongation=random.uniform(1.0, 1.5),
                    angle=angle + np.pi / 2 + random.normal(0, 0.4),
                )
            )
        )
    thread = canvas.band(np.array(path), radius_um * random.uniform(0.08, 0.3))
    return Nucleus(union(thread, *covers), "segmented-bilobed" if lobes == 2 else "segmented-multilobed")


def chromatin(
    canvas: Canvas, cover: Cover, grain_um: float, contrast: float, random: Generator
) -> NDArray[np.float32]:
    """Density of the nucleus, float32 ``[H, W]``: around 1 where it lies; clumps of ``grain_um``."""
    clumps = np.tanh(1.2 * canvas.clouds(grain_um, random)) + 0.4 * canvas.clouds(grain_um / 2.5, random)
    return np.asarray(cover * np.clip(1 + np.float32(contrast) * clumps, 0.35, 1.6), np.float32)


def _arc(
    centre: Point, radius_um: float, start: float, sweep: float, random: Generator, *, wobble: float
) -> NDArray[np.float64]:
    angles = start + np.linspace(0, sweep, 24)
    waves = 1 + wobble * np.cos(np.linspace(0, random.uniform(2, 7), 24) + random.uniform(0, 6.3))
    turning = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    return np.asarray(centre + (radius_um * waves)[:, np.newaxis] * turning, np.float64)
