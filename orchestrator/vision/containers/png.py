"""Reads the chunks of a PNG file.

Reference: W3C, *Portable Network Graphics*, third edition (2025).
"""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

from orchestrator.errors import UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck
from orchestrator.vision.containers.tiff_directory import exif_orientation

_PNG_SAMPLES: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_ADAM7: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
"""Start column, start row, column step, row step of each pass of an interlaced image."""


def read_png(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a PNG of any colour type and depth.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of the format.
    """
    chunks = _png_chunks(payload)
    kind, header = next(chunks)
    if kind != b"IHDR" or len(header) != 13:
        raise UndecodableImage("The PNG data does not start with its header.")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(">IIBBBBB", header)
    check_size(width, height)
    if depth not in _PNG_DEPTHS.get(colour, ()) or compression or filtering or interlace > 1:
        raise UndecodableImage("The PNG header has values that the format does not define.")
    kept: dict[bytes, list[bytes]] = {b"IHDR": [header], b"PLTE": [], b"tRNS": [], b"IDAT": []}
    orientation = 1
    for kind, body in chunks:
        if kind == b"acTL":
            raise UnsupportedImage("The PNG is animated; send a single image.")
        if kind == b"eXIf":
            orientation = exif_orientation(body)
        elif kind in kept:
            kept[kind].append(body)
        elif not kind[0] & 0x20 and kind != b"IEND":
            raise UndecodableImage("The PNG data has a critical chunk that the format does not define.")
    if any(len(kept[once]) > 1 for once in (b"IHDR", b"PLTE", b"tRNS")):
        raise UndecodableImage("The PNG data repeats a chunk that may occur once.")
    if colour == 3 and not kept[b"PLTE"]:
        raise UndecodableImage("The PNG data lacks its palette.")
    rows = _png_raw_bytes(width, height, depth * _PNG_SAMPLES[colour], bool(interlace))
    if _inflated_bytes(kept[b"IDAT"], at_most=rows) < rows:
        raise UndecodableImage("The PNG data holds fewer pixels than its header says.")
    key = None
    if colour != 3 and kept[b"tRNS"]:  # Pillow knows only a palette's transparency at every depth.
        key = _png_colour_key(kept[b"tRNS"].pop(), depth, colour)
    return ImageContainer(
        "image/png",
        width,
        height,
        b"\x89PNG\r\n\x1a\n"
        + b"".join(_png_chunk(kind, body) for kind, bodies in kept.items() for body in bodies)
        + _png_chunk(b"IEND", b""),
        orientation=orientation,
        transparent_rgb=key,
        max_value=65_535 if depth == 16 else 255,
        is_deep=depth == 16,
    )


def _png_chunks(payload: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Every chunk up to and with IEND, each with its checksum verified."""
    position, kind = 8, b""
    while kind != b"IEND":
        if position + 12 > len(payload):
            raise UndecodableImage("The PNG data ends before its end chunk: the file is truncated.")
        length, kind = struct.unpack_from(">I4s", payload, position)
        end = position + 8 + length
        if end + 4 > len(payload):
            raise UndecodableImage("A PNG chunk is longer than the file: it is truncated or corrupt.")
        (checksum,) = struct.unpack_from(">I", payload, end)
        if zlib.crc32(memoryview(payload)[position + 4 : end]) != checksum:
            raise UndecodableImage("A checksum of the PNG data is wrong: the file is corrupt.")
        yield kind, payload[position + 8 : end]
        position = end + 4


def _png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _png_raw_bytes(width: int, height: int, bits_per_pixel: int, interlaced: bool) -> int:
    """Bytes of the inflated image data: one filter byte and the packed pixels for every row."""
    total = 0
    for column, row, column_step, row_step in _ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns = (width - column + column_step - 1) // column_step
        rows = (height - row + row_step - 1) // row_step
        if columns > 0 and rows > 0:
            total += rows * (1 + (columns * bits_per_pixel + 7) // 8)
    return total


def _inflated_bytes(parts: list[bytes], at_most: int) -> int:
    """Bytes that a zlib stream inflates to, counted in small steps and no further than ``at_most`` + 1.

    Pillow takes a stream that ends early without complaint and leaves the rest of the image black.
    """
    stream = zlib.decompressobj()
    total = 0
    try:
        for part in parts:
            while part and not stream.eof and total <= at_most:
                total += len(stream.decompress(part, 1 << 16))
                part = stream.unconsumed_tail
        while not stream.eof and total <= at_most:
            more = len(stream.decompress(b"", 1 << 16))
            if not more:
                break
            total += more
    except zlib.error as error:
        raise UndecodableImage("The PNG pixel data is corrupt.") from error
    if not stream.eof and total <= at_most:
        raise UndecodableImage("The PNG pixel data is truncated.")
    return total


def _png_colour_key(body: bytes, depth: int, colour: int) -> tuple[int, int, int] | None:
    if colour not in (0, 2):
        return None
    values = struct.unpack_from(">HHH" if colour == 2 else ">H", body)
    red, green, blue = values if colour == 2 else values * 3
    if depth == 16:
        return red >> 8, green >> 8, blue >> 8
    scale = 255 // ((1 << depth) - 1)
    return red * scale, green * scale, blue * scale
