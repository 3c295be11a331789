"""How well the white cells of whole fields are found: recall, precision, average precision, false finds.

A find is right where its box overlaps a true one by half (intersection over union), each true one counted
once. What touches the frame's edge, found or true, is left out: not every such cell has a true box. The way
is the service's: the same search and preprocessing, and the network's ``not_wbc``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy.stats import binomtest

from orchestrator.domain import DISCLAIMER, Box, CellViews, Prediction, UInt8Array, ViewBatch
from orchestrator.painting.looks import LOOKS
from orchestrator.profiles import Profile
from orchestrator.routing import average, is_white_cell, route
from orchestrator.views import stacked
from orchestrator.vision import tta
from orchestrator.vision.decode import decode
from orchestrator.vision.field_cells import search_field
from orchestrator.vision.field_crops import prepare_cell, without_doubles
from training.datasets import table_rows
from training.painted_fields import painted_field

MIN_OVERLAP: Final = 0.5
EDGE_PX: Final = 2.0
"""A box that is nearer to the frame's edge touches it."""

BATCH: Final = 32
_BOX: Final = ("x0", "y0", "x1", "y1")


@dataclass(frozen=True, slots=True)
class Field:
    """One field, its true boxes, and what it is of: a device, or a kind of painted field."""

    kind: str
    load: Callable[[], UInt8Array]
    boxes: tuple[Box, ...]


@dataclass(frozen=True, slots=True)
class Find:
    """``score`` is the probability that it is a white cell, ``counts`` whether it counts as one."""

    box: Box
    score: float
    counts: bool


@dataclass(frozen=True, slots=True)
class FieldScore:
    """Of one kind of fields. Intervals are of 95 %: exact binomial ones of recall and precision, and of the
    average precision by drawing fields."""

    kind: str
    fields: int
    cells: int
    found: int
    finds: int
    right: int
    recall: tuple[float, float, float]
    precision: tuple[float, float, float]
    average_precision: tuple[float, float, float]
    empty_fields: int
    false_in_empty: int


def real_fields(root: Path, split: str) -> list[Field]:
    """The fields of ``fields.csv`` in ``root`` that are of this split."""
    rows: dict[str, list[dict[str, str]]] = {}
    for row in table_rows(root / "fields.csv", {"path", "split", *_BOX}):
        if row["split"] == split:
            rows.setdefault(row["path"], []).append(row)
    return [
        Field(
            path.split("/")[0],
            lambda path=path: decode((root / path).read_bytes()).rgb,  # type: ignore[misc]
            tuple(_box(*(float(row[key]) for key in _BOX)) for row in of_field if row["x0"]),
        )
        for path, of_field in sorted(rows.items())
    ]


def painted_fields(per_device: int, *, seed: int = 42) -> Iterator[Field]:
    """``per_device`` fields of every painted device with two to eight cells, some touching, some cut, and as
    many without any."""
    for device in LOOKS:
        for number in range(2 * per_device):
            painted = painted_field(device, number, seed, is_empty=number >= per_device)
            boxes = tuple(_box(*map(float, cell.box)) for cell in painted.cells)
            kind = f"painted {device}"
            yield Field(kind, lambda rgb=painted.rgb: rgb, boxes)  # type: ignore[misc]


def cut_empty_fields(fields: Sequence[Field]) -> Iterator[Field]:
    """The part of each field that lies beside all its cells: the widest of its left, right, upper and lower
    strips, where that is a third of the field or more."""
    for field in fields:
        if not field.boxes:
            continue
        rgb = field.load()
        height, width = rgb.shape[:2]
        top, left = min(b.top for b in field.boxes), min(b.left for b in field.boxes)
        bottom, right = max(b.bottom for b in field.boxes), max(b.right for b in field.boxes)
        margin = 0.3 * max(b.bottom - b.top for b in field.boxes)
        strips = [
            (0, 0, height, int(left - margin)),
            (0, int(right + margin), height, width),
            (0, 0, int(top - margin), width),
            (int(bottom + margin), 0, height, width),
        ]
        y0, x0, y1, x1 = max(strips, key=lambda s: max(0, s[2] - s[0]) * max(0, s[3] - s[1]))
        if (y1 - y0) * (x1 - x0) >= height * width / 3:
            part = np.ascontiguousarray(rgb[y0:y1, x0:x1])
            yield Field(f"{field.kind} beside its cells", lambda rgb=part: rgb, ())  # type: ignore[misc]


def find_in(rgb: UInt8Array, profile: Profile, predict: Callable[[ViewBatch], Prediction]) -> list[Find]:
    """All finds of a field, by one view each."""
    searched = search_field(rgb)
    prepared = [prepare_cell(rgb, one, profile.recipe, profile.quality) for one in searched.cells]
    cells = without_doubles([cell for cell in prepared if cell is not None])
    finds = []
    for first in range(0, len(cells), BATCH):
        batch = cells[first : first + BATCH]
        codes = tta.CODES["none"]
        answer = predict(stacked([CellViews(cell.pixels, codes, cell.morphometry) for cell in batch]))
        for row, cell in enumerate(batch):
            finding = route(average(answer.part(row, row + 1)), profile.routing, cell.quality)
            finds.append(Find(cell.box, 1 - finding.not_wbc, is_white_cell(finding, profile.routing)))
    return finds


def measure_fields(
    fields: Sequence[Field],
    find: Callable[[UInt8Array], list[Find]],
    *,
    resamples: int = 1000,
    console: Console | None = None,
) -> list[FieldScore]:
    """A score of each kind, in the order of the kinds."""
    by_kind: dict[str, list[_Judged]] = {}
    for field in track(fields, "fields", console=console or Console(stderr=True)):
        rgb = field.load()
        judged = _judge(find(rgb), field.boxes, (rgb.shape[0], rgb.shape[1]))
        by_kind.setdefault(field.kind, []).append(judged)
    return [_score(kind, judged, resamples) for kind, judged in by_kind.items()]


def fields_table(scores: Sequence[FieldScore]) -> Table:
    """The scores for a terminal."""
    table = Table(
        "fields of", "fields", "cells", "recall", "precision", "AP", "fields without", "false finds there",
        title=f"White cells of whole fields (IoU of at least {MIN_OVERLAP}; 95 % intervals)",
        caption=DISCLAIMER,
    )  # fmt: skip
    for s in scores:
        table.add_row(
            s.kind, str(s.fields), str(s.cells), _told(s.recall), _told(s.precision),
            _told(s.average_precision), str(s.empty_fields), str(s.false_in_empty),
        )  # fmt: skip
    return table


# Judging


@dataclass(frozen=True, slots=True)
class _Judged:
    """Of one field: its true cells that count, those found, and each find's score, whether it counts, and
    whether it is right; finds that are left out are not here."""

    cells: int
    found: int
    finds: tuple[tuple[float, bool, bool], ...]


def _judge(finds: Sequence[Find], boxes: Sequence[Box], shape: tuple[int, int]) -> _Judged:
    left = list(range(len(boxes)))
    is_edge = [_touches(box, shape) for box in boxes]
    found, judged = 0, []
    for one in sorted(finds, key=lambda find: (not find.counts, -find.score)):
        best = max(left, key=lambda i: one.box.overlap(boxes[i]), default=None)
        if best is not None and one.box.overlap(boxes[best]) >= MIN_OVERLAP:
            left.remove(best)
            if not is_edge[best]:
                judged.append((one.score, one.counts, True))
                found += one.counts
        elif not _touches(one.box, shape):
            judged.append((one.score, one.counts, False))
    return _Judged(is_edge.count(False), found, tuple(judged))


def _score(kind: str, judged: Sequence[_Judged], resamples: int) -> FieldScore:
    cells, found = sum(j.cells for j in judged), sum(j.found for j in judged)
    counted = [right for j in judged for _, counts, right in j.finds if counts]
    empty = [j for j in judged if j.cells == 0]
    precision = _interval(sum(counted), len(counted))
    random = np.random.default_rng(0)
    drawn = [
        _average_precision([judged[i] for i in random.integers(0, len(judged), len(judged))])
        for _ in range(resamples if cells else 0)
    ]
    low, high = np.percentile(drawn, (2.5, 97.5)) if drawn else (0.0, 1.0)
    return FieldScore(
        kind,
        len(judged),
        cells,
        found,
        len(counted),
        sum(counted),
        _interval(found, cells),
        precision,
        (_average_precision(judged), float(low), float(high)),
        len(empty),
        sum(counts and not right for j in empty for _, counts, right in j.finds),
    )


def _average_precision(judged: Sequence[_Judged]) -> float:
    """Area under precision over recall, of all finds by their score, the precision made to fall."""
    cells = sum(j.cells for j in judged)
    finds = sorted((find for j in judged for find in j.finds), key=lambda find: -find[0])
    if not cells or not finds:
        return 0.0
    right = np.cumsum([is_right for _, _, is_right in finds])
    precision = right / np.arange(1, len(finds) + 1)
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(falling * np.diff(right, prepend=0)) / cells)


def _interval(successes: int, trials: int) -> tuple[float, float, float]:
    """The share and its exact interval (Clopper and Pearson 1934)."""
    if trials == 0:
        return 0.0, 0.0, 1.0
    exact = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return successes / trials, float(exact.low), float(exact.high)


def _touches(box: Box, shape: tuple[int, int]) -> bool:
    return (
        min(box.top, box.left) < EDGE_PX or box.bottom > shape[0] - EDGE_PX or box.right > shape[1] - EDGE_PX
    )


def _box(x0: float, y0: float, x1: float, y1: float) -> Box:
    return Box(y0, x0, y1, x1)


def _told(value: tuple[float, float, float]) -> str:
    return f"{value[0]:.3f} ({value[1]:.3f} to {value[2]:.3f})"
