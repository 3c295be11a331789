"""Writes PNG files four times as fast as a general encoder; they are a third of what a request costs outside
the network otherwise.

One filter for all rows (the difference to the row above, which photographs and heatmaps like) and ISA-L's
deflate, which is written for speed: the files are as large as OpenCV's, at 2 instead of 9 ms for a photograph
of 360 x 360.

Reference: Portable Network Graphics (PNG) Specification, third edition (W3C, 2025), chapters 5, 9 and 11.
"""

import struct
from typing import Final

import numpy as np
from isal import isal_zlib

from orchestrator.domain import UInt8Array

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY, _RGB = 0, 2
_UP: Final = 2
_LEVEL: Final = 1


def write_png(pixels: UInt8Array) -> bytes:
    """The file of uint8 ``[H, W]`` (grey) or ``[H, W, 3]`` (RGB), lossless.

    Raises ``ValueError`` where the pixels are of another kind, or there are none.
    """
    if (
        pixels.dtype != np.uint8
        or pixels.ndim not in (2, 3)
        or pixels.shape[2:] not in ((), (3,))
        or not pixels.size
    ):
        raise ValueError(f"expected uint8 [H, W] or [H, W, 3], received {pixels.dtype} {pixels.shape}")
    height, width = pixels.shape[:2]
    values = pixels.reshape(height, -1)
    rows = np.empty((height, 1 + values.shape[1]), np.uint8)
    rows[:, 0] = _UP
    rows[0, 1:] = values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])  # modulo 256, as the filter is defined
    header = struct.pack(">IIBBBBB", width, height, 8, _GREY if pixels.ndim == 2 else _RGB, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", isal_zlib.compress(rows, _LEVEL)), (b"IEND", b""))
    return b"".join((_SIGNATURE, *(part for kind, data in chunks for part in _chunk(kind, data))))


def _chunk(kind: bytes, data: bytes) -> tuple[bytes, ...]:
    """In parts, so that the data are copied once."""
    checksum = isal_zlib.crc32(data, isal_zlib.crc32(kind))
    return struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)
