"""Decoded and located images kept on disk, so that the next run starts without decoding.

An entry is named by what it was made of: the bytes of the image and of its mask, and the code and the
libraries that decode and find cells. A changed image, mask or line of that code gives another name, so
that an entry is never out of date; old ones are only in the way, and the folder may be deleted at any
time. Labels are not kept. An entry takes as much space as the pixels in memory, 1.3 MB for 575 x 575 pixels.
"""

import hashlib
import os
import zipfile
from functools import cache
from pathlib import Path
from typing import Final
from uuid import uuid4

import cv2
import numpy as np
import PIL

from orchestrator import vision
from orchestrator.domain import UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.vision.crop import CellLocation
from orchestrator.vision.stain_anchor import StainAnchor
from training.datasets import Sample
from training.images import LoadedImage, load_image

# In orchestrator/vision: what decides the content of an entry, besides training/images.py.
_VISION_SOURCES: Final = (
    "decode.py",
    "containers/*.py",
    "crop.py",
    "foreground.py",
    "cell_outline.py",
    "histogram.py",
    "stain_anchor.py",
)

# zipfile checks a CRC of every array; what a torn or foreign file raises depends on where it is broken.
_UNREADABLE: Final = (
    OSError,
    EOFError,
    KeyError,
    TypeError,
    ValueError,
    NotImplementedError,
    zipfile.BadZipFile,
)


class ImageCache:
    """A folder of entries, safe for several threads and processes at once.

    Raises :class:`ConfigurationError` where the folder cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"expected a folder to keep images in, received {folder}: {error}"
            ) from error
        if not os.access(folder, os.W_OK):
            raise ConfigurationError(f"expected a folder that can be written to, received {folder}")
        self._folder = folder

    def load(self, sample: Sample) -> LoadedImage:
        """Take the sample from its entry; where there is none that can be read, decode it and write one.

        Raises as :func:`training.images.load_image` does.
        """
        path = self.entry(sample)
        image = _read(path, sample.class_index)
        if image is None:
            image = load_image(sample)
            _write(path, image)
        return image

    def entry(self, sample: Sample) -> Path:
        """Where the sample's entry is, or would be."""
        digest = hashlib.sha256(code_fingerprint().encode())
        digest.update(hashlib.sha256(sample.path.read_bytes()).digest())
        if sample.mask is not None and sample.mask.is_file():
            digest.update(hashlib.sha256(sample.mask.read_bytes()).digest())
        return self._folder / f"{digest.hexdigest()}.npz"


@cache
def code_fingerprint() -> str:
    """SHA-256 (hex) of the code, its constants among it, and of the libraries that make an entry."""
    digest = hashlib.sha256(f"{cv2.__version__} {np.__version__} {PIL.__version__}".encode())
    root = Path(vision.__path__[0])
    for path in (*sorted(p for glob in _VISION_SOURCES for p in root.glob(glob)), Path(__file__)):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    digest.update(hashlib.sha256(Path(__file__).with_name("images.py").read_bytes()).digest())
    return digest.hexdigest()


def _read(path: Path, class_index: int) -> LoadedImage | None:
    """The entry, or None where it is missing or broken."""
    try:
        # Opened here: np.load leaves a file open that is not what it seemed.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as entry:
            rgb, cell, mask, is_true = (entry[key] for key in ("rgb", "cell", "mask", "has_true_mask"))
            anchor = entry["anchor"]
    except _UNREADABLE:
        return None
    if not _is_sound(rgb, cell, mask, anchor):
        return None
    return LoadedImage(
        rgb,
        _cell_of(cell),
        class_index,
        mask if mask.size else None,
        bool(is_true),
        _anchor_of(anchor),
    )


def _cell_of(numbers: np.ndarray) -> CellLocation | None:
    """Place and size; nothing at all where there is no cell."""
    if not numbers.size:
        return None
    row, column, size = (float(number) for number in numbers)
    return CellLocation(row, column, size)


def _anchor_of(numbers: np.ndarray) -> StainAnchor | None:
    """Field and density, NaN for a nucleus that there is not; nothing at all where there is no anchor."""
    if not numbers.size:
        return None
    red, green, blue, density = (float(number) for number in numbers)
    return StainAnchor((red, green, blue), None if np.isnan(density) else density)


def _is_sound(rgb: UInt8Array, cell: np.ndarray, mask: UInt8Array, anchor: np.ndarray) -> bool:
    return (
        rgb.dtype == mask.dtype == np.uint8
        and rgb.ndim == 3
        and rgb.shape[2] == 3
        and cell.shape in ((3,), (0,))
        and anchor.shape in ((4,), (0,))
        and mask.shape in (rgb.shape[:2], (0,))
    )


def _write(path: Path, image: LoadedImage) -> None:
    """Under another name first: no reader ever sees half an entry."""
    cell, anchor = image.cell, image.anchor
    density = np.nan if anchor is None or anchor.nucleus_density is None else anchor.nucleus_density
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}.partial")
    try:
        with temporary.open("wb") as file:
            np.savez(
                file,
                rgb=image.rgb,
                cell=np.array([cell.row, cell.column, cell.size] if cell else [], np.float64),
                mask=np.zeros(0, np.uint8) if image.mask is None else image.mask,
                has_true_mask=np.array(image.has_true_mask),
                anchor=np.array([*anchor.field, density] if anchor else [], np.float64),
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
