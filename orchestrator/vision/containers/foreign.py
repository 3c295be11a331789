"""Knows files of other formats by their first bytes, so that a refusal says what was sent and what to do."""

import re
from dataclasses import dataclass
from typing import Final

from orchestrator.errors import UnsupportedImage

_AS_PNG: Final = "save the image as PNG or TIFF"
_MICROSCOPE: Final = "export the single image as TIFF or PNG from the microscope's program"


@dataclass(frozen=True, slots=True)
class ForeignFormat:
    """A format that is not read. ``is_picture``: who sends it means it as an image of a cell."""

    name: str
    magic: re.Pattern[bytes]
    advice: str
    is_picture: bool = True


def _known(name: str, magic: bytes, advice: str = _AS_PNG, *, is_picture: bool = True) -> ForeignFormat:
    return ForeignFormat(name, re.compile(magic, re.DOTALL), advice, is_picture)


_FORMATS: Final = (
    _known("a GIF", rb"GIF8"),
    _known(
        "AVIF", rb".{4}ftyp(?:avi[fs]|(?:mif1|msf1).{4}(?:.{4}){0,16}?avi[fs])", "export it as JPEG or PNG"
    ),
    _known(
        "HEIC, as telephones write it",
        rb".{4}ftyp(?:hei[cxms]|hev[cxms]|mif1|msf1)",
        "export it as JPEG, or let the camera write JPEG (iPhone: Camera, Formats, Most Compatible)",
    ),
    _known("JPEG XL", rb"\xff\x0a|\0\0\0\x0cJXL \r\n\x87\n", "export it as JPEG or PNG"),
    _known(
        "JPEG 2000",
        rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51",
        "save it as PNG or TIFF; it is read in DICOM",
    ),
    _known("JPEG XR", rb"II\xbc\x01"),
    _known("a Photoshop document", rb"8BPS"),
    _known("OpenEXR", rb"v/1\x01"),
    _known("a CZI of ZEISS", rb"ZISRAWFILE", _MICROSCOPE),
    _known("an ND2 of Nikon", rb"\xda\xce\xbe\x0a", _MICROSCOPE),
    _known("a LIF of Leica", rb"\x70\0\0\0.{4}\x2a", _MICROSCOPE),
    _known("a video", rb".{4}ftyp", "send a single image", is_picture=False),
    _known("an SVG drawing", rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?)?<svg[\s>]", _AS_PNG, is_picture=False),
    _known("a PDF", rb"%PDF-", "send the image that is in it", is_picture=False),
    _known("a zip archive", rb"PK\x03\x04|PK\x05\x06", "unpack it and send one image", is_picture=False),
    _known("compressed by gzip", rb"\x1f\x8b", "unpack it and send the image", is_picture=False),
)
"""The first that fits."""

_LOOKED_AT: Final = 1024
"""Bytes; the letters of an SVG may stand behind a declaration."""


def foreign_format(payload: bytes) -> ForeignFormat | None:
    """What the bytes begin as, if that is known."""
    start = payload[:_LOOKED_AT]
    return next((one for one in _FORMATS if one.magic.match(start)), None)


def not_read(payload: bytes) -> UnsupportedImage:
    """The refusal of a file that is none of the formats read."""
    known = foreign_format(payload)
    if known is None:
        return UnsupportedImage("The file is not a JPEG, PNG, BMP, TIFF, WebP or DICOM image.")
    return UnsupportedImage(f"The file is {known.name}, which is not read; {known.advice}.")
