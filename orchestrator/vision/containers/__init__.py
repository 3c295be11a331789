"""Reads the containers of the six image formats and keeps only what a pixel decoder needs.

Image libraries forgive: they fill what a truncated file lacks with grey or black, follow metadata
wherever it leads and inflate what a header promises. None of that is acceptable for an image that is
about to be judged. So the containers are read here first, strictly and without touching a pixel:

- recognised by their bytes;
- measured, so that an image with too many pixels is refused from its header;
- checked to be whole (every JPEG marker up to the end marker, every PNG checksum, every BMP row, TIFF
  strip and RIFF chunk, every byte of DICOM pixels);
- stripped of comments, colour profiles, EXIF, patients and every other metadata, of which only the
  orientation is kept. What reaches the pixel decoder carries no text, no names and no dates.
"""

import re
import struct
from typing import Final

from orchestrator.errors import ImageTooLarge, InvalidImage, UndecodableImage
from orchestrator.vision.containers.base import ImageContainer
from orchestrator.vision.containers.bmp import read_bmp
from orchestrator.vision.containers.dicom import is_dicom, read_dicom
from orchestrator.vision.containers.foreign import foreign_format, not_read
from orchestrator.vision.containers.jpeg import read_jpeg
from orchestrator.vision.containers.png import read_png
from orchestrator.vision.containers.tiff import read_tiff
from orchestrator.vision.containers.webp import read_webp

__all__ = ["MAX_SIDE", "ImageContainer", "is_dicom", "is_image", "read_container"]

MAX_SIDE: Final = 65_535
"""Pixels; what a JPEG header can express. Longer images are not photographs of a cell."""

_READERS: Final = (
    # First, because anything may stand before it, the header of a TIFF for readers who know that only.
    (re.compile(rb".{128}DICM\x02\0", re.DOTALL), read_dicom),
    (re.compile(rb"\xff\xd8\xff"), read_jpeg),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), read_png),
    # Two letters are a weak sign, so the length of the second header must be one that exists.
    (re.compile(rb"BM(?:.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0|.{0,15}\Z)", re.DOTALL), read_bmp),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), read_tiff),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), read_webp),
)


def read_container(payload: bytes, max_pixels: int) -> ImageContainer:
    """Recognise ``payload`` by its bytes and read its container.

    Raises:
        UndecodableImage: empty, truncated, corrupt, or without a pixel.
        UnsupportedImage: none of the six formats; animated or of several pages; a rare kind of a format.
        ImageTooLarge: more than ``max_pixels`` pixels, or a side over ``MAX_SIDE``.
    """
    if not payload:
        raise UndecodableImage("The file is empty.")

    def check_size(width: int, height: int) -> None:
        if width <= 0 or height <= 0:
            raise UndecodableImage(f"The image has no pixels: its header says {width} x {height}.")
        if width * height > max_pixels or max(width, height) > MAX_SIDE:
            raise ImageTooLarge(
                f"The image has {width} x {height} pixels; at most {max_pixels} pixels "
                f"and {MAX_SIDE} per side are accepted."
            )

    for magic, read in _READERS:
        if magic.match(payload):
            try:
                return read(payload, check_size)
            except (struct.error, IndexError) as error:
                raise UndecodableImage("The image's header is truncated.") from error
    raise not_read(payload)


class _SizeKnown(Exception):
    def __init__(self, pixels: int) -> None:
        super().__init__()
        self.pixels = pixels


def pixels_of(payload: bytes) -> int:
    """Width times height, as the header says, and nothing read after that; 0 where there is no such."""

    def end(width: int, height: int) -> None:
        raise _SizeKnown(width * height)

    for magic, read in _READERS:
        if magic.match(payload):
            try:
                read(payload, end)
            except _SizeKnown as known:
                return known.pixels
            except (struct.error, IndexError, InvalidImage):
                return 0
    return 0


def is_image(start: bytes) -> bool:
    """Whether a file that begins so is a picture, of a format that is read or of another one."""
    foreign = foreign_format(start)
    return any(magic.match(start) for magic, _ in _READERS) or (foreign is not None and foreign.is_picture)
