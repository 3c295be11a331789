"""Reads the segments of a JPEG file.

Reference: ITU-T T.81, annex B.
"""

import re
import struct
from typing import Final

from orchestrator.errors import UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck
from orchestrator.vision.containers.tiff_directory import exif_orientation

_JPEG_MARKER: Final = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])", re.DOTALL)
"""The next marker other than a restart marker: 0xFF and a code that is neither stuffing nor fill."""

_JPEG_MAX_SCANS: Final = 64
"""Encoders write about 10. Each scan is a pass over the whole image: thousands of tiny ones would keep
the decoder busy for hours."""


def read_jpeg(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a JPEG: baseline or progressive Huffman, 8 bits, grey, colour or CMYK.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of the format.
    """
    kept = [b"\xff\xd8"]
    width = height = components = orientation = scans = 0
    progressive = False
    position = 2
    while True:
        match = _JPEG_MARKER.search(payload, position)
        if match is None:
            raise UndecodableImage("The JPEG data ends before its end marker: the file is truncated.")
        marker, position = match[1][0], match.end()
        if marker == 0xD9:
            break
        if marker in (0x01, 0xD8):
            raise UndecodableImage("The JPEG data has a marker where none may be.")
        (length,) = struct.unpack_from(">H", payload, position)
        body = payload[position + 2 : position + length]
        if length < 2 or len(body) != length - 2:
            raise UndecodableImage("A JPEG segment is truncated or corrupt.")
        position += length
        if marker == 0xF7:
            raise UnsupportedImage(
                "The file is JPEG-LS, which is read in DICOM alone; save the image as PNG or TIFF."
            )
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if width:
                raise UndecodableImage("The JPEG data has two frame headers.")
            precision, height, width, components = struct.unpack_from(">BHHB", body)
            check_size(width, height)
            if marker not in (0xC0, 0xC1, 0xC2) or precision != 8 or components not in (1, 3, 4):
                raise UnsupportedImage(
                    "This kind of JPEG (lossless, arithmetic, 12-bit or multi-channel) is not supported."
                )
            progressive = marker == 0xC2
        elif marker == 0xE1 and body.startswith(b"Exif\0\0"):
            orientation = orientation or exif_orientation(body)
        if marker == 0xDA:
            scans += 1
            if not width or scans > _JPEG_MAX_SCANS:
                raise UndecodableImage("The JPEG data has scans without a frame, or too many of them.")
            following = _JPEG_MARKER.search(payload, position)
            if following is None:
                raise UndecodableImage("The JPEG data ends within a scan: the file is truncated.")
            kept.append(b"\xff\xda" + payload[position - length : following.start()])
            position = following.start()
        elif _decides_jpeg_pixels(marker, body):
            kept.append(bytes((0xFF, marker)) + payload[position - length : position])
    if not scans:
        raise UndecodableImage("The JPEG data holds no image.")
    kept.append(b"\xff\xd9")
    return ImageContainer(
        "image/jpeg",
        width,
        height,
        b"".join(kept),
        orientation=orientation or 1,
        needs_probe=progressive or components == 4,
        is_lossy=True,
    )


def _decides_jpeg_pixels(marker: int, body: bytes) -> bool:
    if 0xE0 <= marker <= 0xEF:  # The colour transform depends on these two application segments alone.
        return (marker == 0xE0 and body.startswith(b"JFIF\0")) or (
            marker == 0xEE and body.startswith(b"Adobe")
        )
    return marker != 0xFE
