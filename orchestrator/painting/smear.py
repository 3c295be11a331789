"""A picture of a smear: what lies on the glass, the light through it, and the camera behind it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.painting.looks import Look
from orchestrator.painting.shapes import Canvas, Point
from orchestrator.painting.surroundings import platelets, red_cells, specks
from orchestrator.painting.white_cells import PAINTERS, DensityMap, WhiteCell

PX_PER_UM: Final = 9.0
"""What is painted at, before the optics and the device's own pixels."""

BACKGROUND, CYTOPLASM, NUCLEUS = 0, 128, 255
"""Levels of a mask, as in the Tecom set."""


@dataclass(frozen=True, slots=True)
class PaintedCell:
    """A picture with one white cell near its centre, and all that is known of it.

    ``rgb`` is uint8 ``[H, W, 3]``, ``levels`` its mask, uint8 ``[H, W]`` of 0, 128 and 255; ``box`` is
    (x0, y0, x1, y1) of the whole cell in pixels; ``attributes`` are WBCAtt's eleven.
    """

    rgb: UInt8Array
    levels: UInt8Array
    box: tuple[int, int, int, int]
    class_name: str
    attributes: Mapping[str, str]


def paint_cell(class_name: str, look: Look, random: Generator) -> PaintedCell:
    """A field with a white cell of a class within 6 % of its centre.

    Raises ``KeyError`` where there is no such class.
    """
    canvas = Canvas(look.frame_um, PX_PER_UM)
    centre = canvas.side_um / 2 + random.normal(0, 0.02 * canvas.side_um, 2).clip(
        -0.06 * canvas.side_um, 0.06 * canvas.side_um
    )
    white = PAINTERS[class_name](canvas, centre, look, random)
    radius_um = float(np.sqrt((white.cell > 0.5).sum() / np.pi)) / PX_PER_UM
    keep_clear = (centre, radius_um * random.uniform(0.92, 1.15))
    around = _surroundings(canvas, look, random, keep_clear)
    # Where a red cell touches, the white cell lies over it.
    density = around * (1 - 0.85 * white.cell[:, :, np.newaxis]) + white.density
    levels = _levels(white, look.frame_px)
    columns, rows, width, height = cv2.boundingRect((levels > 0).astype(np.uint8))
    return PaintedCell(
        photograph(density, look, random),
        levels,
        (columns, rows, columns + width, rows + height),
        class_name,
        white.attributes,
    )


def photograph(density: DensityMap, look: Look, random: Generator) -> UInt8Array:
    """What the device makes of optical densities, uint8 ``[frame_px, frame_px, 3]``.

    Light through the stain, then lens, sensor, sharpening and noise, tone curve and colours, JPEG: in the
    order of a camera.
    """
    side = density.shape[0]
    light = look.field_rgb * _shading(side, look.shading, random)
    scene = np.asarray(light * np.exp(-density), np.float32)
    sigma_px = look.defocus_um * side / look.frame_um
    scene = np.asarray(cv2.GaussianBlur(scene, (0, 0), max(0.3, sigma_px)), np.float32)
    shrinking = cv2.INTER_AREA if look.frame_px < side else cv2.INTER_CUBIC
    image = np.asarray(cv2.resize(scene, (look.frame_px, look.frame_px), interpolation=shrinking), np.float32)
    if look.sharpening:
        image += np.float32(look.sharpening) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    image += random.standard_normal(image.shape, dtype=np.float32) * np.float32(look.noise)
    image = 255 * np.power(np.clip(image / 255, 0, 1), np.float32(look.gamma))
    grey = image.mean(axis=2, keepdims=True)
    coloured = grey + np.float32(look.saturation) * (image - grey)
    pixels: UInt8Array = np.clip(np.rint(coloured), 0, 255).astype(np.uint8)
    if look.jpeg_quality is None:
        return pixels
    _, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, look.jpeg_quality])
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
    return np.ascontiguousarray(decoded[:, :, ::-1])


def _surroundings(
    canvas: Canvas, look: Look, random: Generator, keep_clear: tuple[Point, float]
) -> DensityMap:
    density = red_cells(canvas, look, random, crowding=random.uniform(0.05, 0.55), keep_clear=keep_clear)
    density += platelets(canvas, look, random, count=int(random.poisson(1.2)), keep_clear=keep_clear)
    return density + specks(canvas, look, random, count=int(random.poisson(0.4)))


def _shading(side: int, share: float, random: Generator) -> Float32Array:
    """Light across the frame, around 1, float32 ``[side, side, 1]``: a tilt and a darker rim."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    angle = random.uniform(0, 2 * np.pi)
    tilt = np.cos(angle) * axis[:, np.newaxis] + np.sin(angle) * axis
    rim = axis[:, np.newaxis] ** 2 + axis**2
    light = 1 + np.float32(share) * (np.float32(0.7) * tilt - np.float32(0.5) * rim)
    return np.asarray(light[:, :, np.newaxis], np.float32)


def _levels(white: WhiteCell, side_px: int) -> UInt8Array:
    """The mask at the device's pixels; a pixel is what covers most of it."""
    cell, nucleus = (
        cv2.resize(cover, (side_px, side_px), interpolation=cv2.INTER_AREA) > 0.5
        for cover in (np.maximum(white.cell, white.nucleus), white.nucleus)
    )
    levels = np.zeros((side_px, side_px), np.uint8)
    levels[cell] = CYTOPLASM
    levels[nucleus] = NUCLEUS
    return levels
