"""How often the cell is found, and how often an image without one is marked for review.

A cell is found where the square in which :func:`orchestrator.vision.crop.locate_cell` says that it lies
overlaps its true box by half (intersection over union). The true box is a person's, that of a drawn mask, or
what was painted.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from orchestrator.domain import DISCLAIMER, Finding, UInt8Array
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.looks import LOOKS
from orchestrator.painting.smear import paint_cell
from orchestrator.vision.crop import locate_cell
from orchestrator.vision.decode import decode
from training.datasets import Sample
from training.mask_quality import Box, box_overlap, read_parts
from training.negatives import Negative, dev_fields, field_negatives, has_boxes, real_negatives, review_rates
from training.true_masks import CELL_LEVEL

MIN_OVERLAP: Final = 0.5

FIELD_CUT: Final = 2.2
"""Side of what is cut out of a field around a cell, in sides of its box: as the devices' crops are."""


@dataclass(frozen=True, slots=True)
class FinderScore:
    """Of ``images`` of a device in a split, the share whose cell is found, and the median overlap.

    ``truth`` says whose box it was compared with: ``box``, ``mask`` or ``painted``.
    """

    split: str
    device: str
    truth: str
    images: int
    found: float
    overlap: float


@dataclass(frozen=True, slots=True)
class EmptyScore:
    """Of ``images`` windows without a white cell, the share that is marked for review, and by which codes."""

    kind: str
    images: int
    marked: float
    reasons: str


def located_overlap(rgb: UInt8Array, box: Box) -> float:
    """Intersection over union of the located square with the true box; 0 where nothing is located."""
    cell = locate_cell(rgb)
    if cell is None:
        return 0.0
    half = cell.size / 2
    own = (cell.column - half, cell.row - half, cell.column + half, cell.row + half)
    return box_overlap(own, box)


def measure_finder(
    data_root: Path,
    splits: Sequence[str],
    *,
    more: Sequence[Path] = (),
    painted: int = 0,
    console: Console | None = None,
) -> list[FinderScore]:
    """A score per split and device of the images with a box or a mask, then of each painted device.

    ``more`` are folders of further devices, of which whole fields count too, where there are any, cut to the
    surroundings of each cell; of each painted one ``painted`` cells of every class are looked
    at.
    """
    console = console or Console(stderr=True)
    overlaps: dict[tuple[str, str, str], list[float]] = {}
    for split, samples, boxes in read_parts(data_root, splits, more):
        known = [s for s in samples if s.path in boxes or s.mask is not None]
        for sample in track(known, f"cells of {split}", console=console):
            box = boxes.get(sample.path)
            truth = "mask" if box is None else "box"
            key = (split, sample.device, truth)
            overlap = located_overlap(sample.load(), _box_of_mask(sample) if box is None else box)
            overlaps.setdefault(key, []).append(overlap)
    for folder in map(Path.resolve, more):
        fields = dev_fields(folder)
        for path, boxes_there in track(fields, f"fields of {folder.name}", console=console):
            rgb = decode(path.read_bytes()).rgb
            key = (f"{folder.name} fields", folder.name, "box")
            overlaps.setdefault(key, []).extend(located_overlap(*_cut(rgb, box)) for box in boxes_there)
    for device, look in LOOKS.items() if painted else ():
        for number in track(range(painted * len(CLASS_NAMES)), f"painted {device}", console=console):
            random = np.random.default_rng((number, len(device)))
            cell = paint_cell(CLASS_NAMES[number % len(CLASS_NAMES)], look(random), random)
            left, top, right, bottom = map(float, cell.box)
            overlap = located_overlap(cell.rgb, (left, top, right, bottom))
            overlaps.setdefault(("painted", device, "painted"), []).append(overlap)
    return [
        FinderScore(*key, len(of), float(np.mean(np.array(of) >= MIN_OVERLAP)), float(np.median(of)))
        for key, of in overlaps.items()
    ]


def measure_empty(
    data_root: Path,
    count: int,
    find: Callable[[UInt8Array], Finding],
    *,
    more: Sequence[Path] = (),
    console: Console | None = None,
) -> list[EmptyScore]:
    """How many of ``count`` windows without a white cell of each device are marked for review.

    ``find`` is the way of an image through the service (:func:`training.serving_path.served_finding`).
    """
    negatives = list(_empty_windows(data_root, count, more))
    rates = review_rates(track(negatives, "empty windows", console=console or Console(stderr=True)), find)
    return [
        EmptyScore(
            kind, rate.total, rate.share, ", ".join(f"{code} {n}" for code, n in rate.reasons.items()) or "-"
        )
        for kind, rate in rates.items()
    ]


def finder_table(scores: Sequence[FinderScore]) -> Table:
    """The scores for a terminal."""
    table = Table(
        "split", "device", "truth", "images", "found", "median IoU",
        title=f"Cells found (IoU of at least {MIN_OVERLAP})", caption=DISCLAIMER,
    )  # fmt: skip
    for s in scores:
        table.add_row(s.split, s.device, s.truth, str(s.images), f"{s.found:.1%}", f"{s.overlap:.3f}")
    return table


def empty_table(scores: Sequence[EmptyScore]) -> Table:
    """The scores for a terminal."""
    table = Table("what", "images", "marked", "for", title="Windows without a white cell", caption=DISCLAIMER)
    for s in scores:
        table.add_row(s.kind, str(s.images), f"{s.marked:.1%}", s.reasons)
    return table


def _cut(rgb: UInt8Array, box: Sequence[float]) -> tuple[UInt8Array, Box]:
    """The part of a field around a cell, and the cell's box in it."""
    left, top, right, bottom = box
    reach = FIELD_CUT / 2 * max(right - left, bottom - top)
    column, row = (left + right) / 2, (top + bottom) / 2
    x, y = max(0, round(column - reach)), max(0, round(row - reach))
    part = rgb[y : round(row + reach), x : round(column + reach)]
    return np.ascontiguousarray(part), (left - x, top - y, right - x, bottom - y)


def _box_of_mask(sample: Sample) -> Box:
    levels = sample.load_true_mask()
    if levels is None:
        raise ValueError(f"expected a sample with a mask, received {sample.path.name}")
    rows, columns = np.nonzero(levels >= CELL_LEVEL)
    return float(columns.min()), float(rows.min()), float(columns.max() + 1), float(rows.max() + 1)


def _empty_windows(data_root: Path, count: int, more: Sequence[Path]) -> Iterator[Negative]:
    if has_boxes(data_root):
        yield from real_negatives(data_root, per_device=count)
    for folder in more:
        yield from field_negatives(folder, count)
