"""Reads the first directory of a TIFF file.

Reference: Adobe, *TIFF Revision 6.0* (1992).
"""

from typing import Final

from orchestrator.errors import UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck
from orchestrator.vision.containers.tiff_directory import ORIENTATION, read_directory

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_SAMPLES, _ROWS_PER_STRIP, _PLANAR, _SAMPLE_FORMAT = 277, 278, 284, 339
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_FILL_ORDER, _PREDICTOR, _COLOUR_MAP, _EXTRA_SAMPLES = 266, 317, 320, 338
_JPEG_TABLES, _SUBSAMPLING = 347, 530
_TIFF_TAGS: Final = frozenset(
    (
        *(_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _ROWS_PER_STRIP, _PLANAR),
        *(_STRIP_OFFSETS, _STRIP_BYTES, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES),
        *(_FILL_ORDER, _PREDICTOR, _COLOUR_MAP, _EXTRA_SAMPLES, _JPEG_TABLES, _SUBSAMPLING, _SAMPLE_FORMAT),
    )
)
"""What decides the pixels; every other tag is dropped."""

_TIFF_JPEG: Final = 7
_TIFF_COMPRESSIONS: Final = (1, 5, _TIFF_JPEG, 8, 32773, 32946)
"""None, LZW, JPEG, Deflate, PackBits, Deflate (old code). LZMA and Zstandard let a header ask for
gigabytes of working memory; old-style JPEG and fax codes do not carry photographs."""
_YCBCR: Final = 6


def read_tiff(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a TIFF of one page.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of the format.
    """
    directory = read_directory(payload)
    width, height = directory.integer(_WIDTH, 0), directory.integer(_HEIGHT, 0)
    check_size(width, height)
    if directory.next_offset:
        raise UnsupportedImage("The TIFF has more than one page; send a single image.")
    compression = directory.integer(_COMPRESSION, 1)
    photometric = directory.integer(_PHOTOMETRIC, 0)
    samples = directory.integer(_SAMPLES, 1)
    bits = set(directory.integers(_BITS).tolist()) or {1}
    formats = set(directory.integers(_SAMPLE_FORMAT).tolist()) or {1}
    if (
        compression not in _TIFF_COMPRESSIONS
        or photometric not in (0, 1, 2, 3, 5, _YCBCR)
        or (photometric == _YCBCR and compression != _TIFF_JPEG)
        or formats != {1}
        or len(bits) != 1
        or not 1 <= samples <= 6
    ):
        raise UnsupportedImage(
            "This kind of TIFF is not supported; use 8 or 16 bits per sample, unsigned, "
            "grey, palette, RGB or CMYK, and no, LZW, Deflate, PackBits or JPEG compression."
        )
    depth = bits.pop()
    planes = samples if directory.integer(_PLANAR, 1) == 2 else 1
    if _TILE_OFFSETS in directory.entries:
        across, down = directory.integer(_TILE_WIDTH, 0), directory.integer(_TILE_HEIGHT, 0)
        if min(across, down) < 16 or across % 16 or down % 16:
            raise UndecodableImage("The tiles of the TIFF have an impossible size.")
        check_size(across, down)
        blocks = -(-width // across) * -(-height // down) * planes
        offsets, counts = directory.integers(_TILE_OFFSETS), directory.integers(_TILE_BYTES)
        raw_bytes = blocks * down * ((across * depth * samples // planes + 7) // 8)
    else:
        rows = min(directory.integer(_ROWS_PER_STRIP, height), height)
        if rows < 1:
            raise UndecodableImage("The strips of the TIFF have no rows.")
        blocks = -(-height // rows) * planes
        offsets, counts = directory.integers(_STRIP_OFFSETS), directory.integers(_STRIP_BYTES)
        raw_bytes = height * planes * ((width * depth * samples // planes + 7) // 8)
    if len(offsets) != blocks or len(counts) != blocks:
        raise UndecodableImage(f"The TIFF lists {len(offsets)} blocks of pixels; expected {blocks}.")
    if counts.min() < 1 or (offsets + counts).max() > len(payload):
        raise UndecodableImage("Pixels of the TIFF lie outside the file: it is truncated.")
    if compression == 1 and counts.sum() < raw_bytes:
        raise UndecodableImage("The TIFF holds fewer pixels than its header says: it is truncated.")
    orientation = directory.integer(ORIENTATION, 1)
    return ImageContainer(
        "image/tiff",
        width,
        height,
        directory.reduced_to(_TIFF_TAGS),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        max_value=(1 << depth) - 1 if depth > 8 else 255,
        white_is_zero=photometric == 0,
        is_lossy=compression == _TIFF_JPEG,
    )
