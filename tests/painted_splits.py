"""A small data set in the layout that training reads, of painted cells."""

from collections.abc import Mapping
from pathlib import Path

import cv2

from orchestrator.model_contract import CLASS_NAMES
from tests.synthetic_cells import synthetic_cell


def paint_splits(root: Path, per_class: Mapping[str, int], size: int = 200) -> Path:
    """Write ``root/<split>/<Class>/<Class>_<n>.png`` with so many cells of each class; return ``root``.

    Splits whose names differ in length hold different cells.
    """
    for split, cells in per_class.items():
        for name in CLASS_NAMES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for seed in range(cells):
                rgb = synthetic_cell(name, seed=len(split) * 10 + seed, size=size)
                cv2.imwrite(str(folder / f"{name}_{seed}.png"), rgb[:, :, ::-1])
    return root
