"""Stain normalisation anchored at two things that every smear shows: the empty field and the nucleus.

The colour of light that met no cell, ``I0``, is taken from the field around the cell; by Beer-Lambert the
optical density ``-ln(I / I0)`` no longer knows the lamp, the white balance and the camera's gain. One factor
then makes the nucleus as dense as a reference nucleus, which takes away how long the slide was stained and
how contrasty the camera is. Hues stay as they are: mapping the nucleus' hue as well cost eosinophils of the
other device most of their recall (MODEL_CARD.md of the served model has the table).

MEF v1's percentiles, by contrast, stretch each channel by what lies in the crop, so that one red cell more
turns the whole image green, and its CLAHE makes texture out of each camera's noise.
"""

from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.histogram import percentiles

FIELD_INTENSITY: Final = 240.0
"""What the empty field is mapped to, in every channel."""

NUCLEUS_DENSITY: Final = 1.1
"""Mean optical density over R, G, B that the nucleus' median is brought to; Barcelona's median nucleus."""

DENSITY_FACTORS: Final = (0.4, 3.0)
"""Limits of the factor: what lies outside is no stain but a mistaken nucleus."""

FADE: Final = 0.9
"""How much of what is not the cell fades."""

MIN_FIELD_PIXELS: Final = 500
MIN_NUCLEUS_PIXELS: Final = 50
_FIELD_PERCENTILE: Final = 70
_MIN_FIELD_COLOUR: Final = 30.0


@dataclass(frozen=True, slots=True)
class StainAnchor:
    """What a crop is anchored at: the colour of its empty field, R, G, B from 0 to 255, and the median
    optical density of its nucleus over the three; None where there is no nucleus."""

    field: tuple[float, float, float]
    nucleus_density: float | None

    def table(self, strength: float = 1.0) -> UInt8Array:
        """What each level of each channel becomes, uint8 ``[256, 1, 3]``.

        ``strength`` times the reference is what the nucleus' density becomes; without a nucleus only the
        field is mapped.
        """
        density = _density_of_level(self.field)
        if self.nucleus_density is not None:
            wanted = NUCLEUS_DENSITY * strength
            density *= np.clip(wanted / max(self.nucleus_density, 0.1), *DENSITY_FACTORS)
        table = np.clip(np.rint(FIELD_INTENSITY * np.exp(-density)), 0, 255).astype(np.uint8)
        return np.asarray(table.reshape(256, 1, 3))


def find_anchor(rgb: UInt8Array, masks: CellMasks) -> StainAnchor:
    """The anchor of a cell-centred crop, uint8 ``[H, W, 3]``; ``masks`` are those of this crop."""
    red, green, blue = (float(value) for value in field_colour(rgb, masks))
    field = (red, green, blue)
    if np.count_nonzero(masks.nucleus) < MIN_NUCLEUS_PIXELS:
        return StainAnchor(field, None)
    # Channel by channel: to take three values of each pixel at once takes four times as long.
    densities = [
        of_level.take(channel[masks.nucleus])
        for of_level, channel in zip(_density_of_level(field).T, cv2.split(rgb), strict=True)
    ]
    return StainAnchor(field, float(np.median((densities[0] + densities[1] + densities[2]) / 3)))


def anchor_stain(rgb: UInt8Array, masks: CellMasks) -> UInt8Array:
    """Map field and nucleus of a cell-centred crop to the reference, uint8 ``[H, W, 3]`` in and out.

    ``masks`` are those of this crop. Where there is no nucleus only the field is mapped.
    """
    return np.asarray(cv2.LUT(rgb, find_anchor(rgb, masks).table()), np.uint8)


def _density_of_level(field: tuple[float, float, float]) -> Float32Array:
    """Optical density of each level against the field, float32 ``[256, 3]``."""
    levels = np.arange(256, dtype=np.float32)[:, np.newaxis]
    intensity = levels * (FIELD_INTENSITY / np.array(field, np.float32))
    # Densities below 0 are brighter than the field; above 4 lies the sensor's noise.
    return np.asarray(-np.log(np.clip(intensity, 4.0, 250.0) / FIELD_INTENSITY), np.float32)


def fade_field(rgb: UInt8Array, cell: Float32Array, fade: float = FADE) -> UInt8Array:
    """Fade what is not the cell into the empty field, uint8 ``[H, W, 3]`` in and out.

    Red cells, platelets and the field say which slide this is and not which cell: of the Raabin basophils,
    all from four slides, a network learns the background. A tenth is left, so that a cell whose mask is cut
    too close still shows. Where no cell was found nothing fades. ``cell`` is its mask, float32 ``[H, W]`` in
    [0, 1].
    """
    if not cell.any():
        return rgb
    faded = np.float32(fade) * (1 - cell)
    field = np.full_like(rgb, FIELD_INTENSITY)
    return np.asarray(cv2.blendLinear(rgb, field, 1 - faded, faded), np.uint8)


def field_colour(rgb: UInt8Array, masks: CellMasks) -> Float32Array:
    """Colour of the empty field, float32 ``[3]``: the median of the brightest 30 % outside the cell.

    Over the whole crop where hardly anything lies outside the cell.
    """
    outside = masks.cell < 0.1
    if np.count_nonzero(outside) < MIN_FIELD_PIXELS:
        outside = np.ones_like(outside)
    luma = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    bright = outside & (luma >= percentiles(luma, _FIELD_PERCENTILE, where=outside)[0, 0])
    median = percentiles(rgb, 50, where=bright)[:, 0]
    return np.asarray(np.maximum(median, _MIN_FIELD_COLOUR), np.float32)
