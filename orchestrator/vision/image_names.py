"""Which files of a folder or an archive are meant as cells: one rule, wherever files come in together.

Bytes decide. A name decides in two cases alone: what systems put beside images is none, whatever is in it;
and what is called an image and does not begin as one is taken all the same, so that a damaged cell is told
and not lost.
"""

import re
from typing import Final

from orchestrator.vision.containers import is_image

START_BYTES: Final = 512
"""Of a file that its kind is told from."""

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm"})

_OF_SYSTEMS: Final = frozenset(
    {
        *("__macosx", "icon\r", "network trash folder", "temporary items"),
        *("thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin", "recycler", "system volume information"),
        *("@eadir", "#recycle", "#snapshot", "lost+found", "lost.dir"),
        "dicomdir",
    }
)
"""In small letters: of macOS, of Windows, of network storage and others. The folders hold thumbnails and what
was removed. DICOMDIR is the table of contents of DICOM media (PS3.10, 8.6)."""


def is_of_a_system(name: str) -> bool:
    """Whether an operating system or a medium put the file, or a folder of its path, there; or hid it."""
    parts = re.split(r"[/\\]", name)
    return any((part.startswith(".") and part.strip(".")) or part.lower() in _OF_SYSTEMS for part in parts)


def is_cell(name: str, start: bytes) -> bool:
    """Whether a file that nobody chose by its name is a cell; ``start``: its first ``START_BYTES``."""
    suffix = re.search(r"\.[^./\\]*\Z", name)
    is_called_image = suffix is not None and suffix[0].lower() in IMAGE_SUFFIXES
    return not is_of_a_system(name) and (is_called_image or is_image(start))
