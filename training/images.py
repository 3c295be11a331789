"""Training images in memory: decoded, kept small, with the cell found and its mask.

All that a variation of an image needs and that does not vary. Finding cells takes longer than decoding, so
that the outcome can be kept on disk (:mod:`training.image_cache`).
"""

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np

from orchestrator.domain import UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import CellLocation, cell_window, extract, locate_cell, place
from orchestrator.vision.foreground import cell_masks
from orchestrator.vision.stain_anchor import StainAnchor, find_anchor
from training.datasets import Sample

LONGEST_SIDE: Final = 600
"""Images are kept in memory no larger than this; a crop of a larger one would be shrunk anyway."""

MASK_CROP_SCALE: Final = 1.4
"""Side in cell sizes of the crop in which the cell's own mask is made: what serving crops by default."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded training image with its cell and label.

    ``mask`` is the mask of the whole cell in the frame, uint8 ``[H, W]``, 255 on the cell; None where no
    cell was found. ``has_true_mask`` says that a person drew it; otherwise it is our own, with soft edges.
    ``anchor`` is that of the clean crop around the cell; None where no cell was found.
    """

    rgb: UInt8Array
    cell: CellLocation | None
    class_index: int
    mask: UInt8Array | None = None
    has_true_mask: bool = False
    anchor: StainAnchor | None = None


def load_image(sample: Sample) -> LoadedImage:
    """Decode one sample, find its cell, and take its true mask or make one.

    Raises:
        InvalidImage: the file cannot be decoded.
        ConfigurationError: the true mask is missing or has another size than the image.
    """
    rgb = sample.load()
    true_mask = _true_cell_mask(sample, rgb.shape)
    scale = LONGEST_SIDE / max(rgb.shape[:2])
    if scale < 1:
        rgb = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    located = locate_cell(rgb)
    # Where it lies is all that training asks of it.
    cell = None if located is None else replace(located, stain=None)
    own_mask, anchor = (None, None) if cell is None else _own_cell_mask(rgb, cell)
    if true_mask is None:
        return LoadedImage(rgb, cell, sample.class_index, own_mask, anchor=anchor)
    mask = np.asarray(cv2.resize(true_mask, rgb.shape[1::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return LoadedImage(rgb, cell, sample.class_index, mask, has_true_mask=True, anchor=anchor)


def _true_cell_mask(sample: Sample, shape: tuple[int, ...]) -> UInt8Array | None:
    """255 on cytoplasm and nucleus, uint8 ``[H, W]``."""
    levels = sample.load_true_mask()
    if levels is None:
        return None
    if levels.shape != shape[:2]:
        raise ConfigurationError(
            f"expected a mask of {shape[0]} x {shape[1]} pixels, the size of {sample.path.name}, "
            f"received {levels.shape[0]} x {levels.shape[1]}"
        )
    return np.where(levels >= 64, np.uint8(255), np.uint8(0))


def _own_cell_mask(rgb: UInt8Array, cell: CellLocation) -> tuple[UInt8Array | None, StainAnchor]:
    window = cell_window(cell, MASK_CROP_SCALE, rgb.shape)
    crop = extract(rgb, window, IMAGE_SIZE)
    masks = cell_masks(crop)
    soft = place(masks.cell, window, rgb.shape)
    mask = np.rint(np.clip(soft, 0, 1) * 255).astype(np.uint8) if soft.any() else None
    return mask, find_anchor(crop, masks)
