"""Write the golden images; see README.md beside this file before you do."""

from pathlib import Path

import cv2
import numpy as np

from orchestrator.vision.preprocessing import Recipe, enhance
from orchestrator.vision.stain import LabStatistics, reinhard
from tests.synthetic_cells import UInt8Array, synthetic_cell

REINHARD_REFERENCE = LabStatistics(mean=(180.0, 145.0, 120.0), std=(40.0, 15.0, 18.0))


def golden_images() -> dict[str, UInt8Array]:
    """Name to uint8 ``[224, 224, 3]``: the input and what each step makes of it."""
    cell = np.ascontiguousarray(synthetic_cell("Neutrophil")[68:292, 68:292])
    images = {
        "example": synthetic_cell("Eosinophil"),
        "cell": cell,
        "cell_reinhard": reinhard(cell, REINHARD_REFERENCE),
    }
    return images | {
        f"cell_mef_{version}": enhance(cell, Recipe(mef_version=version))
        for version in ("v1", "v2", "v3", "v4", "v5")
    }


if __name__ == "__main__":
    for name, rgb in golden_images().items():
        cv2.imwrite(str(Path(__file__).parent / f"{name}.png"), rgb[:, :, ::-1])
