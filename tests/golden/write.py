"""Write the golden images; see README.md beside this file before you do."""

from pathlib import Path

import cv2
import numpy as np

from orchestrator.edge.web import web_page
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.looks import LOOKS
from orchestrator.painting.smear import paint_cell
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.stain import LabStatistics, reinhard
from tests.synthetic_cells import UInt8Array, synthetic_cell

REINHARD_REFERENCE = LabStatistics(mean=(180.0, 145.0, 120.0), std=(40.0, 15.0, 18.0))


def golden_images() -> dict[str, UInt8Array]:
    """Name to uint8 ``[224, 224, 3]``: the input and what each step makes of it."""
    cell = np.ascontiguousarray(synthetic_cell("Neutrophil")[68:292, 68:292])
    images = {
        "example": synthetic_cell("Eosinophil", 2),
        "cell": cell,
        "cell_reinhard": reinhard(cell, REINHARD_REFERENCE),
    }
    return images | {
        # A frame of the model's size, and all of it: the crop is the image itself, whose masks v6 needs.
        f"cell_mef_{version}": preprocess(cell, Recipe(crop_scale=None, mef_version=version)).pixels
        for version in ("v1", "v2", "v3", "v4", "v5", "v6")
    }


def painted_cells(side: int = 160) -> UInt8Array:
    """A column for each class and a row for each device, two cells of each; uint8 ``[H, W, 3]``."""
    rows = []
    for device, look in LOOKS.items():
        random = np.random.default_rng((3, len(device)))
        cells = [paint_cell(name, look(random), random).rgb for name in CLASS_NAMES for _ in range(2)]
        small = [cv2.resize(rgb, (side, side), interpolation=cv2.INTER_AREA) for rgb in cells]
        rows.append(np.hstack(small))
    return np.asarray(np.vstack(rows), np.uint8)


SAMPLES = {"Basophil": 4, "Eosinophil": 2, "Lymphocyte": 0, "Monocyte": 2, "Neutrophil": 2}
"""Seeds of the cells that the page offers for trying it; the lymphocyte is one that goes to review."""


def write_samples(folder: Path) -> None:
    """The page's sample images, as JPEG."""
    folder.mkdir(exist_ok=True)
    for name, seed in SAMPLES.items():
        target = folder / f"{name.lower()}.jpg"
        cv2.imwrite(str(target), synthetic_cell(name, seed)[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    write_samples(Path(web_page.__file__).parent / "static" / "samples")
    folder = Path(__file__).parent
    for name, rgb in golden_images().items():
        cv2.imwrite(str(folder / f"{name}.png"), rgb[:, :, ::-1])
    cv2.imwrite(str(folder / "painted_cells.jpg"), painted_cells()[:, :, ::-1])
