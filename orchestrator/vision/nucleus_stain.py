"""How a nucleus is stained: by itself, and compared with the red cells of the same frame.

How dense and how blue a nucleus looks is the device's; that it is denser and bluer than the red cells beside
it is the cell's, on every microscope.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array
from orchestrator.vision.histogram import percentiles

MAX_CONTRAST: Final = 9.0
"""A nucleus that is denser than this many times the rest is alone on the glass: there is nothing to compare.

The most beside red cells: 8.7 (Barcelona). On empty glass it is 10 to 100.
"""

_LEAST_PIXELS: Final = 50


@dataclass(frozen=True, slots=True)
class NucleusStain:
    """``density`` is the median optical density in green, ``hue`` how far that in blue stays behind it, as a
    share of it: Romanowsky stains make nuclei purple. ``contrast`` is the density over that of the red cells,
    ``hue_contrast`` the hue less theirs; both None where there are no red cells to compare with."""

    density: float
    hue: float
    contrast: float | None = None
    hue_contrast: float | None = None


def nucleus_stain(frame: UInt8Array, nucleus: NDArray[np.bool_], cell: NDArray[np.bool_]) -> NucleusStain:
    """The stain of a nucleus in a frame, uint8 ``[H, W, 3]``; both masks are bool ``[H, W]``.

    Densities count from the brightest tenth of each channel. Of what lies outside the cell, all that is
    denser than half the densest twentieth counts as red cells.
    """
    light = percentiles(frame, 90)[:, 0]
    density, hue = _density_and_hue(light, percentiles(frame, 50, where=nucleus)[:, 0])
    outside = ~(cell | nucleus)
    if np.count_nonzero(outside) < _LEAST_PIXELS:
        return NucleusStain(density, hue)
    green = frame[:, :, 1]
    densest = percentiles(green, 5, where=outside)[0, 0]
    red_cells = outside & (green < np.sqrt(light[1] * densest))  # half the density
    if np.count_nonzero(red_cells) < _LEAST_PIXELS:
        return NucleusStain(density, hue)
    of_red, red_hue = _density_and_hue(light, percentiles(frame, 50, where=red_cells)[:, 0])
    if density > MAX_CONTRAST * of_red:
        return NucleusStain(density, hue)
    return NucleusStain(density, hue, density / of_red, hue - red_hue)


def _density_and_hue(light: NDArray[np.float64], passed: NDArray[np.float64]) -> tuple[float, float]:
    _, green, blue = np.log(np.maximum(light, 1) / np.maximum(passed, 1))
    return float(green), float(1 - blue / green) if green > 0 else 0.0
