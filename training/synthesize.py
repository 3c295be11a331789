"""A painted data set in the layout of a real one: for a newcomer without data, for tests, for pre-training.

Two devices in Train and TestA, whose slides differ, and a third in TestB, with masks, boxes and attributes,
so that every command runs on it. The same seed paints the same images on any number of processors.
"""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final, TypeVar

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track

from orchestrator.domain import DISCLAIMER, UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.looks import LOOKS, Look
from orchestrator.painting.smear import PaintedCell, paint_cell
from training.painted_fields import FIELD_COLUMNS, FIELDS_TABLE, FieldTask, write_field
from training.painted_negatives import NEGATIVES, paint_negative

Task = TypeVar("Task")
Painted = TypeVar("Painted")

SLIDES: Final = 8
"""Slides of each device in a split, with cells of every class and a look each: enough to hold some out.

Of the device ``any`` each image has a look of its own, and lies on no slide."""

CONTACT_SHEET: Final = "contact_sheet.png"
_SHEET_COLUMNS: Final = 8
_SHEET_SIDE: Final = 128
_JPEG_QUALITY: Final = 95

_MANIFEST_COLUMNS: Final = (
    "path", "device", "class", "slide", "width", "height", "x0", "y0", "x1", "y1", "mask", "label_source",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SynthesisPlan:
    """How many images of which devices. Counts are of each class and device; of ``fields_per_device`` as many
    hold white cells, and half as many none.

    Raises:
        ConfigurationError: a device is not known, a test device is trained on, or a count is negative.
    """

    train_per_class: int = 40
    test_per_class: int = 12
    devices: tuple[str, ...] = ("scanner", "phone")
    unseen_device: str | None = "camera"
    negatives_per_kind: int = 10
    seed: int = 42
    fields_per_device: int = 0

    def __post_init__(self) -> None:
        """Refuse what cannot be painted."""
        asked = self.all_devices
        if not self.devices or not set(asked) <= set(LOOKS) or len(set(asked)) < len(asked):
            raise ConfigurationError(
                f"expected different devices of {', '.join(LOOKS)}, received {', '.join(asked) or 'none'}"
            )
        for name in ("train_per_class", "test_per_class", "negatives_per_kind", "seed", "fields_per_device"):
            if getattr(self, name) < 0:
                raise ConfigurationError(f"expected {name} of at least 0, received {getattr(self, name)}")
        if self.train_per_class == 0:
            raise ConfigurationError("expected at least one image of each class to train on, received none")

    @property
    def all_devices(self) -> list[str]:
        """Those of all splits."""
        return [*self.devices, *([self.unseen_device] if self.unseen_device else [])]

    def parts(self) -> Iterator[tuple[str, str, int]]:
        """(split, device, images of each class), in the order of the manifest."""
        for split, per_class in (("Train", self.train_per_class), ("TestA", self.test_per_class)):
            for device in self.devices:
                yield split, device, per_class
        if self.unseen_device:
            yield "TestB", self.unseen_device, self.test_per_class


@dataclass(frozen=True, slots=True)
class _Task:
    """One image: of the class ``name`` in a split, or of the kind ``name`` in ``negatives``."""

    root: Path
    split: str
    device: str
    name: str
    number: int
    seed: tuple[int, ...]
    slide_seed: tuple[int, ...] | None
    slide: str

    @property
    def relative_path(self) -> Path:
        return Path(self.split) / self.name.replace(" ", "_") / f"{self.device}_{self.number:04d}.jpg"

    def look(self) -> Look:
        return LOOKS[self.device](np.random.default_rng(self.slide_seed or (*self.seed, 1)))


def synthesize(
    output: Path, plan: SynthesisPlan, *, workers: int | None = None, console: Console | None = None
) -> Path:
    """Paint the data set of a plan into a new folder; return it.

    It holds ``<split>/<Class>/*.jpg``, ``masks/``, ``negatives/<kind>/``, ``manifest.csv`` (with boxes and
    masks), ``attributes.csv`` (WBCAtt's names), ``contact_sheet.png`` and a ``README.md``; where fields are
    asked for, ``fields/<device>/`` with ``fields/fields.csv``. The folder appears when everything in it is
    written.

    Args:
        output: a folder that does not exist yet, or is empty.
        plan: what to paint.
        workers: processes; None: one a processor.
        console: where to show the progress; None shows none.

    Raises:
        ConfigurationError: the folder holds something already.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ConfigurationError(f"expected a new or empty folder to write to, received {output}")
    unfinished = output.with_name(f".{output.name}.{os.getpid()}.unfinished")
    unfinished.mkdir(parents=True)
    tasks = list(_tasks(unfinished, plan))
    rows = list(_done(_write_image, tasks, workers, console))
    cells = [row for row in rows if row is not None]
    _write_csv(unfinished / "manifest.csv", _MANIFEST_COLUMNS, [manifest for manifest, _ in cells])
    _write_csv(unfinished / "attributes.csv", tuple(cells[0][1]), [attributes for _, attributes in cells])
    _write_contact_sheet(unfinished, tasks)
    if plan.fields_per_device:
        root = unfinished / "fields"
        fields = _done(write_field, list(_field_tasks(root, plan)), workers, console)
        _write_csv(root / FIELDS_TABLE, FIELD_COLUMNS, [row for of_field in fields for row in of_field])
    (unfinished / "README.md").write_text(_readme(plan), encoding="utf-8")
    if output.exists():
        output.rmdir()
    unfinished.rename(output)
    return output


_Row = dict[str, str | int]


def _tasks(root: Path, plan: SynthesisPlan) -> Iterator[_Task]:
    for part, (split, device, per_class) in enumerate(plan.parts()):
        for label, name in enumerate(CLASS_NAMES):
            for number in range(per_class):
                slide = number % SLIDES
                has_slide = device != "any"
                yield _Task(
                    root,
                    split,
                    device,
                    name,
                    number,
                    seed=(plan.seed, part, label, number),
                    slide_seed=(plan.seed, part, slide) if has_slide else None,
                    slide=f"{split}-{device}-{slide + 1}" if has_slide else "",
                )
    devices = plan.all_devices
    for label, kind in enumerate(NEGATIVES):
        for number in range(plan.negatives_per_kind):
            device = devices[number % len(devices)]
            seed = (plan.seed, 100, label, number)
            yield _Task(root, "negatives", device, kind, number, seed, None, "")


def _field_tasks(root: Path, plan: SynthesisPlan) -> Iterator[FieldTask]:
    for device in plan.all_devices:
        split = "test" if device == plan.unseen_device else "dev"
        for number in range(plan.fields_per_device + plan.fields_per_device // 2):
            yield FieldTask(root, split, device, number, plan.seed, number >= plan.fields_per_device)


def _done(
    paint: Callable[[Task], Painted], tasks: Sequence[Task], workers: int | None, console: Console | None
) -> Iterator[Painted]:
    workers = workers or os.cpu_count() or 1

    def watched(done: Iterator[Painted]) -> Iterator[Painted]:
        if console is None:
            yield from done
        else:
            yield from track(done, "painting", total=len(tasks), console=console)

    if workers == 1:
        yield from watched(map(paint, tasks))
        return
    # Fresh processes: a fork of one that runs threads of TensorFlow may hang.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_alone) as pool:
        yield from watched(pool.map(paint, tasks, chunksize=8))


def _alone() -> None:
    """One thread of OpenCV a process: the processes share the cores."""
    cv2.setNumThreads(1)


def _write_image(task: _Task) -> tuple[_Row, _Row] | None:
    """Paint and write one image; a cell's rows of manifest and attributes, None for a negative."""
    random = np.random.default_rng(task.seed)
    path = task.root / task.relative_path
    path.parent.mkdir(parents=True, exist_ok=True)
    if task.split == "negatives":
        _write(path, paint_negative(task.name, task.look(), random))
        return None
    painted = paint_cell(task.name, task.look(), random)
    _write(path, painted.rgb)
    mask = Path("masks") / task.relative_path.with_suffix(".png")
    (task.root / mask).parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(task.root / mask), painted.levels)
    return _manifest_row(task, painted, mask), {"path": task.relative_path.as_posix(), **painted.attributes}


def _manifest_row(task: _Task, painted: PaintedCell, mask: Path) -> _Row:
    x0, y0, x1, y1 = painted.box
    height, width = painted.levels.shape
    return {
        "path": task.relative_path.as_posix(),
        "device": task.device,
        "class": task.name,
        "slide": task.slide,
        "width": width,
        "height": height,
        "x0": x0,
        "y0": y0,
        "x1": x1,
        "y1": y1,
        "mask": mask.as_posix(),
        "label_source": "painted",
    }


def _write(path: Path, rgb: UInt8Array) -> None:
    cv2.imwrite(str(path), rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _write_csv(path: Path, columns: Sequence[str], rows: Sequence[_Row]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _write_contact_sheet(root: Path, tasks: Sequence[_Task]) -> None:
    """A row of thumbnails of each class and device of each split, and of each kind of negative."""
    groups: dict[tuple[str, str, str], list[_Task]] = {}
    for task in tasks:
        device = "" if task.split == "negatives" else task.device
        groups.setdefault((task.split, device, task.name), []).append(task)
    rows = []
    for (split, device, name), members in groups.items():
        strip = np.full((_SHEET_SIDE + 16, _SHEET_COLUMNS * _SHEET_SIDE, 3), 255, np.uint8)
        title = " / ".join(part for part in (split, device, name) if part)
        cv2.putText(strip, title, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (60, 60, 60), 1, cv2.LINE_AA)
        for column, member in enumerate(members[:_SHEET_COLUMNS]):
            data = np.fromfile(root / member.relative_path, np.uint8)
            image = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
            thumbnail = cv2.resize(image, (_SHEET_SIDE, _SHEET_SIDE), interpolation=cv2.INTER_AREA)
            strip[16:, column * _SHEET_SIDE : (column + 1) * _SHEET_SIDE] = thumbnail
        rows.append(strip)
    cv2.imwrite(str(root / CONTACT_SHEET), np.vstack(rows))


def _readme(plan: SynthesisPlan) -> str:
    command = (
        f"wbc-train synthesize --train-per-class {plan.train_per_class} --test-per-class "
        f"{plan.test_per_class} --devices {','.join(plan.devices)} --unseen-device "
        f"{plan.unseen_device or 'none'} --negatives-per-kind {plan.negatives_per_kind} --fields-per-device "
        f"{plan.fields_per_device} --seed {plan.seed}"
    )
    return (
        "# Painted white blood cells\n\n"
        f"{DISCLAIMER}\n\n"
        "Every image here was drawn by a program; none shows a patient's blood. Made by\n\n"
        f"    {command}\n\n"
        "Folders: `<split>/<Class>/`, `masks/` (0 background, 128 cytoplasm, 255 nucleus), "
        "`negatives/<kind>/` (no white cell).\nTables: `manifest.csv` (device, slide, box in pixels, mask), "
        "`attributes.csv` (WBCAtt's eleven). Whole fields, where there are any: `fields/<device>/`, with "
        "boxes in `fields/fields.csv` and outlines as GeoJSON. Look at `contact_sheet.png`.\n"
    )
