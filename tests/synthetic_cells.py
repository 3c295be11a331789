"""Painted cells as tests ask for them: all of one well stained slide, at any size, with their masks.

The painter is the project's own (:mod:`training.synthesis`); enough morphology for the pipeline to work on,
not a substitute for real images where accuracy is measured.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from training.synthesis.looks import scanner
from training.synthesis.smear import BACKGROUND, NUCLEUS, paint_cell
from training.synthesis.white_cells import PAINTERS

UInt8Array = NDArray[np.uint8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class SyntheticCell:
    """``rgb`` is uint8 ``[H, W, 3]``; ``nucleus`` and ``cell`` are bool ``[H, W]``; the nucleus is part of
    the cell."""

    rgb: UInt8Array
    nucleus: Mask
    cell: Mask


def synthetic_cell(class_name: str, seed: int = 0, size: int = 360) -> UInt8Array:
    """A smear with one white cell near its centre, uint8 ``[size, size, 3]``; the same for the same seed."""
    return synthetic_cell_with_masks(class_name, seed, size).rgb.copy()


@lru_cache(maxsize=256)
def synthetic_cell_with_masks(class_name: str, seed: int = 0, size: int = 360) -> SyntheticCell:
    """The same with the true masks of nucleus and whole cell."""
    random = np.random.default_rng((seed, list(PAINTERS).index(class_name)))
    look = replace(scanner(np.random.default_rng(0)), frame_px=size, jpeg_quality=None)
    painted = paint_cell(class_name, look, random)
    for shared in (painted.rgb, painted.levels):
        shared.setflags(write=False)
    return SyntheticCell(painted.rgb, painted.levels == NUCLEUS, painted.levels > BACKGROUND)
