"""Painted cells as tests ask for them: those of `wbc samples`, at any size, with their masks.

Enough morphology for the pipeline to work on, not a substitute for real images where accuracy is measured.
"""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.painting.samples import paint_sample
from orchestrator.painting.smear import BACKGROUND, NUCLEUS

UInt8Array = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SyntheticCell:
    """``rgb`` is uint8 ``[H, W, 3]``; ``nucleus`` and ``cell`` are bool ``[H, W]``; the nucleus is part of
    the cell. ``levels``, uint8 ``[H, W]``, has both as the mask files of a data set do."""

    rgb: UInt8Array
    levels: UInt8Array
    nucleus: Mask
    cell: Mask


def synthetic_cell(class_name: str, seed: int = 0, size: int = 360) -> UInt8Array:
    """A smear with one white cell near its centre, uint8 ``[size, size, 3]``; the same for the same seed."""
    return synthetic_cell_with_masks(class_name, seed, size).rgb.copy()


@lru_cache(maxsize=256)
def synthetic_cell_with_masks(class_name: str, seed: int = 0, size: int = 360) -> SyntheticCell:
    """The same with the true masks of nucleus and whole cell."""
    painted = paint_sample(class_name, seed, side_px=size)
    for shared in (painted.rgb, painted.levels):
        shared.setflags(write=False)
    return SyntheticCell(painted.rgb, painted.levels, painted.levels == NUCLEUS, painted.levels > BACKGROUND)


def image_file(rgb: UInt8Array, suffix: str = ".png") -> bytes:
    """The file of an image, uint8 ``[H, W, 3]``; ``suffix`` says its format."""
    return bytes(cv2.imencode(suffix, rgb[:, :, ::-1])[1])


def cell_file(class_name: str = "Monocyte", seed: int = 2, size: int = 160, suffix: str = ".png") -> bytes:
    """The file of a :func:`synthetic_cell`."""
    return image_file(synthetic_cell(class_name, seed, size), suffix)
