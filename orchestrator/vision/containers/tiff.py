"""Reads the directory of the one image in a TIFF or BigTIFF file.

Reference: Adobe, *TIFF Revision 6.0* (1992).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from orchestrator.domain import UInt8Array
from orchestrator.errors import ImageTooLarge, UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck
from orchestrator.vision.containers.tiff_directory import ORIENTATION, TiffDirectory, read_directory
from orchestrator.vision.tiff_pixels import COLOURS, DEPTHS, JPEG, PALETTE, UNCOMPRESSED, YCBCR, TiffLayout

_NEW_SUBFILE, _SUBFILE = 254, 255
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _SAMPLE_FORMAT, _MAX_VALUE = 277, 278, 284, 339, 281
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_FILL_ORDER, _PREDICTOR, _COLOUR_MAP, _INK_SET, _EXTRA_SAMPLES, _JPEG_TABLES = 266, 317, 320, 332, 338, 347

_COMPRESSIONS: Final = (UNCOMPRESSED, 5, JPEG, 8, 32773, 32946)
"""None, LZW, JPEG, Deflate, PackBits, Deflate (old code). LZMA and Zstandard let a header ask for
gigabytes of working memory; old-style JPEG and fax codes do not carry photographs."""
_PREDICTED: Final = (5, 8, 32946)
"""Of PackBits with a predictor readers differ in whether the differences are ever summed up."""
_UNPREDICTED: Final = (UNCOMPRESSED, JPEG)
"""With which the tag means nothing to any reader."""
_OTHER_COMPRESSIONS: Final = {
    **dict.fromkeys((2, 3, 4, 32771), "a fax code"),
    6: "old-style JPEG",
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    34925: "LZMA",
    **dict.fromkeys((34926, 50000), "Zstandard"),
    **dict.fromkeys((34927, 50001), "WebP"),
    50002: "JPEG XL",
}
_OTHER_COLOURS: Final = {
    4: "a mask",
    8: "CIE L*a*b*",
    9: "ICC L*a*b*",
    10: "ITU L*a*b*",
    32803: "a raw sensor",
}

_KINDS: Final = (
    "read are grey, palette, RGB and CMYK of 1, 2, 4, 8, 12 or 16 unsigned bits per sample, without "
    "compression or with "
    "LZW, Deflate, PackBits or JPEG (of 8 bits, also YCbCr)"
)

_MAX_PAGES: Final = 64
"""Looked at; a pyramid of reduced copies has about ten."""

_REDUCED_OR_MASK: Final = 0b101


@dataclass(frozen=True, slots=True)
class _Blocks:
    is_tiled: bool
    width: int
    height: int
    across: int
    down: int


def read_tiff(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a TIFF of one image, beside which there may be reduced copies.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of the format.
        ImageTooLarge: the image itself is; no reduced copy is read in its place.
    """
    directory, is_alone = _image_directory(payload)
    width, height = directory.integer(_WIDTH, 0), directory.integer(_HEIGHT, 0)
    try:
        check_size(width, height)
    except ImageTooLarge as error:
        if is_alone:
            raise
        raise ImageTooLarge(
            f"{error} The reduced copies in this TIFF are not read in its place: send a part of it."
        ) from error
    compression = directory.integer(_COMPRESSION, UNCOMPRESSED)
    photometric = directory.integer(_PHOTOMETRIC, 0)
    samples = directory.integer(_SAMPLES, 1)
    depths = set(directory.integers(_BITS).tolist()) or {1}
    planes = samples if directory.integer(_PLANAR, 1) == 2 else 1
    predictor = 1 if compression in _UNPREDICTED else directory.integer(_PREDICTOR, 1)
    if (why := _unread(directory, compression, photometric, samples, depths)) is not None:
        raise UnsupportedImage(f"This kind of TIFF is not supported ({why}); {_KINDS}.")
    depth = depths.pop()
    if compression == JPEG and (depth != 8 or (samples > 1 and samples != COLOURS[photometric])):
        raise UnsupportedImage(f"This kind of TIFF is not supported (the JPEG in it); {_KINDS}.")
    if photometric in (PALETTE, YCBCR) and (
        depth > 8 or planes > 1 or (photometric == YCBCR) != (compression == JPEG)
    ):
        raise UnsupportedImage(f"This kind of TIFF is not supported (its colours); {_KINDS}.")
    if predictor != 1 and (predictor != 2 or depth not in (8, 16) or compression not in _PREDICTED):
        raise UnsupportedImage(f"This kind of TIFF is not supported (its predictor); {_KINDS}.")
    if samples < COLOURS[photometric]:
        raise UndecodableImage("The TIFF has fewer samples than its colours need.")
    blocks = _blocks(directory, width, height, check_size)
    layout = TiffLayout(
        compression,
        photometric,
        directory.byte_order,
        depth,
        _bits_used(directory, depth),
        samples,
        planes,
        blocks.is_tiled,
        blocks.width,
        blocks.height,
        blocks.across,
        directory.integers(_TILE_OFFSETS if blocks.is_tiled else _STRIP_OFFSETS),
        directory.integers(_TILE_BYTES if blocks.is_tiled else _STRIP_BYTES),
        is_predicted=predictor == 2,
        fill_order=directory.integer(_FILL_ORDER, 1),
        alpha=_alpha(directory, samples - COLOURS[photometric]),
        palette=_palette(directory, depth) if photometric == PALETTE else None,
        jpeg_tables=directory.integers(_JPEG_TABLES).astype(np.uint8).tobytes()
        if compression == JPEG
        else b"",
    )
    _require_whole(payload, layout, blocks, height)
    orientation = directory.integer(ORIENTATION, 1)
    return ImageContainer(
        "image/tiff",
        width,
        height,
        payload,
        orientation=orientation if 1 <= orientation <= 8 else 1,
        tiff=layout,
        is_deep=layout.bits == 16,
        is_lossy=compression == JPEG,
    )


def _image_directory(payload: bytes) -> tuple[TiffDirectory, bool]:
    """Of the one page that is neither a reduced copy of another one nor a mask; and whether it is alone."""
    pages = [read_directory(payload)]
    while pages[-1].next_offset:
        if len(pages) == _MAX_PAGES:
            raise UnsupportedImage(f"The TIFF has more than {_MAX_PAGES} pages; send a single image.")
        pages.append(read_directory(payload, pages[-1].next_offset))
    whole = [
        page
        for page in pages
        if not page.integer(_NEW_SUBFILE, 0) & _REDUCED_OR_MASK and page.integer(_SUBFILE, 1) != 2
    ]
    if len(whole) > 1:
        raise UnsupportedImage(
            "The TIFF has more than one page that is not marked as a reduced copy (NewSubfileType); send a "
            "single image."
        )
    return (whole or pages)[0], len(pages) == 1


def _unread(
    directory: TiffDirectory, compression: int, photometric: int, samples: int, depths: set[int]
) -> str | None:
    """What of the kind is not read; None where nothing is."""
    formats = set(directory.integers(_SAMPLE_FORMAT).tolist()) or {1}
    if compression not in _COMPRESSIONS:
        return f"compressed with {_OTHER_COMPRESSIONS.get(compression, f'code {compression}')}"
    if photometric not in COLOURS:
        return f"its colours are {_OTHER_COLOURS.get(photometric, f'code {photometric}')}"
    if formats != {1}:
        return "its samples are signed or floating point"
    if len(depths) != 1 or not depths <= set(DEPTHS):
        return f"it has {', '.join(map(str, sorted(depths)))} bits per sample"
    if not 1 <= samples <= 6:
        return f"it has {samples} samples per pixel"
    if directory.integer(_INK_SET, 1) != 1:
        return "its inks are not CMYK"
    return None


def _blocks(directory: TiffDirectory, width: int, height: int, check_size: SizeCheck) -> _Blocks:
    if _TILE_OFFSETS in directory.entries:
        wide, high = directory.integer(_TILE_WIDTH, 0), directory.integer(_TILE_HEIGHT, 0)
        if min(wide, high) < 16 or wide % 16 or high % 16:
            raise UndecodableImage("The tiles of the TIFF have an impossible size.")
        check_size(wide, high)
        return _Blocks(True, wide, high, -(-width // wide), -(-height // high))
    rows = min(directory.integer(_ROWS_PER_STRIP, height), height)
    if rows < 1:
        raise UndecodableImage("The strips of the TIFF have no rows.")
    return _Blocks(False, width, rows, 1, -(-height // rows))


def _require_whole(payload: bytes, layout: TiffLayout, blocks: _Blocks, height: int) -> None:
    expected = blocks.across * blocks.down * layout.planes
    offsets, counts = layout.offsets, layout.counts
    if len(offsets) != expected or len(counts) != expected:
        raise UndecodableImage(f"The TIFF lists {len(offsets)} blocks of pixels; expected {expected}.")
    if counts.min() < 1 or (offsets + counts).max() > len(payload):
        raise UndecodableImage("Pixels of the TIFF lie outside the file: it is truncated.")
    if layout.compression == UNCOMPRESSED:
        rows = np.full((layout.planes, blocks.down, blocks.across), blocks.height)
        if not blocks.is_tiled:
            rows[:, -1] = height - (blocks.down - 1) * blocks.height
        if (counts < rows.ravel() * layout.block_row_bytes).any():
            raise UndecodableImage("The TIFF holds fewer pixels than its header says: it is truncated.")


def _bits_used(directory: TiffDirectory, depth: int) -> int:
    """How many of 16 bits values use: cameras of 10, 12 and 14 bits leave the highest unused, and some say so
    by the highest value there may be, or that there is."""
    most = int(directory.integers(_MAX_VALUE).max(initial=0)) if depth == 16 else 0
    return most.bit_length() if 8 < most.bit_length() < 16 else depth


def _alpha(directory: TiffDirectory, extra: int) -> int:
    """Of the first extra sample; where nothing says what it is, it is an alpha that colours are not
    multiplied by."""
    kind = directory.integer(_EXTRA_SAMPLES, 2) if extra else 0
    return kind if kind in (1, 2) else 0


def _palette(directory: TiffDirectory, depth: int) -> UInt8Array:
    """Uint8 ``[2 ** depth, 3]``."""
    values = directory.integers(_COLOUR_MAP)
    if len(values) != 3 << depth:
        raise UndecodableImage(
            "The palette of the TIFF is missing, or of another length than its depth asks for."
        )
    if values.max() > 255:  # as it should; some programs write values of 8 bits
        values = values >> 8  # of 257 times the level, or 256 times as Pillow writes it
    return values.reshape(3, -1).T.astype(np.uint8)
