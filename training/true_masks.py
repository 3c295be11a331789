"""Masks of cell and nucleus that people drew, where the data set has them.

The column ``mask`` of ``manifest.csv`` names, relative to the data root, an image of the frame's size: 0 is
background, 128 cytoplasm, 255 nucleus. A focus ratio measured with them does not depend on the masks that
this project finds by itself.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import Window, extract
from orchestrator.vision.decode import decode
from orchestrator.vision.foreground import CellMasks

CELL_LEVEL = 64
NUCLEUS_LEVEL = 192
"""Grey levels from which on a pixel is cell, or nucleus: halfway between those that are written."""


def read_mask_paths(root: Path) -> dict[Path, Path]:
    """Image file to mask file, of the images below ``root`` that have one; empty without a manifest."""
    manifest = root / "manifest.csv"
    if not manifest.is_file():
        return {}
    with manifest.open(newline="", encoding="utf-8") as file:
        return {root / row["path"]: root / row["mask"] for row in csv.DictReader(file) if row.get("mask")}


def window_masks(path: Path, window: Window, shape: tuple[int, ...]) -> CellMasks:
    """The masks of a file, cut out as the model's input is, ``[224, 224]``.

    ``shape`` is that of the image (height and width count). Beyond the frame's edges the masks go on as the
    pixels do, mirrored.

    Raises :class:`ConfigurationError` where mask and image differ in size, and
    :class:`orchestrator.errors.InvalidImage` where the mask cannot be decoded.
    """
    levels = decode(path.read_bytes()).rgb[:, :, 0]
    if levels.shape != shape[:2]:
        raise ConfigurationError(
            f"mask {path.name}: expected the image's size {shape[:2]}, received {levels.shape}"
        )
    nucleus = _cut_out(levels >= NUCLEUS_LEVEL, window)
    cell = _cut_out(levels >= CELL_LEVEL, window)
    return CellMasks(nucleus >= 128, cell.astype(np.float32) / np.float32(255))


def _cut_out(mask: NDArray[np.bool_], window: Window) -> UInt8Array:
    painted = np.repeat(np.where(mask, 255, 0).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)
    return extract(painted, window, IMAGE_SIZE)[:, :, 0]
