"""Cells to try the service with: all of one well stained slide, on which the served model answers well."""

from dataclasses import replace
from typing import Final

import numpy as np

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.looks import scanner
from orchestrator.painting.smear import PaintedCell, paint_cell

SIDE_PX: Final = 360


def paint_sample(class_name: str, *seed: int, side_px: int = SIDE_PX) -> PaintedCell:
    """A smear with one white cell near its centre, ``side_px`` square; the same for the same seed, of
    numbers from 0.

    Raises ``ValueError`` where there is no such class.
    """
    random = np.random.default_rng((*seed, CLASS_NAMES.index(class_name)))
    look = replace(scanner(np.random.default_rng(0)), frame_px=side_px, jpeg_quality=None)
    return paint_cell(class_name, look, random)
