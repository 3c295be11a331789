"""Turns the bytes of an uploaded file into an RGB image, or says why it cannot.

Two steps: :mod:`orchestrator.vision.containers` reads the file's container strictly, refuses what is too
large or incomplete and drops all metadata; then Pillow decodes the pixels. Pillow rather than OpenCV,
because OpenCV fills what a damaged file lacks and writes to stderr. Pillow's format classes are used
directly: ``Image.open`` would try other formats, import plugins on first use and warn.

Colour profiles are not applied: the model was trained on pixel values as they are stored.
"""

import contextlib
import ctypes
import io
import logging
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, _imaging
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from orchestrator.domain import CellImage, UInt8Array
from orchestrator.errors import ImageTooLarge, UndecodableImage, UnsupportedImage
from orchestrator.vision.containers import ImageContainer, read_container
from orchestrator.vision.dicom_codings import expanded
from orchestrator.vision.native_pixels import native_to_rgb
from orchestrator.vision.tiff_pixels import tiff_to_rgb

# Pillow logs what it finds in files, tag values included; nothing of an image may reach a log.
logging.getLogger("PIL").setLevel(logging.CRITICAL + 1)

# The libtiff inside Pillow prints its errors to stderr, which is a log too. Pillow reports the same
# errors as exceptions, so libtiff can be told to be silent; where it is linked in a way that hides the
# call, it goes on printing, and nothing else changes.
with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)

MOST_PIXELS: Final = 100_000_000
"""More take over 1 GiB while they are decoded. Pillow warns of a decompression bomb from 89 million on, but
only in ``Image.open``."""

_DECODERS: Final[dict[str, type[ImageFile]]] = {
    "image/jpeg": JpegImageFile,
    "image/png": PngImageFile,
    "image/bmp": BmpImageFile,
    "image/webp": WebPImageFile,
}

_GREY: Final = ("1", "L")
_DEEP_GREY: Final = ("I;16", "I;16B")
_WITH_ALPHA: Final = ("LA", "La", "PA", "RGBA", "P")
"""``P`` too: a palette may hold transparent colours."""
_OPAQUE: Final = ("RGB", "CMYK")

_JPEG_GREY: Final = 128
"""What libjpeg leaves where coefficients are missing."""

_DARK: Final = 16
"""What the highest value of 12 bits, of 16, is at 8 bits: an image without a brighter one, or of inverted
colours without a darker one, is no photograph of a slide but one of a camera with fewer bits."""

_STRIP_PIXELS: Final = 2**20

_PROBE: Final = b"\x5a\xa5\x3c" * 20


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """How large an image may be: ``max_bytes`` as a file, ``max_pixels`` (width x height) decoded."""

    max_bytes: int = 10 * 2**20
    max_pixels: int = 25_000_000

    def __post_init__(self) -> None:
        if self.max_bytes < 1:
            raise ValueError(f"max_bytes is {self.max_bytes}; expected at least 1.")
        if not 1 <= self.max_pixels <= MOST_PIXELS:
            raise ValueError(f"max_pixels is {self.max_pixels}; expected 1 to {MOST_PIXELS}.")


FIELD_LIMITS: Final = DecodeLimits(64 * 2**20, MOST_PIXELS)
"""Of a whole field."""


def decode(payload: bytes, limits: DecodeLimits = DecodeLimits()) -> CellImage:
    """Decode a JPEG, PNG, BMP, TIFF, WebP or DICOM file to RGB.

    The format is found in the bytes. The EXIF orientation is applied, transparency is composited on
    white (the colour of an empty slide), grey, palette, 16-bit and CMYK pixels become uint8 RGB. Size
    is judged from the header, before any pixel is decoded. Safe to call from several threads.

    Returns:
        The image; ``rgb`` is uint8 ``[H, W, 3]``, C-contiguous and read-only.

    Raises:
        UndecodableImage: empty, truncated or corrupt data, or an image without pixels.
        UnsupportedImage: not one of the six formats, animated, of several pages, or of a rare kind.
        ImageTooLarge: more bytes or pixels than ``limits`` allow.
    """
    if len(payload) > limits.max_bytes:
        raise ImageTooLarge(
            f"The file has {len(payload)} bytes; at most {limits.max_bytes} bytes are accepted."
        )
    container = read_container(payload, limits.max_pixels)
    rgb = _decode_pixels(container, container.data)
    if container.codec == "image/jpeg" and _may_be_incomplete(container, rgb):
        seen = sha256(rgb.data).digest()
        del rgb  # before it is there a second time
        rgb = _complete_jpeg(container, seen)
    if container.is_deep and (rgb.max() <= _DARK or rgb.min() >= 255 - _DARK):
        raise UnsupportedImage(
            "The values of this image use 12 of its 16 bits at most, as some cameras write; scale them "
            "to all 16, "
            "or say how many count: MaxSampleValue in a TIFF, Bits Stored in DICOM."
        )
    rgb = np.ascontiguousarray(_upright(rgb, container.orientation))
    if container.inverted:
        rgb = 255 - rgb
    rgb.setflags(write=False)
    return CellImage(rgb, container.media_type)


def _decode_pixels(container: ImageContainer, data: bytes) -> UInt8Array:
    """The pixels as stored, uint8 ``[height, width, 3]``; every foreign exception changes its name here."""
    width, height = container.width, container.height
    try:
        if container.native is not None:
            layout = container.native
            if container.wrapped is not None:
                data, layout = expanded(data, container.wrapped, layout, width, height)
            return native_to_rgb(data, layout, width, height)
        if container.tiff is not None:
            return tiff_to_rgb(data, container.tiff, width, height)
        with _DECODERS[container.codec](io.BytesIO(data)) as image:
            if image.size != (width, height):
                raise UndecodableImage("The image's headers contradict each other.")
            if image.mode not in _GREY + _DEEP_GREY + _WITH_ALPHA + _OPAQUE:
                raise UnsupportedImage(
                    "This kind of pixel (such as 32-bit or floating point) is not supported."
                )
            return _to_rgb(image, container)
    except (UndecodableImage, UnsupportedImage, MemoryError):
        raise
    except Exception as error:  # Pillow's decoders raise a dozen types, most of them undocumented.
        raise UndecodableImage("The image data is truncated or corrupt.") from error


def _to_rgb(image: ImageFile, container: ImageContainer) -> UInt8Array:
    if image.mode == "RGB":
        rgb = _loaded_rgb(image)
    else:
        image.load()
        rgb = _converted(image, container)
    if container.transparent_rgb is not None:
        transparent = (rgb == container.transparent_rgb).all(axis=-1)
        rgb[transparent] = 255
    return rgb


def _loaded_rgb(image: ImageFile) -> UInt8Array:
    """The pixels of an RGB image that is not yet decoded.

    Pillow has four bytes for a pixel, and would give them away as a copy. It decodes into memory of ours
    instead, in which the three that count then move together: four bytes for a pixel at most, not seven.
    """
    width, height = image.size
    memory = np.zeros(4 * width * height, np.uint8)
    image.im = Image.frombuffer("RGBX", image.size, memory, "raw", "RGBX", 0, 1).im
    image.load()
    image.close()  # which gives the memory back
    for first, last in pairwise([*range(0, width * height, _STRIP_PIXELS), width * height]):
        strip = memory[4 * first : 4 * last].reshape(1, -1, 4)
        memory[3 * first : 3 * last] = cv2.cvtColor(strip, cv2.COLOR_RGBA2RGB).reshape(-1)
    memory.resize(3 * width * height, refcheck=False)
    return memory.reshape(height, width, 3)


def _converted(image: Image.Image, container: ImageContainer) -> UInt8Array:
    """The pixels of an image of another mode, strip by strip: each is held in other modes meanwhile."""
    width, height = image.size
    # Many programs write bitmaps with an unused alpha of 0.
    is_opaque = (
        container.media_type == "image/bmp"
        and image.mode == "RGBA"
        and image.getchannel("A").getextrema() == (0, 0)
    )
    # Adobe stores CMYK inverted and marks the file; Pillow inverts whether or not it is marked.
    is_inverted = isinstance(image, JpegImageFile) and image.mode == "CMYK" and "adobe" not in image.info
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        strip = image.crop((0, top, width, bottom))
        if strip.mode in _DEEP_GREY:
            rgb[top:bottom] = _deep_grey_to_rgb(np.asarray(strip), container)
            continue
        if is_inverted:
            strip = ImageChops.invert(strip)
        elif strip.mode in _WITH_ALPHA and not is_opaque:
            strip = _on_white(strip.convert("RGBA"))
        rgb[top:bottom] = np.asarray(strip.convert("RGB"))
    return rgb


def _on_white(image: Image.Image) -> Image.Image:
    white = Image.new("RGB", image.size, "white")
    white.paste(image.convert("RGB"), mask=image.getchannel("A"))
    return white


def _deep_grey_to_rgb(grey: NDArray[np.uint16], container: ImageContainer) -> UInt8Array:
    """16-bit (or 12-bit) grey to 8 bit: 0 stays 0 and full brightness becomes 255."""
    scaled = (grey.astype(np.uint32) * 255 + container.max_value // 2) // container.max_value
    levels = np.minimum(scaled, 255).astype(np.uint8)
    return np.repeat(levels[..., np.newaxis], 3, axis=-1)


def _may_be_incomplete(container: ImageContainer, rgb: UInt8Array) -> bool:
    return container.needs_probe or bool((rgb[-1, -8:] == _JPEG_GREY).all())


def _complete_jpeg(container: ImageContainer, seen: bytes) -> UInt8Array:
    """The pixels of a JPEG, of which those first decoded have the hash ``seen``; refuses one that was cut and
    closed with an end marker.

    libjpeg shows what is missing as uniform grey (or, in a progressive file, as blur) without an error.
    Bytes put before the end marker change nothing in a complete image, since the decoder has stopped
    reading; in a cut one they take the place of what is missing.
    """
    rgb = _decode_pixels(container, container.data[:-2] + _PROBE + container.data[-2:])
    if sha256(rgb.data).digest() != seen:
        raise UndecodableImage("The JPEG data ends early: the file is truncated.")
    return rgb


def _upright(rgb: UInt8Array, orientation: int) -> UInt8Array:
    """Undo an EXIF orientation: 2 mirrored, 3 half a turn, 4 flipped, 5 transposed, 6 and 8 quarter turns."""
    if orientation >= 5:
        rgb = rgb.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if orientation in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return rgb
