"""What the load is made of: painted cells of the sizes that microscopes deliver, and files that are none.

Nothing here is an image of a patient, and nothing is written to disk.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import cv2
import numpy as np
from cv2.typing import MatLike

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.fields import paint_field
from orchestrator.painting.looks import LOOKS
from orchestrator.painting.smear import paint_cell

SIDE_PX: Final = {"scanner": 360, "phone": 575}
"""Frames of the devices whose images the model was trained on: CellaVision DM96 and Raabin's telephone."""

FIELD_SIZE: Final = (675, 1080)
"""Height and width of a field as a microscope's camera photographs it."""

UM_PER_PX: Final = 0.1

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png"})


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file as a laboratory sends it."""

    name: str
    data: bytes
    media_type: str


def painted_cells(per_class: int = 4, seed: int = 0) -> list[ImageFile]:
    """JPEG files (quality 95, 10 to 60 kB) of every class and both devices; the same for the same seed."""
    files = []
    for device, side in SIDE_PX.items():
        for name in CLASS_NAMES:
            for number in range(per_class):
                random = np.random.default_rng((seed, number, side, CLASS_NAMES.index(name)))
                rgb = paint_cell(name, LOOKS[device](random), random).rgb
                resized = cv2.resize(rgb, (side, side), interpolation=cv2.INTER_CUBIC)
                files.append(_jpeg(f"{device}-{name}-{number}.jpg", resized))
    return files


def painted_fields(counts: Sequence[int] = (1, 3)) -> list[ImageFile]:
    """JPEG files of whole fields with so many white cells each."""
    return [field_file(count) for count in counts]


def field_file(cells: int, seed: int = 0) -> ImageFile:
    """A JPEG file of a field in which so many white cells lie whole.

    Of one cell it has :data:`FIELD_SIZE`, of several it is a square of as many pixels.

    Raises ``ValueError`` where there is no room for them.
    """
    height, width = FIELD_SIZE
    side = width if cells == 1 else math.isqrt(height * width)
    random = np.random.default_rng((seed, cells))
    names = [CLASS_NAMES[number % len(CLASS_NAMES)] for number in range(cells)]
    field = paint_field(LOOKS["scanner"](random), random, names, side_um=UM_PER_PX * side, crowding=0.25)
    if len(field.cells) != cells:
        raise ValueError(f"expected a number of cells for which there is room in a field, received {cells}")
    rgb = cv2.resize(field.rgb, (side, side), interpolation=cv2.INTER_AREA)
    if cells == 1:
        _, top, _, bottom = (edge * side / field.rgb.shape[0] for edge in field.cells[0].box)
        first = round(min(max((top + bottom - height) / 2, 0), side - height))
        rgb = rgb[first : first + height]
    return _jpeg(f"field-{cells}.jpg", rgb)


def files_of(folder: Path, limit: int | None = None) -> list[ImageFile]:
    """The JPEG and PNG files of a folder and those below it, evenly spread where more than ``limit``.

    Raises ``ValueError`` where there is none.
    """
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ValueError(f"expected JPEG or PNG files in {folder}, found none")
    if limit is not None and len(paths) > limit:
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, limit).round().astype(int)]
    return [
        # Numbered: the name of a file may name a patient.
        ImageFile(f"{number}{path.suffix.lower()}", path.read_bytes(), _media_type(path))
        for number, path in enumerate(paths)
    ]


def bad_files(cells: Sequence[ImageFile]) -> list[ImageFile]:
    """What arrives by mistake; the service must refuse each with 400, 413 or 415."""
    cell = cells[0]
    return [
        ImageFile("cut-off.jpg", cell.data[:600], cell.media_type),
        ImageFile("empty.jpg", b"", "image/jpeg"),
        ImageFile("notes.jpg", b"Patient seen on Monday, smear to follow.\n" * 20, "image/jpeg"),
        ImageFile("report.pdf", b"%PDF-1.7\n" + bytes(4096), "application/pdf"),
        ImageFile("too-large.bmp", b"BM" + bytes(10 * 2**20 + 1), "image/bmp"),
    ]


def _jpeg(name: str, rgb: MatLike) -> ImageFile:
    _, data = cv2.imencode(".jpg", rgb[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return ImageFile(name, data.tobytes(), "image/jpeg")


def _media_type(path: Path) -> str:
    return "image/png" if path.suffix.lower() == ".png" else "image/jpeg"
