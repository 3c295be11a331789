"""Painted whole fields: with cells or without, crowded, touching, cut; as values, or as files with a
table."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.fields import Corners, PaintedField, paint_field
from orchestrator.painting.looks import LOOKS

FIELDS_TABLE: Final = "fields.csv"
FIELD_COLUMNS: Final = (
    "path", "device", "class", "slide", "split", "width", "height", "x0", "y0", "x1", "y1", "is_cut",
    "outlines", "red_cell_px",
)  # fmt: skip
"""Of ``fields.csv``: a row for each white cell, its box in pixels; one without a box where there is none."""

_JPEG_QUALITY: Final = 95


@dataclass(frozen=True, slots=True)
class FieldTask:
    """One field to be written below ``root``."""

    root: Path
    split: str
    device: str
    number: int
    seed: int
    is_empty: bool

    @property
    def relative_path(self) -> Path:
        return Path(self.device) / f"{self.device}_{self.number:04d}.jpg"


def painted_field(device: str, number: int, seed: int, *, is_empty: bool = False) -> PaintedField:
    """One field with two to eight cells or none: of three fields one has cells that touch, and one has a cell
    that the frame cuts."""
    random = np.random.default_rng((seed, number, len(device)))
    names = () if is_empty else tuple(random.choice(CLASS_NAMES, int(random.integers(2, 9))))
    look = LOOKS[device](random)
    return paint_field(look, random, names, touching=number % 3 == 1, cut=number % 3 == 2)


def write_field(task: FieldTask) -> list[dict[str, str | int]]:
    """Paint a field and write it, with its outlines as GeoJSON beside it; its rows of the table."""
    painted = painted_field(task.device, task.number, task.seed, is_empty=task.is_empty)
    path = task.root / task.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), painted.rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    outlines = task.relative_path.with_suffix(".geojson")
    document = {
        "type": "FeatureCollection",
        "features": [_feature(cell.class_name, cell.outline) for cell in painted.cells],
        "disclaimer": DISCLAIMER,
    }
    (task.root / outlines).write_text(json.dumps(document), encoding="utf-8")
    height, width = painted.rgb.shape[:2]
    of_field: dict[str, str | int] = {
        "path": task.relative_path.as_posix(),
        "device": task.device,
        "slide": f"{task.device}-{task.number}",
        "split": task.split,
        "width": width,
        "height": height,
        "outlines": outlines.as_posix(),
        "red_cell_px": f"{painted.red_cell_px:.1f}",
    }
    rows: list[dict[str, str | int]] = []
    for cell in painted.cells:
        box = dict(zip(("x0", "y0", "x1", "y1"), cell.box, strict=True))
        rows.append(of_field | box | {"class": cell.class_name, "is_cut": str(cell.is_cut).lower()})
    return rows or [of_field]


def _feature(class_name: str, outline: Corners) -> dict[str, object]:
    ring = [[column, row] for row, column in (*outline, outline[0])]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"objectType": "annotation", "classification": {"name": class_name}},
    }
