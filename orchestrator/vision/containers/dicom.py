"""Reads a DICOM file that holds one photograph, as slide cameras and microscopes write it.

A data set begins with the patient, the study and the device; none of it is looked at. What is kept is the
image pixel module and the pixels, and nothing else leaves this module.

Reference: DICOM PS3.10, section 7 (file format); PS3.5, 8.2 and annex A (transfer syntaxes, encapsulation);
PS3.3, C.7.6.3 (Image Pixel Module); PS3.6, annex A (unique identifiers).
"""

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from orchestrator.domain import UInt8Array
from orchestrator.errors import UndecodableImage, UnsupportedImage
from orchestrator.vision.containers.base import ImageContainer, SizeCheck
from orchestrator.vision.containers.dicom_elements import (
    UNDEFINED_LENGTH,
    Element,
    read_elements,
    read_fragments,
)
from orchestrator.vision.containers.jpeg import read_jpeg
from orchestrator.vision.dicom_codings import JPEG_2000, JPEG_LS, RLE, reads_jpeg_ls
from orchestrator.vision.native_pixels import NativeColour, NativeLayout

MEDIA_TYPE: Final = "application/dicom"

_DATA_SET_GROUPS: Final = 0x00080000
_META_LENGTH, _TRANSFER_SYNTAX = 0x00020000, 0x00020010
_SOP_CLASS, _FRAMES = 0x00080016, 0x00280008
_SAMPLES, _PHOTOMETRIC, _PLANAR, _ROWS, _COLUMNS = 0x00280002, 0x00280004, 0x00280006, 0x00280010, 0x00280011
_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT, _IS_SIGNED = 0x00280100, 0x00280101, 0x00280102, 0x00280103
_RED_DESCRIPTOR, _RED_PALETTE, _RED_SEGMENTS = 0x00281101, 0x00281201, 0x00281221  # green and blue follow
_FLOAT_PIXELS, _DOUBLE_PIXELS, _PIXELS = 0x7FE00008, 0x7FE00009, 0x7FE00010

_WANTED: Final = frozenset(
    (
        *(_SOP_CLASS, _FRAMES, _SAMPLES, _PHOTOMETRIC, _PLANAR, _ROWS, _COLUMNS),
        *(_BITS_ALLOCATED, _BITS_STORED, _HIGH_BIT, _IS_SIGNED),
        *(first + colour for first in (_RED_DESCRIPTOR, _RED_PALETTE, _RED_SEGMENTS) for colour in range(3)),
    )
)
"""What decides the pixels; every other element is stepped over."""

_PHOTOGRAPHS: Final = frozenset(
    {
        "1.2.840.10008.5.1.4.1.1.77.1.2",  # VL Microscopic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.3",  # VL Slide-Coordinates Microscopic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.4",  # VL Photographic Image Storage
        "1.2.840.10008.5.1.4.1.1.77.1.6",  # VL Whole Slide Microscopy Image Storage, of one frame
        "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image Storage
        "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture, of one frame
        "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture, of one frame
        "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture, of one frame
    }
)

_IMPLICIT: Final = "1.2.840.10008.1.2"
_EXPLICIT: Final = "1.2.840.10008.1.2.1"
_DEFLATED: Final = "1.2.840.10008.1.2.1.99"
_NATIVE: Final = frozenset({_IMPLICIT, _EXPLICIT, _DEFLATED})
_JPEG: Final = frozenset({"1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"})
"""Baseline, and extended with 8 bits."""
_JPEG_2000: Final = frozenset({"1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"})
_JPEG_LS: Final = frozenset({"1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"})
_RLE: Final = "1.2.840.10008.1.2.5"
_READ: Final = _NATIVE | _JPEG | _JPEG_2000 | _JPEG_LS | {_RLE}
_LOSSY: Final = frozenset({"1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.81"})

_BIG_ENDIAN: Final = "1.2.840.10008.1.2.2"
_OTHER_SYNTAXES: Final = {
    _BIG_ENDIAN: "big endian, which DICOM has retired",
    "1.2.840.10008.1.2.4.57": "JPEG Lossless",
    "1.2.840.10008.1.2.4.70": "JPEG Lossless",
    "1.2.840.10008.1.2.4.92": "JPEG 2000 Multi-component",
    "1.2.840.10008.1.2.4.93": "JPEG 2000 Multi-component",
    "1.2.840.10008.1.2.4.110": "JPEG XL",
    "1.2.840.10008.1.2.4.111": "JPEG XL",
    "1.2.840.10008.1.2.4.112": "JPEG XL",
    "1.2.840.10008.1.2.4.201": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.202": "High-Throughput JPEG 2000",
    "1.2.840.10008.1.2.4.203": "High-Throughput JPEG 2000",
}
_VIDEOS: Final = "1.2.840.10008.1.2.4.10"
"""How the identifiers of MPEG's syntaxes begin, but for those that are listed above."""

_MAX_TILES: Final = 1024
"""Of JPEG 2000, whose decoder has memory for each before it reads one."""

_COLOURS: Final[Mapping[str, tuple[NativeColour, int]]] = {
    "MONOCHROME1": ("grey", 1),
    "MONOCHROME2": ("grey", 1),
    "PALETTE COLOR": ("palette", 1),
    "RGB": ("rgb", 3),
    "YBR_FULL": ("ybr_full", 3),
    "YBR_FULL_422": ("ybr_full_422", 3),
}
"""And the samples that a pixel then has."""

_MAX_DEFLATED_HEADER: Final = 4 * 2**20
"""Bytes that may come before the pixels of a compressed data set: colour profiles are the largest of it."""

_MAX_FRAGMENTS: Final = 10_000

_ADOBE: Final = b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0%c"
"""The marker that says in its last byte whether the colours of a JPEG are RGB (0) or YCbCr (1)."""


def is_dicom(payload: bytes) -> bool:
    """Whether the bytes begin as a DICOM file does, behind its preamble of 128 bytes of anything."""
    return payload[128:134] == b"DICM\x02\0"


@dataclass(frozen=True, slots=True)
class _DataSet:
    """``data`` up to and including the header of the pixels, at least; ``inflater`` has the rest, if any."""

    data: bytes
    values: Mapping[int, bytes]
    pixels: Element
    inflater: "_Inflater | None" = None

    def integer(self, tag: int, default: int | None = None) -> int:
        """An unsigned number of two bytes."""
        value = self.values.get(tag)
        if not value and default is not None:
            return default
        if value is None or len(value) != 2:
            raise UndecodableImage("The DICOM does not say how its pixels are stored.")
        return int.from_bytes(value, "little")

    def text(self, tag: int) -> str:
        return self.values.get(tag, b"").rstrip(b" \0").decode("ascii", "replace")


def read_dicom(payload: bytes, check_size: SizeCheck) -> ImageContainer:
    """Read a DICOM file: one photograph, uncompressed, deflated or as RLE, JPEG, JPEG-LS or JPEG 2000.

    Raises:
        UndecodableImage: truncated or corrupt.
        UnsupportedImage: another kind of object, of several frames, or compressed in another way.
    """
    meta_end, syntax = _file_meta(payload)
    if syntax not in _READ or (syntax in _JPEG_LS and not reads_jpeg_ls()):
        raise UnsupportedImage(
            f"The pixels of this DICOM are {_syntax_name(syntax)}, which is not read; send them uncompressed "
            "(little endian), deflated, or as RLE, JPEG baseline or JPEG 2000."
        )
    data_set = _data_set(payload, meta_end, syntax)
    if data_set.text(_SOP_CLASS) not in _PHOTOGRAPHS:
        raise UnsupportedImage(
            "The DICOM is not a photograph; VL Microscopic, VL Slide-Coordinates Microscopic, "
            "VL Photographic and Secondary Capture images are read."
        )
    if data_set.text(_FRAMES).strip() not in ("", "1"):
        raise UnsupportedImage("The DICOM has more than one frame; send a single image.")
    width, height = data_set.integer(_COLUMNS), data_set.integer(_ROWS)
    check_size(width, height)
    photometric = data_set.text(_PHOTOMETRIC)
    colour, samples = _COLOURS.get(photometric, (None, 0))
    if syntax in _JPEG_2000 and photometric in ("YBR_RCT", "YBR_ICT"):  # which the decoder turns into RGB
        colour, samples = "rgb", 3
    if colour is None or data_set.integer(_SAMPLES) != samples:
        raise UnsupportedImage(
            f"This kind of DICOM pixels is not supported; use one of {', '.join(_COLOURS)}."
        )
    if syntax in _JPEG:
        container = _encapsulated_jpeg(data_set, photometric, check_size)
        if (container.width, container.height) != (width, height):
            raise UndecodableImage("The DICOM and the JPEG in it give two different sizes.")
    elif syntax not in _NATIVE:
        container = _coded(data_set, syntax, colour, width, height)
    else:
        layout = _layout(data_set, colour, width)
        container = ImageContainer(
            MEDIA_TYPE, width, height, _native_pixels(data_set, layout, width, height), native=layout
        )
    is_deep = container.native is not None and container.native.bits_stored == 16 and colour != "palette"
    return replace(container, inverted=photometric == "MONOCHROME1", is_deep=is_deep)


def _syntax_name(syntax: str) -> str:
    if syntax in _JPEG_LS:
        return "JPEG-LS, for which the extra `dicom` is not installed"
    return _OTHER_SYNTAXES.get(
        syntax, "a video" if syntax.startswith(_VIDEOS) else "in an unknown transfer syntax"
    )


def _coded(data_set: _DataSet, syntax: str, colour: NativeColour, width: int, height: int) -> ImageContainer:
    """The one frame in RLE, JPEG-LS or JPEG 2000, whose own header has to say what the DICOM says."""
    layout = _layout(data_set, colour, width)
    samples = 1 if colour in ("grey", "palette") else 3
    if colour == "ybr_full_422" or (
        syntax in _JPEG_2000 and (layout.bits_stored != 8 or colour == "ybr_full")
    ):
        raise UnsupportedImage(
            "This kind of compressed DICOM pixels is not supported; JPEG 2000 is read with 8 bits and "
            "RGB, YBR_RCT, "
            "YBR_ICT, a palette or grey, RLE and JPEG-LS with all but YBR_FULL_422."
        )
    data = _frame(data_set)
    if syntax == _RLE:
        coding = RLE
    else:
        coding, measure = (
            (JPEG_2000, _measure_jpeg_2000) if syntax in _JPEG_2000 else (JPEG_LS, _measure_jpeg_ls)
        )
        if measure(data) != (width, height, samples, layout.bits_stored):
            raise UndecodableImage(
                "The DICOM and the compressed image in it differ in size, samples or bits."
            )
    return ImageContainer(
        MEDIA_TYPE, width, height, data, wrapped=coding, native=layout, is_lossy=syntax in _LOSSY
    )


def _measure_jpeg_2000(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, samples and bits by the codestream (ISO/IEC 15444-1, A.5.1)."""
    if data[:4] != b"\xff\x4f\xff\x51" or data.rstrip(b"\0")[-2:] != b"\xff\xd9":
        raise UndecodableImage("The encapsulated pixel data of the DICOM is no JPEG 2000, or truncated.")
    width, height, left, top, across, down, *_, samples = struct.unpack_from(">8IH", data, 8)
    kinds = {data[42 + 3 * n : 45 + 3 * n] for n in range(min(samples, 5))}
    depth = max(kinds)[0] + 1 if kinds else 0  # above 128 it is signed
    tiles = -(-width // max(across, 1)) * -(-height // max(down, 1))
    if left or top or tiles > _MAX_TILES or len(kinds) != 1 or max(kinds)[1:] != b"\1\1":
        raise UnsupportedImage(
            "This kind of JPEG 2000 (an offset, many tiles or samples of several kinds) is not read."
        )
    return width, height, samples, depth


def _measure_jpeg_ls(data: bytes) -> tuple[int, int, int, int]:
    """Width, height, samples and bits by the frame header (ISO/IEC 14495-1, C.2.2)."""
    # Without an end marker the decoder (pyjpegls 1.5.1) never comes back from data that are cut.
    if data.rstrip(b"\0")[-2:] != b"\xff\xd9":
        raise UndecodableImage("The JPEG-LS in the DICOM ends early: the file is truncated.")
    position = 2
    while data[:2] == b"\xff\xd8" and data[position] == 0xFF and data[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", data, position + 2)
        if data[position + 1] == 0xF7:
            bits, height, width, samples = struct.unpack_from(">BHHB", data, position + 4)
            return width, height, samples, bits
        position += 2 + length
    raise UndecodableImage("The encapsulated pixel data of the DICOM is no JPEG-LS.")


def _file_meta(payload: bytes) -> tuple[int, str]:
    """Where the data set begins, and its transfer syntax."""
    values, _ = read_elements(
        payload[:144], 132, explicit=True, wanted={_META_LENGTH}, until=_META_LENGTH + 1
    )
    length = values.get(_META_LENGTH, b"")
    if len(length) != 4:
        raise UndecodableImage("The DICOM does not say how long its meta information is.")
    end = 144 + int.from_bytes(length, "little")
    if end > len(payload):
        raise UndecodableImage("The DICOM ends within its meta information: the file is truncated.")
    values, _ = read_elements(
        payload[:end], 144, explicit=True, wanted={_TRANSFER_SYNTAX}, until=_DATA_SET_GROUPS
    )
    return end, values.get(_TRANSFER_SYNTAX, b"").rstrip(b" \0").decode("ascii", "replace")


def _data_set(payload: bytes, start: int, syntax: str) -> _DataSet:
    data, inflater = payload, None
    if syntax == _DEFLATED:
        inflater = _Inflater(payload[start:])
        data, start = inflater.read(_MAX_DEFLATED_HEADER), 0
    values, pixels = read_elements(
        data, start, explicit=syntax != _IMPLICIT, wanted=_WANTED, until=_FLOAT_PIXELS
    )
    if pixels is not None and pixels.tag in (_FLOAT_PIXELS, _DOUBLE_PIXELS):
        raise UnsupportedImage(
            "The DICOM holds floating-point pixels, which are not read; send 8 or 16 bits."
        )
    if pixels is None or pixels.tag != _PIXELS:
        raise UndecodableImage("The DICOM holds no image.")
    return _DataSet(data, values, pixels, inflater)


class _Inflater:
    """A deflated data set, inflated as far as it is asked for and no further."""

    def __init__(self, deflated: bytes) -> None:
        self._stream = zlib.decompressobj(-zlib.MAX_WBITS)
        self._rest = deflated

    def read(self, at_most: int) -> bytes:
        """The next bytes; fewer only where the data end."""
        if at_most < 1:
            return b""
        try:
            inflated = self._stream.decompress(self._rest, at_most)
        except zlib.error as error:
            raise UndecodableImage("The compressed DICOM data set is corrupt.") from error
        self._rest = self._stream.unconsumed_tail
        return inflated


def _native_pixels(data_set: _DataSet, layout: NativeLayout, width: int, height: int) -> bytes:
    expected = layout.expected_bytes(width, height)
    length = data_set.pixels.length
    # More is padding (8.1.1), less than another frame; without a length the pixels are compressed.
    if not expected <= length <= 2 * expected + 1 or length == UNDEFINED_LENGTH:
        raise UndecodableImage("The DICOM holds more or fewer pixels than its header says.")
    start = data_set.pixels.value_at
    pixels = data_set.data[start : start + expected]
    if data_set.inflater is not None:
        pixels += data_set.inflater.read(expected - len(pixels))
    if len(pixels) != expected:
        raise UndecodableImage("The DICOM ends within its pixels: the file is truncated.")
    return pixels


def _layout(data_set: _DataSet, colour: NativeColour, width: int) -> NativeLayout:
    allocated, stored = data_set.integer(_BITS_ALLOCATED), data_set.integer(_BITS_STORED)
    if (
        allocated not in (8, 16)
        or not 1 <= stored <= allocated
        or data_set.integer(_HIGH_BIT, stored - 1) != stored - 1
        or data_set.integer(_IS_SIGNED, 0) != 0
        or (colour in ("ybr_full", "ybr_full_422") and not stored == allocated == 8)
        or (colour == "ybr_full_422" and width % 2 == 1)
    ):
        raise UnsupportedImage(
            "This kind of DICOM pixels is not supported; use 8 or 16 bits per sample, unsigned, "
            "the value in the lowest bits (8 bits with YBR_FULL)."
        )
    planar = data_set.integer(_PLANAR, 0)
    if planar not in (0, 1) or (planar and colour == "ybr_full_422"):
        raise UndecodableImage("The DICOM gives its planes in an order that does not exist.")
    palette, first = _palette(data_set) if colour == "palette" else (None, 0)
    return NativeLayout(colour, 8 if allocated == 8 else 16, stored, bool(planar), palette, first)


def _palette(data_set: _DataSet) -> tuple[UInt8Array, int]:
    """Uint8 ``[N, 3]``, and the sample that its first row stands for."""
    if any(data_set.values.get(_RED_SEGMENTS + colour) for colour in range(3)):
        raise UnsupportedImage(
            "The palette of the DICOM is segmented, which is not read; send it in full, or as RGB."
        )
    columns, firsts = [], set()
    for colour in range(3):
        descriptor = data_set.values.get(_RED_DESCRIPTOR + colour, b"")
        values = data_set.values.get(_RED_PALETTE + colour, b"")
        if len(descriptor) != 6:
            raise UndecodableImage("The palette of the DICOM is missing, or not described.")
        entries, first, bits = struct.unpack("<HHH", descriptor)
        entries = entries or 65_536  # which does not fit into two bytes
        if bits not in (8, 16):
            raise UnsupportedImage("The palette of the DICOM has neither 8 nor 16 bits.")
        if bits == 8 and len(values) in (entries, entries + entries % 2):
            column = np.frombuffer(values, np.uint8, entries)
        elif len(values) == 2 * entries:
            words = np.frombuffer(values, "<u2").astype(np.uint32)
            column = (words if bits == 8 else (words * 255 + 32_767) // 65_535).astype(np.uint8)
        else:
            raise UndecodableImage("The palette of the DICOM is longer or shorter than described.")
        columns.append(column)
        firsts.add(first)
    if len({len(column) for column in columns}) != 1 or len(firsts) != 1:
        raise UndecodableImage("The palettes of the DICOM's three colours differ in length.")
    return np.stack(columns, axis=-1), firsts.pop()


def _frame(data_set: _DataSet) -> bytes:
    """The one frame, which may lie in several fragments (PS3.5, A.4)."""
    if data_set.pixels.length != UNDEFINED_LENGTH:
        raise UndecodableImage("The compressed pixels of the DICOM are not encapsulated.")
    return b"".join(read_fragments(data_set.data, data_set.pixels, _MAX_FRAGMENTS))


def _encapsulated_jpeg(data_set: _DataSet, photometric: str, check_size: SizeCheck) -> ImageContainer:
    if photometric == "PALETTE COLOR" or data_set.integer(_BITS_STORED) != 8:
        raise UnsupportedImage("The JPEG in the DICOM has a palette, or other than 8 bits.")
    jpeg = _frame(data_set)
    if not jpeg.startswith(b"\xff\xd8\xff"):
        raise UndecodableImage("The encapsulated pixel data of the DICOM is no JPEG.")
    inner = read_jpeg(jpeg, check_size)
    samples = _COLOURS[photometric][1]
    if _jpeg_components(inner.data) != samples:
        raise UndecodableImage("The DICOM and the JPEG in it differ in their colours.")
    if samples == 3:
        inner = replace(inner, data=_with_colour_transform(inner.data, is_rgb=photometric == "RGB"))
    # An orientation in the JPEG's own metadata means nothing in DICOM.
    return replace(inner, media_type=MEDIA_TYPE, wrapped=inner.media_type, orientation=1)


def _segments(jpeg: bytes) -> Mapping[int, bytes]:
    """The segments before the first scan of a JPEG that was read, by marker; the last of several."""
    found, position = {}, 2
    while jpeg[position + 1] != 0xDA:
        (length,) = struct.unpack_from(">H", jpeg, position + 2)
        found[jpeg[position + 1]] = jpeg[position + 4 : position + 2 + length]
        position += 2 + length
    return found


def _jpeg_components(jpeg: bytes) -> int:
    segments = _segments(jpeg)
    return next(segments[marker][5] for marker in (0xC0, 0xC1, 0xC2) if marker in segments)


def _with_colour_transform(jpeg: bytes, *, is_rgb: bool) -> bytes:
    """The JPEG with a marker that says what its colours are, where none of its own does.

    A JPEG in a picture file is YCbCr unless it says otherwise; in DICOM it is what the photometric
    interpretation says. Where the two contradict each other (a compressor forgot to update the header, which
    is a known fault), the JPEG is believed, as it describes itself.
    """
    segments = _segments(jpeg)
    if 0xE0 in segments or 0xEE in segments:  # JFIF, which is always YCbCr, or Adobe's own marker
        return jpeg
    return jpeg[:2] + _ADOBE % (0 if is_rgb else 1) + jpeg[2:]
