"""Reads the chunks of a WebP file.

Reference: RFC 9649, *WebP Image Format*.
"""

import struct
from typing import Final

from orchestrator.errors import UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck
from orchestrator.vision.containers.tiff_directory import exif_orientation

_WEBP_ANIMATION_FLAG: Final = 0x02
_WEBP_ALPHA_FLAG: Final = 0x10


def read_webp(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a WebP, lossy or lossless, that is not animated.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of the format.
    """
    (riff_bytes,) = struct.unpack_from("<I", payload, 4)
    end = 8 + riff_bytes
    if end > len(payload):
        raise UndecodableImage("The WebP data is shorter than its header says: the file is truncated.")
    kept: list[bytes] = []
    size: tuple[int, int] | None = None
    orientation, position = 1, 12
    while position + 8 <= end:
        kind, length = struct.unpack_from("<4sI", payload, position)
        body = payload[position + 8 : position + 8 + length]
        if position + 8 + length > end:
            raise UndecodableImage("A WebP chunk is longer than the file: it is truncated or corrupt.")
        position += 8 + length + length % 2
        if kind in (b"ANIM", b"ANMF") or (kind == b"VP8X" and body[0] & _WEBP_ANIMATION_FLAG):
            raise UnsupportedImage("The WebP is animated; send a single image.")
        if kind == b"EXIF":
            orientation = exif_orientation(body)
        if kind in (b"VP8X", b"VP8 ", b"VP8L"):
            chunk_size = _webp_size(kind, body)
            check_size(*chunk_size)
            if size not in (None, chunk_size):
                raise UndecodableImage("The WebP data gives two different sizes.")
            size = chunk_size
        if kind == b"VP8X":
            body = bytes((body[0] & _WEBP_ALPHA_FLAG,)) + body[1:]
        if kind in (b"VP8X", b"ALPH", b"VP8 ", b"VP8L"):
            kept.append(kind + struct.pack("<I", len(body)) + body + bytes(length % 2))
    if size is None:
        raise UndecodableImage("The WebP data holds no image.")
    data = b"WEBP" + b"".join(kept)
    return ImageContainer(
        "image/webp",
        *size,
        b"RIFF" + struct.pack("<I", len(data)) + data,
        orientation=orientation,
        is_lossy=any(chunk.startswith(b"VP8 ") for chunk in kept),
    )


def _webp_size(kind: bytes, body: bytes) -> tuple[int, int]:
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L" and body[0] == 0x2F:
        (packed,) = struct.unpack_from("<I", body, 1)
        return (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", body, 6)
        return width & 0x3FFF, height & 0x3FFF
    raise UndecodableImage("The WebP pixel data is corrupt.")
