"""Reads the headers of a Windows bitmap.

Reference: Microsoft, *Bitmap Storage* and *BITMAPINFOHEADER*.
"""

import struct
from typing import Final

from orchestrator.errors import UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck

_BMP_DEPTHS: Final = (1, 4, 8, 16, 24, 32)


def read_bmp(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a Windows bitmap: uncompressed, 1 to 32 bits, rows in either direction.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of the format.
    """
    pixels_at, header_bytes = struct.unpack_from("<II", payload, 10)
    if header_bytes == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", payload, 18)
        compression = 0
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", payload, 18)
    height = abs(height)  # A negative height says that the rows run from top to bottom.
    check_size(width, height)
    if compression not in (0, 3) or depth not in _BMP_DEPTHS:
        raise UnsupportedImage(
            "This kind of BMP (run-length encoded, embedded or unusual depth) is not supported."
        )
    row_bytes = (width * depth + 31) // 32 * 4
    if pixels_at < 14 + header_bytes or pixels_at + row_bytes * height > len(payload):
        raise UndecodableImage("The BMP data is shorter than its header says: the file is truncated.")
    return ImageContainer("image/bmp", width, height, payload)
