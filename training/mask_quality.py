"""How well cell and nucleus are outlined: Dice with masks that people drew, and boxes.

Everything is judged on the original frame. The reference system's heuristic is here for comparison only.
"""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from orchestrator.domain import DISCLAIMER, UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import cell_window, extract, locate_cell, place
from orchestrator.vision.foreground import CellMasks, cell_masks
from training.datasets import Sample, read_device, read_split
from training.images import MASK_CROP_SCALE
from training.negatives import BOX, MANIFEST
from training.true_masks import CELL_LEVEL, NUCLEUS_LEVEL

Mask = NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class FrameMasks:
    """Whole cell and nucleus, bool ``[H, W]``; ``nucleus`` is None where a method tells none."""

    cell: Mask
    nucleus: Mask | None


@dataclass(frozen=True, slots=True)
class MaskScore:
    """Mean Dice over ``masks`` images and mean box overlap over ``boxes``; None where there was nothing to
    compare with. ``centre_error`` is the median distance of the boxes' centres, in longer sides of the true
    one."""

    split: str
    device: str
    method: str
    masks: int
    dice_cell: float | None
    dice_nucleus: float | None
    boxes: int
    box_iou: float | None
    centre_error: float | None


def in_a_crop(masks_of: Callable[[UInt8Array], CellMasks]) -> Callable[[UInt8Array], FrameMasks]:
    """A method that works on cell-centred crops, as one on frames, the way it is used in serving."""

    def on_frame(rgb: UInt8Array) -> FrameMasks:
        window = cell_window(locate_cell(rgb), MASK_CROP_SCALE, rgb.shape)
        masks = masks_of(extract(rgb, window, IMAGE_SIZE))
        nucleus = place(masks.nucleus.astype(np.float32), window, rgb.shape)
        return FrameMasks(place(masks.cell, window, rgb.shape) > 0.5, nucleus > 0.5)

    return on_frame


def reference_masks(rgb: UInt8Array) -> FrameMasks:
    """The reference system's foreground on the frame at 224 x 224: what is not white, or purplish.

    Saturation over its 60th percentile (at least 20), or value under its 85th (at most 245), or LAB a over
    its 60th and b under its 45th; closed twice and opened once by 5x5; the largest contour where it covers
    over 1 %; blurred by sigma 6; all ones where it covers under 5 %.
    """
    small = cv2.resize(rgb, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_AREA)
    _, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2HSV))
    _, a, b = cv2.split(cv2.cvtColor(small, cv2.COLOR_RGB2LAB))
    coloured = saturation > max(float(np.percentile(saturation, 60)), 20.0)
    dark = value < min(float(np.percentile(value, 85)), 245.0)
    purplish = (a > np.percentile(a, 60)) & (b < np.percentile(b, 45))
    mask = np.asarray((coloured | dark | purplish), np.uint8)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))
    closed = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel, iterations=2)
    opened = cv2.morphologyEx(closed, cv2.MORPH_OPEN, kernel)
    contours, _ = cv2.findContours(opened, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    if contours:
        largest = max(contours, key=cv2.contourArea)
        if cv2.contourArea(largest) > 0.01 * mask.size:
            opened = cv2.drawContours(np.zeros_like(mask), [largest], -1, (1,), cv2.FILLED)
    soft = cv2.GaussianBlur(np.asarray(opened, np.float32), (0, 0), 6.0)
    if float(soft.mean()) < 0.05:
        soft = np.ones_like(soft)
    return FrameMasks(np.asarray(cv2.resize(soft, rgb.shape[1::-1]) > 0.5, np.bool_), None)


METHODS: Final[dict[str, Callable[[UInt8Array], FrameMasks]]] = {
    "reference": reference_masks,
    "outlined": in_a_crop(cell_masks),
}


def measure_masks(
    data_root: Path,
    splits: Sequence[str],
    methods: Mapping[str, Callable[[UInt8Array], FrameMasks]] = METHODS,
    *,
    more: Sequence[Path] = (),
    console: Console | None = None,
) -> list[MaskScore]:
    """A score per split, device and method, of the images that have a true mask or a box.

    ``more`` are folders of further devices (:func:`~training.datasets.read_device`); each counts as a split.

    Raises :class:`ConfigurationError` where no image has either.
    """
    gathered: dict[tuple[str, str, str], _Gathered] = {}
    for split, samples, boxes in read_parts(data_root, splits, more):
        judged = [s for s in samples if s.mask is not None or s.path in boxes]
        for sample in track(judged, f"masks of {split}", console=console or Console(stderr=True)):
            rgb, truth = sample.load(), _true_masks(sample)
            for name, method in methods.items():
                group = gathered.setdefault((split, sample.device, name), _Gathered([], [], [], []))
                group.add(method(rgb), truth, boxes.get(sample.path))
    if not gathered:
        raise ConfigurationError(
            f"expected true masks or boxes ({', '.join(BOX)}) in {data_root / MANIFEST}, found none for "
            f"{', '.join(splits)}"
        )
    return [MaskScore(*key, *group.summary()) for key, group in gathered.items()]


def read_parts(
    data_root: Path, splits: Sequence[str], more: Sequence[Path]
) -> Iterator[tuple[str, list[Sample], dict[Path, Box]]]:
    """Name, samples and boxes of each split, then of each further device, of which nothing held back is
    read."""
    boxes = read_boxes(data_root)
    for split in splits:
        yield split, read_split(data_root, split), boxes
    for folder in map(Path.resolve, more):
        yield folder.name, read_device(folder), read_boxes(folder.parent)


@dataclass(slots=True)
class _Gathered:
    cells: list[float]
    nuclei: list[float]
    overlaps: list[float]
    errors: list[float]

    def add(self, found: FrameMasks, truth: FrameMasks | None, box: Box | None) -> None:
        if truth is not None and truth.nucleus is not None:
            self.cells.append(dice(found.cell, truth.cell))
            if found.nucleus is not None:
                self.nuclei.append(dice(found.nucleus, truth.nucleus))
        if box is not None:
            overlap, error = box_agreement(found.cell, box)
            self.overlaps.append(overlap)
            self.errors.append(error)

    def summary(self) -> tuple[int, float | None, float | None, int, float | None, float | None]:
        cell, nucleus, overlap = (
            float(np.mean(values)) if values else None for values in (self.cells, self.nuclei, self.overlaps)
        )
        error = float(np.median(self.errors)) if self.errors else None
        return len(self.cells), cell, nucleus, len(self.overlaps), overlap, error


def dice(one: Mask, other: Mask) -> float:
    """Twice the overlap over the sum of the areas; 1 where both are empty."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def box_agreement(mask: Mask, box: Box) -> tuple[float, float]:
    """Intersection over union of the mask's box and ``box``, and the distance of their centres in longer
    sides of ``box``; 0 and infinite where the mask is empty."""
    rows, columns = np.nonzero(mask.any(axis=1))[0], np.nonzero(mask.any(axis=0))[0]
    if not len(rows):
        return 0.0, float("inf")
    own = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    centres = [np.array([b[0] + b[2], b[1] + b[3]]) / 2 for b in (own, box)]
    distance = float(np.linalg.norm(centres[0] - centres[1]))
    return box_overlap(own, box), distance / max(box[2] - box[0], box[3] - box[1])


def box_overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes that are not empty."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    overlap = max(width, 0.0) * max(height, 0.0)
    return overlap / (sum((b[2] - b[0]) * (b[3] - b[1]) for b in (one, other)) - overlap)


def read_boxes(data_root: Path) -> dict[Path, Box]:
    """Image file to the box of its cell, of the manifest's rows that have one; empty without a manifest."""
    manifest = data_root / MANIFEST
    if not manifest.is_file():
        return {}
    with manifest.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if all(row.get(key) for key in BOX)]
    return {
        data_root / row["path"]: (float(row["x0"]), float(row["y0"]), float(row["x1"]), float(row["y1"]))
        for row in rows
    }


def write_scores(scores: Sequence[MaskScore], path: Path) -> None:
    """The scores as CSV, one row each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, MaskScore.__slots__)
        writer.writeheader()
        writer.writerows(asdict(score) for score in scores)


def mask_table(scores: Sequence[MaskScore]) -> Table:
    """The scores for a terminal."""
    table = Table(
        "split", "device", "method", "masks", "Dice cell", "Dice nucleus", "boxes", "box IoU", "centre error",
        title="Masks on the original frame", caption=DISCLAIMER,
    )  # fmt: skip
    for score in scores:
        table.add_row(*(_text(value) for value in asdict(score).values()))
    return table


def _text(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _true_masks(sample: Sample) -> FrameMasks | None:
    levels = sample.load_true_mask()
    return None if levels is None else FrameMasks(levels >= CELL_LEVEL, levels >= NUCLEUS_LEVEL)
