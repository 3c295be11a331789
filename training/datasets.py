"""Reading labelled images laid out as ``<root>/{Train,TestA,TestB}/<Class>/*`` and splitting them.

Where the root holds a ``manifest.csv`` (columns ``path``, ``device``, ``slide``, and ``mask`` where there are
true masks), device and slide of each image come from it; without one every image counts as its own slide.
"""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.vision.decode import decode

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"})
UNKNOWN_DEVICE: Final = "unknown"

NOT_WBC_INDEX: Final = len(CLASS_NAMES)
"""Stands in for the class of an image that shows none of the five."""

Stratum = tuple[str, int]
"""Device and class."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One labelled image file. ``slide`` is empty where it is not known.

    ``mask`` is an image of the same size, drawn by a person: 0 background, 128 cytoplasm, 255 nucleus.
    ``cell`` is a name that several images of one cell share; empty where every image is a cell of its own.
    """

    path: Path
    class_index: int
    device: str = UNKNOWN_DEVICE
    slide: str = ""
    mask: Path | None = None
    cell: str = ""

    def load(self) -> UInt8Array:
        """Decode the file to uint8 ``[H, W, 3]`` RGB by the very code that serves.

        Raises :class:`orchestrator.errors.InvalidImage`.
        """
        return decode(self.path.read_bytes()).rgb

    def load_true_mask(self) -> UInt8Array | None:
        """Decode the true mask, uint8 ``[H, W]`` with the levels 0, 128 and 255; None where there is none.

        Raises :class:`ConfigurationError` where the manifest names a file that is missing or no image.
        """
        if self.mask is None:
            return None
        levels = None
        if self.mask.is_file():
            data = np.frombuffer(self.mask.read_bytes(), np.uint8)
            levels = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE) if data.size else None
        if levels is None:
            raise ConfigurationError(
                f"expected an image with the mask of {self.path.name} at {self.mask}, found none"
            )
        return np.asarray(levels, np.uint8)


def read_split(root: Path, split: str) -> list[Sample]:
    """The samples of ``root/split``, ordered by path.

    Raises :class:`ConfigurationError` where the folder, or every image in it, is missing.
    """
    folder = root / split
    if not folder.is_dir():
        raise ConfigurationError(f"expected a folder {folder} with one sub-folder per class, found none")
    manifest = _read_manifest(root)
    samples = [
        Sample(path, index, *manifest.get(path.relative_to(root).as_posix(), (UNKNOWN_DEVICE, "", None)))
        for index, name in enumerate(CLASS_NAMES)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not samples:
        raise ConfigurationError(
            f"expected images in {folder}/<Class>/ with classes {', '.join(CLASS_NAMES)}, found none"
        )
    return samples


def read_device(folder: Path) -> list[Sample]:
    """The samples of one more device, ``<folder>/<Class>/*``, that may be trained on, ordered by path.

    ``manifest.csv`` beside the folder says slide and cell (``cell_group``) of each. Left out is what its
    ``note`` calls a ``label_conflict``, and every image whose slide, or field, ``../fields/fields.csv`` holds
    back as
    ``test``.

    Raises :class:`ConfigurationError` where the folder, or every image in it, is missing.
    """
    folder = folder.resolve()  # "." and "chula" have no parent to look for the tables in
    root = folder.parent
    rows = {row["path"]: row for row in table_rows(root / "manifest.csv", {"path", "slide"})}
    slides, fields = _held_back(root.parent / "fields" / "fields.csv", folder.name)
    samples = []
    for sample in read_split(root, folder.name):
        row = rows.get(sample.path.relative_to(root).as_posix(), {})
        stem = sample.path.stem
        is_test = sample.slide in slides or any(
            stem == name or stem.startswith(f"{name}_") for name in fields
        )
        if not is_test and not row.get("note", "").startswith("label_conflict"):
            samples.append(replace(sample, cell=row.get("cell_group", "")))
    return samples


def read_negatives(folder: Path, *, held_out: bool = False) -> list[Sample]:
    """Images of ``<device>/<folder>/<kind>/*`` that show none of the five classes, ordered by path.

    Their class is :data:`NOT_WBC_INDEX`, their ``slide`` the kind: erythroblast, platelet and so on. A half
    of them, chosen by their names, is never trained on: ``held_out`` gives that half instead of the other.

    Raises :class:`ConfigurationError` where the folder, or every image in it, is missing.
    """
    folder = folder.resolve()
    samples = [
        Sample(path, NOT_WBC_INDEX, folder.parent.name, slide=path.parent.name)
        for path in sorted(folder.glob("*/*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and _is_held_out(path.name) == held_out
    ]
    if not samples:
        raise ConfigurationError(f"expected images in {folder}/<kind>/, found none")
    return samples


def _is_held_out(name: str) -> bool:
    return hashlib.sha256(name.encode()).digest()[0] % 2 == 1


def _held_back(fields_csv: Path, device: str) -> tuple[set[str], set[str]]:
    """Slides, and names of fields, of a device that are kept for the test.

    Raises :class:`ConfigurationError` for a split that is neither ``dev`` nor ``test``: a slip of the pen
    must not let a test image into training.
    """
    rows = table_rows(fields_csv, {"path", "slide", "split"})
    if wrong := sorted({row["split"] for row in rows} - {"dev", "test"}):
        received = ", ".join(map(repr, wrong))
        raise ConfigurationError(f"{fields_csv.name}: expected dev or test as split, received {received}")
    test = [row for row in rows if row["split"] == "test" and row["path"].startswith(f"{device}/")]
    return {row["slide"] for row in test if row["slide"]}, {Path(row["path"]).stem for row in test}


def read_run_samples(
    root: Path,
    split: str,
    devices: Sequence[str] = (),
    validate_device: str | None = None,
    more: Sequence[Path] = (),
) -> list[Sample]:
    """The samples that a run has to do with: of ``devices`` and of the held-out one, of all where empty.

    ``more`` are folders of further devices (:func:`read_device`).

    Raises :class:`ConfigurationError` where there is none, or a named device has none.
    """
    samples = [*read_split(root, split), *(sample for folder in more for sample in read_device(folder))]
    known = {sample.device for sample in samples}
    named = {*devices, *([validate_device] if validate_device else [])}
    if not named <= known:
        raise ConfigurationError(
            f"expected devices of manifest.csv ({', '.join(sorted(known))}), received "
            f"{', '.join(sorted(named))}"
        )
    return [sample for sample in samples if not devices or sample.device in named]


def split_parts(
    samples: Sequence[Sample], fraction: float, seed: int, validate_device: str | None = None
) -> tuple[list[Sample], list[Sample]]:
    """Split into (training, validation): by a whole device where one is named, else :func:`validation_split`.

    Raises :class:`ConfigurationError` where nothing would be left to train on, or nothing to validate on.
    """
    if validate_device is None:
        training, validation = validation_split(samples, fraction, seed)
        if not validation:
            raise ConfigurationError(
                f"no slide is small enough to hold out {fraction:.0%} of its images for validation: expected "
                "more slides in manifest.csv, or an empty column slide"
            )
        return training, validation
    training = [sample for sample in samples if sample.device != validate_device]
    if not training:
        raise ConfigurationError(
            f"expected images of another device than {validate_device!r} to train on, found none"
        )
    return training, [sample for sample in samples if sample.device == validate_device]


def validation_split(
    samples: Sequence[Sample], fraction: float, seed: int
) -> tuple[list[Sample], list[Sample]]:
    """Split into (training, validation), stratified by device and class, no slide on both sides.

    Whole slides are taken, the neediest stratum (a class of a device) first, while none exceeds its share
    by more than half; then single images of unknown slides fill each stratum up to its share. A
    class that lies on one large slide so stays in training, where most of it is needed:
    scikit-learn's StratifiedGroupKFold may put all of it into validation.

    Raises ``ValueError`` unless 0 < fraction <= 0.5.
    """
    if not 0 < fraction <= 0.5:
        raise ValueError(f"expected a validation fraction in (0, 0.5], received {fraction}")
    strata = [(sample.device, sample.class_index) for sample in samples]
    share = {stratum: max(1, round(fraction * n)) for stratum, n in Counter(strata).items()}
    slides: dict[tuple[str, str], Counter[Stratum]] = {}
    for sample, stratum in zip(samples, strata, strict=True):
        if sample.slide:
            slides.setdefault((sample.device, sample.slide), Counter())[stratum] += 1
    occurrences = Counter(stratum for members in slides.values() for stratum in members)
    random = np.random.default_rng(seed)
    lot = dict(zip(slides, random.permutation(len(slides)), strict=True))
    taken: Counter[Stratum] = Counter()

    def urgency(slide: tuple[str, str]) -> tuple[float, int, int]:
        """Least filled stratum first, and of equals the one with the fewest slides to choose from."""
        return min((taken[s] / share[s], occurrences[s], int(lot[slide])) for s in slides[slide])

    chosen = set()
    for _ in range(len(slides)):
        fitting = [
            slide
            for slide, members in slides.items()
            if slide not in chosen
            and all(taken[s] + n <= 1.5 * share[s] for s, n in members.items())
            and any(taken[s] < share[s] for s in members)
        ]
        if not fitting:
            break
        slide = min(fitting, key=urgency)
        chosen.add(slide)
        taken += slides[slide]
    validation = {i for i, s in enumerate(samples) if s.slide and (s.device, s.slide) in chosen}
    for index in random.permutation(len(samples)):
        stratum = strata[index]
        if not samples[index].slide and taken[stratum] < share[stratum]:
            validation.add(int(index))
            taken[stratum] += 1
    return (
        [sample for index, sample in enumerate(samples) if index not in validation],
        [sample for index, sample in enumerate(samples) if index in validation],
    )


def data_fingerprint(samples: Sequence[Sample]) -> str:
    """SHA-256 (hex) over bytes, labels and true masks of the samples: says which data a run has seen."""
    digest = hashlib.sha256()
    for sample in samples:
        digest.update(f"{sample.path.parent.name}/{sample.path.name}\0".encode())
        digest.update(hashlib.sha256(sample.path.read_bytes()).digest())
        if sample.mask is not None:
            digest.update(hashlib.sha256(sample.mask.read_bytes()).digest())
    return digest.hexdigest()


def _read_manifest(root: Path) -> dict[str, tuple[str, str, Path | None]]:
    """Device, slide and mask of each path."""
    return {
        row["path"]: (
            row["device"],
            # A remark in brackets says why the slide is not known; it is no slide.
            "" if row["slide"].startswith("(") else row["slide"],
            root / row["mask"] if row.get("mask") else None,
        )
        for row in table_rows(root / "manifest.csv", {"path", "device", "slide"})
    }


def table_rows(path: Path, needed: set[str]) -> list[dict[str, str]]:
    """The rows of a table that may be missing; none then.

    Raises :class:`ConfigurationError` where it lacks one of the ``needed`` columns, or is no table.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8-sig") as file:  # as spreadsheets write it, too
        rows = csv.DictReader(file, restval="")
        try:
            if missing := needed - set(rows.fieldnames or ()):
                raise ConfigurationError(f"{path.name} lacks the columns {', '.join(sorted(missing))}")
            return list(rows)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ConfigurationError(f"{path.name} is no table of UTF-8 text: {error}") from error


FEW_CELLS: Final = 20
"""A device with fewer cells of a class is drawn less for it: three cells over and over teach nothing."""


def fair_shares(samples: Sequence[Sample]) -> NDArray[np.float64]:
    """How often each sample is to be drawn, float64 ``[N]`` summing to 1.

    Every class alike; in it every device that has ``FEW_CELLS`` of it, and fewer in proportion; and in that
    every cell, however many images there are of it.
    """
    images = Counter((s.device, s.cell) for s in samples if s.cell)
    weights = np.array([1 / images[s.device, s.cell] if s.cell else 1.0 for s in samples])
    shares = np.zeros(len(samples))
    for class_index in {s.class_index for s in samples}:
        of_class = np.array([s.class_index == class_index for s in samples])
        for device in {s.device for s in samples}:
            chosen = of_class & np.array([s.device == device for s in samples])
            if cells := weights[chosen].sum():
                shares[chosen] = weights[chosen] / cells * min(cells, FEW_CELLS)
        shares[of_class] /= shares[of_class].sum()
    return np.asarray(shares / shares.sum(), np.float64)
