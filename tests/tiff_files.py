"""TIFF files of every kind that the format has for photographs, written from the samples up.

Reference: Adobe, *TIFF Revision 6.0* (1992), and *The BigTIFF File Format*.
"""

import io
import struct
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

NONE, LZW, JPEG, DEFLATE, PACKBITS = 1, 5, 7, 8, 32773
_TYPES = {"B": 1, "H": 3, "I": 4, "Q": 16}


def tiff_of(
    samples: NDArray[Any],
    depth: int,
    photometric: int,
    *,
    compression: int = NONE,
    planar: bool = False,
    byte_order: str = "<",
    tiled: bool = False,
    predictor: bool = False,
    big: bool = False,
    fill_order: int = 1,
    tags: Mapping[int, tuple[str, list[int]]] | None = None,
    following: bytes = b"",
    begins_at: int = 0,
    shared_tables: bool = False,
) -> bytes:
    """The file of unsigned ``[height, width, samples]``. Strips have 8 rows, tiles 16 x 16 pixels.

    ``tags`` replace what would be written; ``following`` is the whole of a second directory, whose offsets
    count from nowhere. Offsets count from ``begins_at`` bytes before this. ``shared_tables``: those of the
    JPEGs stand in a tag of their own.
    """
    height, width, count = samples.shape
    parts = [samples[..., [n]] for n in range(count)] if planar else [samples]
    blocks = []
    for part in parts:
        for block in _blocks(part, tiled):
            if predictor:
                block = block.copy()
                block[:, 1:] -= part_left(block)
            if compression == JPEG:
                blocks.append(_jpeg(block, photometric, 2 if shared_tables else 0))
            else:
                packed = _packed(block, depth, byte_order)
                data = _compressed(packed, compression)
                blocks.append(data.translate(_REVERSED) if fill_order == 2 else data)
    number = "Q" if big else "I"
    entries: dict[int, tuple[str, list[int]]] = {
        256: ("I", [width]), 257: ("I", [height]), 258: ("H", [depth] * count), 259: ("H", [compression]),
        262: ("H", [photometric]), 266: ("H", [fill_order]), 277: ("H", [count]), 284: ("H", [2 if planar else
        1]), 317: ("H", [2 if predictor else 1]),
    }  # fmt: skip
    if tiled:
        entries |= {322: ("H", [16]), 323: ("H", [16])}
    else:
        entries[278] = ("H", [8])
    if shared_tables:
        entries[347] = ("B", list(_jpeg(block, photometric, 1)))
    entries |= tags or {}
    head = 16 if big else 8
    offsets = begins_at + head + np.cumsum([0, *map(len, blocks)])
    entries[324 if tiled else 273] = (number, [int(offset) for offset in offsets[:-1]])
    entries[325 if tiled else 279] = (number, [len(block) for block in blocks])
    at = int(offsets[-1])
    values, directory = b"", b""
    room = 8 if big else 4
    for tag, (kind, numbers) in sorted(entries.items()):
        packed_values = struct.pack(f"{byte_order}{len(numbers)}{kind}", *numbers)
        if len(packed_values) > room:
            place = struct.pack(byte_order + number, at + len(values))
            values += packed_values
        else:
            place = packed_values.ljust(room, b"\0")
        directory += struct.pack(byte_order + "HH" + number, tag, _TYPES[kind], len(numbers)) + place
    start = at + len(values)
    directory = struct.pack(byte_order + ("Q" if big else "H"), len(entries)) + directory
    end = start + len(directory) + room
    magic = (b"II" if byte_order == "<" else b"MM") + struct.pack(byte_order + "H", 43 if big else 42)
    magic += struct.pack(byte_order + "HHQ", 8, 0, start) if big else struct.pack(byte_order + "I", start)
    following_at = struct.pack(byte_order + number, end if following else 0)
    return magic + b"".join(blocks) + values + directory + following_at + following


def pyramid_of(whole: NDArray[Any], copy: NDArray[Any], *, kind: int = 1, **options: Any) -> bytes:
    """A file of two RGB images of tiles; ``kind`` is what the second says of itself (NewSubfileType)."""
    first = tiff_of(whole, 8, 2, tiled=True, **options)
    tags = {254: ("I", [kind])}
    second = tiff_of(copy, 8, 2, tiled=True, begins_at=len(first), tags=tags, **options)
    number, at = ("<Q", 8) if options.get("big") else ("<I", 4)
    return first[: -struct.calcsize(number)] + second[at : at + struct.calcsize(number)] + second


def part_left(block: NDArray[Any]) -> NDArray[Any]:
    return block[:, :-1].copy()


_REVERSED = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))


def _blocks(part: NDArray[Any], tiled: bool) -> Iterator[NDArray[Any]]:
    height, width, _ = part.shape
    if not tiled:
        yield from (part[top : top + 8] for top in range(0, height, 8))
        return
    padded = np.pad(part, ((0, -height % 16), (0, -width % 16), (0, 0)), "edge")
    for top in range(0, height, 16):
        yield from (padded[top : top + 16, left : left + 16] for left in range(0, width, 16))


def _packed(block: NDArray[Any], depth: int, byte_order: str) -> list[bytes]:
    """Its rows as bytes."""
    if depth in (8, 16, 32):
        return [row.astype(f"{byte_order}u{depth // 8}").tobytes() for row in block]
    rows = block.reshape(len(block), -1)
    bits = rows[..., np.newaxis] >> np.arange(depth - 1, -1, -1) & 1
    return [np.packbits(row.astype(np.uint8).ravel()).tobytes() for row in bits]


def _compressed(rows: list[bytes], compression: int) -> bytes:
    data = b"".join(rows)
    if compression == DEFLATE:
        return zlib.compress(data)
    if compression == PACKBITS:
        return b"".join(map(packbits, rows))
    return _lzw(data) if compression == LZW else data


def packbits(row: bytes) -> bytes:
    """Runs where two or more bytes are the same, else one literal byte at a time."""
    out, at = bytearray(), 0
    while at < len(row):
        run = 1
        while run < 128 and row[at : at + 1] == row[at + run : at + run + 1]:
            run += 1
        out += bytes((257 - run if run > 1 else 0, row[at]))
        at += run
    return bytes(out)


def _lzw(data: bytes) -> bytes:
    codes: dict[bytes, int] = {}
    bits, width, prefix = "", 9, b""

    def cleared() -> None:
        codes.clear()
        codes.update({bytes((value,)): value for value in range(256)})

    cleared()
    bits += f"{256:09b}"
    following = 258
    for value in data:
        longer = prefix + bytes((value,))
        if longer in codes:
            prefix = longer
            continue
        bits += f"{codes[prefix]:0{width}b}"
        codes[longer] = following
        following += 1
        if following == 4094:
            bits += f"{256:012b}"
            cleared()
            following, width = 258, 9
        else:
            width = 9 + sum(following > limit for limit in (511, 1023, 2047))
        prefix = bytes((value,))
    bits += f"{codes[prefix]:0{width}b}"
    width = 9 + sum(following + 1 > limit for limit in (511, 1023, 2047))
    bits += f"{257:0{width}b}"
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


def _jpeg(block: NDArray[Any], photometric: int, part: int) -> bytes:
    """``part`` 0 is all of it, 1 its tables alone, 2 all but its tables."""
    stream = io.BytesIO()
    pixels = np.ascontiguousarray(block.astype(np.uint8))
    if pixels.shape[-1] == 1:
        Image.fromarray(pixels[..., 0]).save(stream, "JPEG", quality=100, streamtype=part)
    elif pixels.shape[-1] == 4:
        Image.fromarray(255 - pixels, "CMYK").save(
            stream, "JPEG", quality=100, streamtype=part
        )  # which it inverts
    elif photometric == 6:
        Image.fromarray(pixels, "YCbCr").save(stream, "JPEG", quality=100, streamtype=part, subsampling=0)
    else:
        Image.fromarray(pixels).save(stream, "JPEG", quality=100, streamtype=part, keep_rgb=True)
    return stream.getvalue()
