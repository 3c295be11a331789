"""The pixels of a TIFF, to RGB.

The libtiff in Pillow only decompresses: each band of blocks becomes a file of its own, grey, whose pixels are
the bytes that were compressed. What these mean (byte order, depth, planes, predictor, tiles, colours) is
worked out here, as Pillow misreads some combinations and knows nothing of others. Colours that JPEG has mixed
are the one exception: libtiff separates them.

Reference: Adobe, *TIFF Revision 6.0* (1992).
"""

import io
import struct
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from orchestrator.domain import UInt8Array
from orchestrator.errors import UnsupportedImage
from orchestrator.vision.native_pixels import levels

UNCOMPRESSED: Final = 1
JPEG: Final = 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
COLOURS: Final = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3}
"""The photometric interpretations that are read, and the samples that a pixel has in each, without extra
ones."""

DEPTHS: Final = (1, 2, 4, 8, 12, 16)

_BAND_BYTES: Final = 8 * 2**20
"""Decompressed at a time, where the blocks are smaller."""


@dataclass(frozen=True, slots=True)
class TiffLayout:
    """Where the blocks (strips or tiles) of an image lie, and how their bytes are to be read.

    Blocks have ``block_width`` x ``block_height`` pixels and lie ``across`` side by side; ``offsets`` and
    ``counts``, int64 ``[planes * down * across]``, say where. Samples have ``depth`` bits, of which values
    use ``bits``. ``planes`` is the number of samples where each has blocks of its own, else 1.
    ``is_predicted``: each sample is the difference to the one on its left. ``alpha``: what the first extra
    sample is (1 colours are multiplied by it, 2 they are not), 0 where it means nothing. ``palette`` is uint8
    ``[2 ** depth, 3]``.
    """

    compression: int
    photometric: int
    byte_order: Literal["<", ">"]
    depth: int
    bits: int
    samples: int
    planes: int
    is_tiled: bool
    block_width: int
    block_height: int
    across: int
    offsets: NDArray[np.int64] = field(repr=False)
    counts: NDArray[np.int64] = field(repr=False)
    is_predicted: bool = False
    fill_order: int = 1
    alpha: int = 0
    palette: UInt8Array | None = field(default=None, repr=False)
    jpeg_tables: bytes = field(default=b"", repr=False)

    @property
    def block_row_bytes(self) -> int:
        """Of one row of pixels in one block."""
        return (self.block_width * self.depth * (self.samples // self.planes) + 7) // 8


def tiff_to_rgb(data: bytes, layout: TiffLayout, width: int, height: int) -> UInt8Array:
    """Uint8 ``[height, width, 3]``; full brightness is 255, what is transparent is on white.

    Raises UnsupportedImage where values are over the highest that the file says, and whatever Pillow raises
    for damaged data.
    """
    if layout.compression == UNCOMPRESSED and not layout.is_tiled:
        layout = _row_by_row(layout, height)
    rgb = np.empty((height, width, 3), np.uint8)
    down = -(-height // layout.block_height)
    row_bytes = layout.block_height * layout.across * layout.block_row_bytes * layout.planes
    per_band = max(1, _BAND_BYTES // row_bytes)
    for first in range(0, down, per_band):
        last = min(first + per_band, down)
        top, bottom = first * layout.block_height, min(last * layout.block_height, height)
        planes = [
            _decompressed(data, layout, plane * down + first, plane * down + last, bottom - top)
            for plane in range(layout.planes)
        ]
        step = max(1, _BAND_BYTES // (8 * width * layout.samples))
        for start in range(0, bottom - top, step):
            parts = [_samples(plane[start : start + step], layout)[:, :width] for plane in planes]
            here = np.concatenate(parts, axis=-1)[: bottom - top - start]
            rgb[top + start : top + start + len(here)] = _colours(here, layout)
    return rgb


def _row_by_row(layout: TiffLayout, height: int) -> TiffLayout:
    """The same with a strip for each row, so that one of all rows is not read at once."""
    rows = np.arange(height)
    starts = layout.offsets.reshape(layout.planes, -1)[:, rows // layout.block_height]
    offsets = (starts + rows % layout.block_height * layout.block_row_bytes).ravel()
    counts = np.full_like(offsets, layout.block_row_bytes)
    return replace(layout, block_height=1, offsets=offsets, counts=counts)


def _is_mixed(layout: TiffLayout) -> bool:
    return layout.compression == JPEG and layout.samples > layout.planes


def _decompressed(data: bytes, layout: TiffLayout, first: int, last: int, rows: int) -> UInt8Array:
    """The bytes of the block rows ``first`` to ``last``: uint8 ``[rows, bytes of all blocks in a row]``; or
    the samples, ``[rows, width, samples]``, of a JPEG of several colours."""
    blocks = slice(first * layout.across, last * layout.across)
    if layout.is_tiled:
        rows = (last - first) * layout.block_height
    is_mixed = _is_mixed(layout)
    block_width = layout.block_width if is_mixed else layout.block_row_bytes
    samples = layout.samples if is_mixed else 1
    file = decompressible(
        data,
        (block_width * layout.across, rows),
        layout.compression,
        layout.offsets[blocks],
        layout.counts[blocks],
        block=(block_width if layout.is_tiled else None, layout.block_height),
        photometric=layout.photometric if is_mixed else BLACK_IS_ZERO,
        samples=samples,
        fill_order=layout.fill_order,
        jpeg_tables=layout.jpeg_tables,
    )
    return decompress(file)


def decompress(file: bytes) -> UInt8Array:
    """The pixels of what :func:`decompressible` made."""
    with TiffImageFile(io.BytesIO(file)) as image:
        image.load()
        return np.asarray(image)


def decompressible(
    data: bytes,
    size: tuple[int, int],
    compression: int,
    offsets: NDArray[np.int64],
    counts: NDArray[np.int64],
    *,
    block: tuple[int | None, int],
    photometric: int = BLACK_IS_ZERO,
    samples: int = 1,
    fill_order: int = 1,
    jpeg_tables: bytes = b"",
) -> bytes:
    """A TIFF of 8 bits per sample around blocks of ``data``; ``block``: the width of tiles, else None, and
    the rows of one."""
    begin, end = int(offsets.min()), int((offsets + counts).max())
    tags: dict[int, tuple[str, list[int]]] = {
        256: ("I", [size[0]]),
        257: ("I", [size[1]]),
        258: ("H", [8] * samples),
        259: ("H", [compression]),
        262: ("H", [photometric]),
        266: ("H", [fill_order]),
        277: ("H", [samples]),
    }
    at, length = (273, 279) if block[0] is None else (324, 325)
    if block[0] is None:
        tags[278] = ("I", [block[1]])
    else:
        tags |= {322: ("I", [block[0]]), 323: ("I", [block[1]])}
    if jpeg_tables:
        tags[347] = ("B", list(jpeg_tables))
    values_at = 8 + 2 + 12 * (len(tags) + 2) + 4
    body_at = values_at + 8 * len(offsets) + 2 * samples + len(jpeg_tables) + 16
    tags[at] = ("I", [int(offset) - begin + body_at for offset in offsets])
    tags[length] = ("I", [int(count) for count in counts])
    entries, values = b"", b""
    for tag, (kind, numbers) in sorted(tags.items()):
        packed = struct.pack(f"<{len(numbers)}{kind}", *numbers)
        if len(packed) > 4:
            values += bytes(len(values) % 2)
            place = struct.pack("<I", values_at + len(values))
            values += packed
        else:
            place = packed.ljust(4, b"\0")
        entries += struct.pack("<HHI", tag, {"B": 7, "H": 3, "I": 4}[kind], len(numbers)) + place
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + values
    return head.ljust(body_at, b"\0") + data[begin:end]


def _samples(rows: UInt8Array, layout: TiffLayout) -> NDArray[Any]:
    """Unsigned ``[rows, width of all blocks, samples of a plane]``."""
    if _is_mixed(layout):
        return rows
    per_plane = layout.samples // layout.planes
    shape = (len(rows), layout.across, layout.block_row_bytes)
    flat = _unpacked(np.ascontiguousarray(rows).reshape(shape), layout.depth, layout.byte_order)
    pixels = flat[..., : layout.block_width * per_plane]
    pixels = pixels.reshape(len(rows), layout.across, layout.block_width, per_plane)
    if layout.is_predicted:
        pixels = np.add.accumulate(pixels, axis=2, dtype=pixels.dtype)
    return pixels.reshape(len(rows), -1, per_plane)


def _unpacked(packed: UInt8Array, depth: int, byte_order: str) -> NDArray[Any]:
    """Unsigned ``[..., samples]`` of uint8 ``[..., bytes]``; samples below 8 bits and of 12 begin in the high
    bits."""
    if depth == 8:
        return packed
    if depth == 16:
        return packed.view(byte_order + "u2").astype(np.uint16)
    if depth == 12:
        missing = -packed.shape[-1] % 3
        padded = np.pad(packed, [(0, 0)] * (packed.ndim - 1) + [(0, missing)]).astype(np.uint16)
        first, middle, last = padded[..., 0::3], padded[..., 1::3], padded[..., 2::3]
        pairs = np.stack([first << 4 | middle >> 4, (middle & 15) << 8 | last], axis=-1)
        return pairs.reshape(*packed.shape[:-1], -1)
    shifts = np.arange(8 - depth, -1, -depth, dtype=np.uint8)
    return (packed[..., np.newaxis] >> shifts & ((1 << depth) - 1)).reshape(*packed.shape[:-1], -1)


def _colours(samples: NDArray[Any], layout: TiffLayout) -> UInt8Array:
    """Uint8 ``[rows, width, 3]`` of unsigned ``[rows, width, samples]``."""
    if layout.palette is not None:
        rgb: UInt8Array = layout.palette[samples[..., 0]]
        return rgb
    if layout.bits == 8 == layout.depth:
        scaled = samples
    else:
        table = levels(layout.bits)
        if layout.bits < layout.depth and samples.max() >= len(table):
            raise UnsupportedImage(
                f"The TIFF has values over what its MaxSampleValue says ({layout.bits} bits); leave the "
                f"tag out."
            )
        scaled = table[samples]
    colours = COLOURS[layout.photometric]
    if layout.photometric == CMYK:
        inks = Image.fromarray(np.ascontiguousarray(scaled[..., :4]), "CMYK")
        rgb = np.asarray(inks.convert("RGB"))
    elif colours == 1:
        grey = 255 - scaled[..., :1] if layout.photometric == WHITE_IS_ZERO else scaled[..., :1]
        rgb = np.repeat(grey, 3, axis=-1)
    else:
        rgb = scaled[..., :3]
    return _on_white(rgb, scaled[..., colours, np.newaxis], layout.alpha) if layout.alpha else rgb


def _on_white(rgb: UInt8Array, alpha: UInt8Array, kind: int) -> UInt8Array:
    share = alpha.astype(np.uint16)
    if kind == 2:
        blended: NDArray[np.uint16] = (rgb * share + 255 * (255 - share) + 127) // 255
    else:
        blended = np.minimum(rgb + (255 - share), 255)
    return blended.astype(np.uint8)
