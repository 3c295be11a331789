"""Images that hold no white cell, and whether they are marked for review.

Five classes are all that the model can answer, so that an image of anything else must at least be marked.
Three sources, none of which a model is trained on: parts of real frames away from the cell; painted red
cells, platelets, empty fields and the like; photographs of other things.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.random import Generator
from sklearn.datasets import load_sample_images

from orchestrator.domain import Finding, UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.painting.looks import LOOKS
from orchestrator.vision.decode import decode
from orchestrator.vision.quality import MIN_SIDE_PX
from training.datasets import table_rows
from training.painted_negatives import NEGATIVES, paint_negative

MANIFEST: Final = "manifest.csv"
BOX: Final = ("x0", "y0", "x1", "y1")
_HAS_BOXES: Final = frozenset({"path", "device", *BOX})

MIN_CELL_SHARE: Final = 0.5
"""Least side of a window in cell sizes. A frame is often too narrow for a whole cell size beside its cell."""


@dataclass(frozen=True, slots=True)
class Negative:
    """An image without a white cell, uint8 ``[H, W, 3]``, and what it is, for example ``red cells``."""

    kind: str
    rgb: UInt8Array


@dataclass(frozen=True, slots=True)
class ReviewRate:
    """How many of ``total`` images were marked for review, and how often for which reason (codes)."""

    flagged: int
    total: int
    reasons: Mapping[str, int]

    @property
    def share(self) -> float:
        """In [0, 1]."""
        return self.flagged / self.total


def has_boxes(data_root: Path) -> bool:
    """Whether the folder's manifest tells where the cells are, as :func:`real_negatives` needs to know."""
    rows = _manifest_rows(data_root)
    return bool(rows) and set(rows[0]) >= _HAS_BOXES


def real_negatives(
    data_root: Path, splits: Sequence[str] = ("Train", "TestA"), *, per_device: int = 60, seed: int = 42
) -> list[Negative]:
    """Windows of real frames that do not touch the cell's box; at most one a frame.

    Boxes come from ``data_root/manifest.csv`` (columns ``path``, ``device`` and x0, y0, x1, y1 in pixels);
    frames without a box, or without room beside it, give none. ``per_device`` frames of each device are
    drawn. Their kind is ``<device> field without a white cell``; some 3 % hold part of a second white cell,
    of which no manifest tells.

    Raises :class:`ConfigurationError` where there is no manifest with boxes.
    """
    rows = _manifest_rows(data_root)
    if not rows or not set(rows[0]) >= _HAS_BOXES:
        raise ConfigurationError(
            f"expected a {MANIFEST} with the columns {', '.join(sorted(_HAS_BOXES))} in {data_root}"
        )
    boxed = [row for row in rows if row["path"].split("/")[0] in splits and all(row[key] for key in BOX)]
    random = np.random.default_rng(seed)
    found: dict[str, list[Negative]] = {}
    for index in random.permutation(len(boxed)):
        row = boxed[index]
        of_device = found.setdefault(row["device"], [])
        if len(of_device) == per_device:
            continue
        rgb = decode((data_root / row["path"]).read_bytes()).rgb
        x0, y0, x1, y1 = (float(row[key]) for key in BOX)
        window = empty_window((rgb.shape[0], rgb.shape[1]), (y0, x0, y1, x1), random)
        if window is not None:
            kind = f"{row['device']} field without a white cell"
            of_device.append(Negative(kind, np.ascontiguousarray(rgb[window])))
    return [negative for device in sorted(found) for negative in found[device]]


def dev_fields(folder: Path) -> list[tuple[Path, list[tuple[float, ...]]]]:
    """Whole fields of a further device, ordered by path, each with the boxes (x0, y0, x1, y1) of its cells.

    Of ``../../fields/fields.csv``, as seen from the device's folder; without fields that are held back, or
    that have no box.
    """
    folder = folder.resolve()
    root = folder.parent.parent / "fields"
    fields: dict[str, list[dict[str, str]]] = {}
    for row in table_rows(root / "fields.csv", {"path", "split", *BOX}):
        if row["path"].startswith(f"{folder.name}/"):
            fields.setdefault(row["path"], []).append(row)
    return [
        (root / path, boxes)
        for path, rows in sorted(fields.items())
        if all(row["split"] == "dev" for row in rows)
        and (boxes := [tuple(float(row[key]) for key in BOX) for row in rows if all(row[key] for key in BOX)])
    ]


def field_negatives(folder: Path, count: int, *, seed: int = 42) -> list[Negative]:
    """Windows of whole fields of a further device ``folder`` that touch no white cell's box, one a field.

    Of :func:`dev_fields`. A window is 1.4 cell sizes wide, as the crop is; some hold a part of a cell that is
    cut by the field's edge, which has no box.
    """
    fields = dev_fields(folder)
    random = np.random.default_rng(seed)
    found: list[Negative] = []
    for index in random.permutation(len(fields)):
        path, boxes = fields[index]
        if len(found) == count:
            break
        rgb = decode(path.read_bytes()).rgb
        side = round(1.4 * max(max(x1 - x0, y1 - y0) for x0, y0, x1, y1 in boxes))
        window = _window_beside(rgb.shape, side, boxes, random)
        if window is not None:
            kind = f"{folder.resolve().name} field without a white cell"
            found.append(Negative(kind, np.ascontiguousarray(rgb[window])))
    return found


def _window_beside(
    shape: tuple[int, ...], side: int, boxes: Sequence[Sequence[float]], random: Generator
) -> tuple[slice, slice] | None:
    """A square that touches none of the boxes (x0, y0, x1, y1); None where thirty tries find none."""
    if side > min(shape[:2]):
        return None
    for _ in range(30):
        row, column = (int(random.integers(0, extent - side + 1)) for extent in shape[:2])
        if all(column > x1 or column + side < x0 or row > y1 or row + side < y0 for x0, y0, x1, y1 in boxes):
            return slice(row, row + side), slice(column, column + side)
    return None


def painted_negatives(per_kind: int, *, seed: int = 42) -> list[Negative]:
    """``per_kind`` pictures of each of :data:`~training.painted_negatives.NEGATIVES`.

    Each with a look of its own, of every device in turn.
    """
    looks = list(LOOKS.values())
    found = []
    for label, kind in enumerate(NEGATIVES):
        for number in range(per_kind):
            random = np.random.default_rng((seed, label, number))
            look = looks[number % len(looks)](random)
            found.append(Negative(f"painted {kind}", paint_negative(kind, look, random)))
    return found


def photograph_windows(count: int, *, seed: int = 42) -> list[Negative]:
    """Square windows, of 80 to 420 pixels, of scikit-learn's photographs of a temple and of a flower."""
    random = np.random.default_rng(seed)
    photographs = load_sample_images().images
    found = []
    for number in range(count):
        frame = np.asarray(photographs[number % len(photographs)], np.uint8)
        side = int(random.integers(80, 421))
        row, column = (int(random.integers(0, extent - side + 1)) for extent in frame.shape[:2])
        window = np.ascontiguousarray(frame[row : row + side, column : column + side])
        found.append(Negative("photograph of something else", window))
    return found


def empty_window(
    shape: tuple[int, int], box: tuple[float, float, float, float], random: Generator
) -> tuple[slice, slice] | None:
    """A square of the frame, up to the cell's size, that does not touch the cell's box.

    The side with the most room is taken, and a random place there. ``shape`` is (height, width), ``box`` is
    (top, left, bottom, right) in pixels; the answer is rows and columns. None where there is room for less
    than ``MIN_CELL_SHARE`` of the cell's size, or for less pixels than the service asks for.
    """
    height, width = shape
    top, left = int(np.floor(box[0])), int(np.floor(box[1]))
    bottom, right = int(np.ceil(box[2])), int(np.ceil(box[3]))
    size = max(bottom - top, right - left)
    strips = [
        (0, top, 0, width),
        (bottom, height, 0, width),
        (0, height, 0, left),
        (0, height, right, width),
    ]
    sides = [
        min(size, rows_end - rows, columns_end - columns) for rows, rows_end, columns, columns_end in strips
    ]
    side = max(sides)
    if side < max(MIN_CELL_SHARE * size, MIN_SIDE_PX):
        return None
    rows, rows_end, columns, columns_end = strips[random.choice(np.flatnonzero(np.array(sides) == side))]
    row = int(random.integers(rows, rows_end - side + 1))
    column = int(random.integers(columns, columns_end - side + 1))
    return slice(row, row + side), slice(column, column + side)


def review_rates(
    negatives: Iterable[Negative], find: Callable[[UInt8Array], Finding]
) -> dict[str, ReviewRate]:
    """How many of each kind are marked for review, for whatever reason, in the order of the kinds.

    ``find`` is the way of an image through the service (:func:`training.serving_path.served_finding`).
    """
    findings: dict[str, list[Finding]] = {}
    for negative in negatives:
        findings.setdefault(negative.kind, []).append(find(negative.rgb))
    return {kind: _rate(of_kind) for kind, of_kind in findings.items()}


def _manifest_rows(data_root: Path) -> list[dict[str, str]]:
    return table_rows(data_root / MANIFEST, {"path"})


def _rate(findings: Sequence[Finding]) -> ReviewRate:
    reasons = Counter(reason.code for finding in findings for reason in finding.review_reasons)
    return ReviewRate(
        sum(finding.needs_review for finding in findings), len(findings), dict(reasons.most_common())
    )
