"""Uncompressed pixels, as DICOM and no picture format stores them, to RGB.

Reference: DICOM PS3.3, C.7.6.3 (Image Pixel Module), and PS3.5, 8.1.1 and 8.2.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from orchestrator.domain import UInt8Array

NativeColour = Literal["grey", "palette", "rgb", "ybr_full", "ybr_full_422"]


@dataclass(frozen=True, slots=True)
class NativeLayout:
    """How the bytes of an image are to be read.

    Samples have ``bits_allocated`` (8, or 16 little endian), of which the lowest ``bits_stored`` count;
    ``planar``: one colour after the other, not one pixel after the other. ``palette`` is uint8 ``[N, 3]``,
    RGB, its first row standing for the sample ``palette_first`` and all below it, its last for all above.
    """

    colour: NativeColour
    bits_allocated: Literal[8, 16] = 8
    bits_stored: int = 8
    planar: bool = False
    palette: UInt8Array | None = field(default=None, repr=False)
    palette_first: int = 0

    def expected_bytes(self, width: int, height: int) -> int:
        """Of the pixels of an image, without the byte that makes an odd number even."""
        # Y1 Y2 Cb Cr: four bytes for two pixels.
        samples = {"grey": 1, "palette": 1, "ybr_full_422": 2}.get(self.colour, 3)
        return width * height * samples * self.bits_allocated // 8


def native_to_rgb(data: bytes, layout: NativeLayout, width: int, height: int) -> UInt8Array:
    """Uint8 ``[height, width, 3]``; samples of other than 8 bits are scaled, so that full brightness is 255.

    ``data`` has ``layout.expected_bytes(width, height)``.
    """
    samples: NDArray[Any] = np.frombuffer(data, np.uint8 if layout.bits_allocated == 8 else np.dtype("<u2"))
    if layout.colour == "ybr_full_422":
        return _ybr_to_rgb(_with_all_colours(samples.reshape(height, width // 2, 4)))
    if layout.colour in ("grey", "palette"):
        return _looked_up(_table(layout), samples.reshape(height, width))
    if layout.planar:
        pixels = np.moveaxis(samples.reshape(3, height, width), 0, -1)
    else:
        pixels = samples.reshape(height, width, 3)
    if layout.colour == "ybr_full":
        return _ybr_to_rgb(pixels)
    if layout.bits_stored == 8 == layout.bits_allocated:
        return pixels
    return _looked_up(levels(layout.bits_stored), pixels)


def _looked_up(table: UInt8Array, samples: NDArray[Any]) -> UInt8Array:
    """The row of the table for each sample; bits above those that it has rows for are no part of it."""
    rows: UInt8Array = table[samples & samples.dtype.type(len(table) - 1)]
    return rows


def levels(bits_stored: int) -> UInt8Array:
    """Uint8 ``[2 ** bits_stored]``: each value at 8 bits."""
    most = (1 << bits_stored) - 1
    values = np.arange(most + 1, dtype=np.uint32)
    scaled: NDArray[np.uint32] = (values * 255 + most // 2) // most
    return scaled.astype(np.uint8)


def _table(layout: NativeLayout) -> UInt8Array:
    """Uint8 ``[2 ** bits_stored, 3]``: the colour of each value."""
    if layout.palette is None:
        return np.repeat(levels(layout.bits_stored)[:, np.newaxis], 3, axis=1)
    values = np.arange(1 << layout.bits_stored, dtype=np.int64)
    return layout.palette[np.clip(values - layout.palette_first, 0, len(layout.palette) - 1)]


def _with_all_colours(pairs: UInt8Array) -> UInt8Array:
    """Two pixels share the colours that follow their brightness: uint8 ``[H, W / 2, 4]`` to ``[H, W, 3]``."""
    height, half = pairs.shape[:2]
    whole = np.empty((height, half, 2, 3), np.uint8)
    whole[..., 0] = pairs[..., :2]
    whole[..., 1:] = pairs[:, :, np.newaxis, 2:]
    return whole.reshape(height, 2 * half, 3)


def _ybr_to_rgb(pixels: UInt8Array) -> UInt8Array:
    """By the formulas of C.7.6.3.1.2, which are those of JPEG."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels), "YCbCr").convert("RGB"))
