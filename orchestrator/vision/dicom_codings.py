"""Decoders of codings that only DICOM uses, to the uncompressed pixels that it stores otherwise.

What comes here has been measured: the reader of the container has held the size that the coded data give
against the size that may be decoded.

Reference: DICOM PS3.5, annex A.4 and annex G (RLE).
"""

import importlib.util
import io
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL.Jpeg2KImagePlugin import Jpeg2KImageFile

from orchestrator.errors import UndecodableImage
from orchestrator.vision.native_pixels import NativeLayout
from orchestrator.vision.tiff_pixels import decompress, decompressible

RLE: Final = "application/dicom;coding=rle"
JPEG_LS: Final = "image/jls"
JPEG_2000: Final = "image/j2c"

_PACKBITS: Final = 32773
_RLE_HEADER_BYTES: Final = 64


def reads_jpeg_ls() -> bool:
    """Whether the decoder is there, which comes with the extra `dicom`."""
    return importlib.util.find_spec("jpeg_ls") is not None


def expanded(
    data: bytes, coding: str, layout: NativeLayout, width: int, height: int
) -> tuple[bytes, NativeLayout]:
    """The uncompressed pixels of one frame, and how they lie now.

    Raises UndecodableImage where they are fewer or more than there should be, and whatever decoders raise.
    """
    if coding == RLE:
        pixels, planar = _from_rle(data, layout, width, height), True
    elif coding == JPEG_LS:
        import jpeg_ls

        decoded, about = jpeg_ls.decode_pixel_data(data)
        pixels, planar = bytes(decoded), about["interleave_mode"] == 0
    else:
        with Jpeg2KImageFile(io.BytesIO(data)) as image:
            image.load()
            pixels, planar = np.asarray(image).tobytes(), False
    if layout.bits_allocated == 16 and layout.bits_stored <= 8 and coding != RLE:
        pixels = np.frombuffer(pixels, np.uint8).astype("<u2").tobytes()  # decoders give what is coded
    if len(pixels) != layout.expected_bytes(width, height):
        raise UndecodableImage("The compressed pixels of the DICOM are more or fewer than its header says.")
    return pixels, replace(layout, planar=planar)


def _from_rle(data: bytes, layout: NativeLayout, width: int, height: int) -> bytes:
    """Each byte of each sample has a segment of its own, the highest first, compressed by PackBits (annex
    G)."""
    per_sample = layout.bits_allocated // 8
    segments = layout.expected_bytes(width, height) // (width * height)
    header = np.frombuffer(data, "<u4", _RLE_HEADER_BYTES // 4)
    offsets = header[1 : 1 + segments].astype(np.int64)
    ends = np.append(offsets[1:], len(data))
    if header[0] != segments or offsets[0] != _RLE_HEADER_BYTES or (ends <= offsets).any():
        raise UndecodableImage("The RLE header of the DICOM is corrupt, or does not fit its pixels.")
    planes = np.stack([
        decompress(decompressible(
            data, (width, height), _PACKBITS, np.array([begin]), np.array([end - begin]), block=(None, height)
        ))
        for begin, end in zip(offsets, ends, strict=True)
    ])  # fmt: skip
    of_samples: NDArray[Any] = planes.reshape(-1, per_sample, height, width)[:, ::-1]  # the lowest byte first
    return np.moveaxis(of_samples, 1, -1).tobytes()
