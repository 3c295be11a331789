"""DICOM files become RGB pixels, or an error that says why not; whose they are goes nowhere."""

import io
import logging
import struct
import tracemalloc
import warnings
import zlib

import cv2
import jpeg_ls
import numpy as np
import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut, convert_color_space
from pydicom.sequence import Sequence
from pydicom.uid import (
    JPEG2000,
    MPEG2MPML,
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    HTJ2KLossless,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from orchestrator.errors import ImageTooLarge, InvalidImage, UndecodableImage, UnsupportedImage
from orchestrator.vision.containers import is_dicom, read_container
from orchestrator.vision.decode import DecodeLimits, decode
from tests.dicom_files import (
    CLASSES,
    NATIVE,
    PATIENT,
    bare_jpeg,
    coded_file,
    described,
    jpeg_file,
    native_file,
    pixel_module,
    written,
)
from tests.synthetic_cells import synthetic_cell
from tests.tiff_files import packbits

CELL = synthetic_cell("Eosinophil", seed=1, size=96)[:80]  # not square: 80 rows, 96 columns
SMOOTH = cv2.GaussianBlur(CELL, (0, 0), 1.5)
DEEP = np.random.default_rng(4).integers(0, 65_536, (6, 10, 3), dtype=np.uint16)


def difference(rgb, expected):
    return np.abs(rgb.astype(int) - expected).mean()


class TestUncompressed:
    @pytest.mark.parametrize("syntax", NATIVE)
    @pytest.mark.parametrize("kind", CLASSES)
    def test_every_class_and_syntax_gives_the_very_pixels(self, kind, syntax):
        image = decode(native_file(CELL, syntax=syntax, SOPClassUID=CLASSES[kind]))
        np.testing.assert_array_equal(image.rgb, CELL)
        assert image.media_type == "application/dicom"
        assert image.rgb.flags.c_contiguous
        assert not image.rgb.flags.writeable

    @pytest.mark.parametrize("syntax", NATIVE)
    def test_colour_by_plane(self, syntax):
        planes = np.moveaxis(CELL, -1, 0).tobytes()
        payload = native_file(CELL, syntax=syntax, PlanarConfiguration=1, PixelData=planes)
        np.testing.assert_array_equal(decode(payload).rgb, CELL)

    def test_an_odd_number_of_bytes_is_padded(self):
        np.testing.assert_array_equal(decode(native_file(CELL[:3, :3])).rgb, CELL[:3, :3])

    @pytest.mark.parametrize("excess", [2, 30, 5000])
    @pytest.mark.parametrize("syntax", NATIVE)
    def test_padding_behind_the_pixels_is_not_looked_at(self, syntax, excess):
        payload = native_file(CELL, syntax=syntax, PixelData=CELL.tobytes() + b"\x5a" * excess)
        np.testing.assert_array_equal(decode(payload).rgb, CELL)

    def test_ybr_full_is_what_another_reader_sees(self):
        ybr = convert_color_space(CELL, "RGB", "YBR_FULL")
        payload = native_file(ybr, "YBR_FULL")
        expected = convert_color_space(ybr, "YBR_FULL", "RGB")
        assert np.abs(decode(payload).rgb.astype(int) - expected).max() <= 1

    def test_ybr_full_422_shares_colours_between_two_pixels(self):
        ybr = convert_color_space(CELL, "RGB", "YBR_FULL").reshape(80, 48, 2, 3)
        ybr[:, :, 1, 1:] = ybr[:, :, 0, 1:]
        data = np.concatenate([ybr[..., 0], ybr[:, :, 0, 1:]], axis=-1).tobytes()
        payload = native_file(CELL, "YBR_FULL_422", PixelData=data)
        expected = convert_color_space(ybr.reshape(80, 96, 3), "YBR_FULL", "RGB")
        assert np.abs(decode(payload).rgb.astype(int) - expected).max() <= 1

    @pytest.mark.parametrize(("photometric", "first"), [("MONOCHROME2", 0), ("MONOCHROME1", 255)])
    def test_grey_of_8_bits_and_its_inverse(self, photometric, first):
        grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
        rgb = decode(native_file(grey, photometric)).rgb
        np.testing.assert_array_equal(rgb[..., 0], np.abs(grey.astype(int) - first))
        assert (rgb == rgb[..., :1]).all()

    @pytest.mark.parametrize("stored", [10, 12, 16])
    def test_grey_is_scaled_by_the_bits_that_are_stored(self, stored):
        most = (1 << stored) - 1
        grey = np.array([[0, 1, most // 2, most]], np.uint16)
        payload = native_file(grey, "MONOCHROME2", BitsStored=stored, HighBit=stored - 1)
        np.testing.assert_array_equal(
            decode(payload).rgb[0, :, 0], np.round(grey[0].astype(float) * 255 / most)
        )

    def test_bits_above_those_that_are_stored_are_not_looked_at(self):
        grey = np.array([[0xF000, 0xAFFF]], np.uint16)
        payload = native_file(grey, "MONOCHROME2", BitsStored=12, HighBit=11)
        np.testing.assert_array_equal(decode(payload).rgb[0, :, 0], [0, 255])

    def test_colour_of_16_bits(self):
        rgb = decode(native_file(DEEP)).rgb
        assert np.abs(rgb - DEEP / 257).max() <= 0.5

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("first", [0, 3])
    def test_a_palette_is_resolved_as_another_reader_does(self, bits, first):
        values = np.arange(12, dtype=np.uint8).reshape(3, 4)
        table = np.random.default_rng(bits).integers(0, 1 << bits, (3, 8), dtype=np.uint16)
        elements = {"PixelData": values.tobytes()}
        for colour, row in zip(("Red", "Green", "Blue"), table, strict=True):
            elements[f"{colour}PaletteColorLookupTableDescriptor"] = [8, first, bits]
            data = row.astype("<u2").tobytes() if bits == 16 else row.astype(np.uint8).tobytes()
            elements[f"{colour}PaletteColorLookupTableData"] = data
        payload = native_file(values, "PALETTE COLOR", **elements)
        expected = apply_color_lut(values, pydicom.dcmread(pydicom.filebase.DicomBytesIO(payload)))
        np.testing.assert_array_equal(decode(payload).rgb, np.round(expected / ((1 << bits) - 1) * 255))

    def test_a_palette_of_8_bits_in_words(self):
        elements = {}
        for colour, row in zip(("Red", "Green", "Blue"), ([1, 2], [3, 4], [5, 6]), strict=True):
            elements[f"{colour}PaletteColorLookupTableDescriptor"] = [2, 0, 8]
            elements[f"{colour}PaletteColorLookupTableData"] = np.array(row, "<u2").tobytes()
        values = np.array([[0, 1]], np.uint8)
        payload = native_file(values, "PALETTE COLOR", **elements)
        np.testing.assert_array_equal(decode(payload).rgb, [[[1, 3, 5], [2, 4, 6]]])

    def test_sequences_without_a_length_are_stepped_over(self):
        step, item = Dataset(), Dataset()
        step.CodeMeaning = PATIENT
        item.PurposeOfReferenceCodeSequence = Sequence([step])
        data_set = described(**pixel_module(CELL, "RGB"), PixelData=CELL.tobytes())
        data_set["PixelData"].VR = "OB"
        data_set.SourceImageSequence = Sequence([item])
        for sequence in (data_set["SourceImageSequence"], item["PurposeOfReferenceCodeSequence"]):
            sequence.is_undefined_length = True
            sequence.value[0].is_undefined_length_sequence_item = True
        for syntax in NATIVE.values():
            np.testing.assert_array_equal(decode(written(data_set, syntax)).rgb, CELL)

    def test_a_sequence_of_unknown_representation_is_implicit_inside(self):
        inner = element(0x00400555, None, b"") + element(0x0040A160, None, b"XX")
        unknown = struct.pack("<HH2sHI", 0x0009, 0x1010, b"UN", 0, 0xFFFFFFFF)
        item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF) + inner + END_OF_ITEM
        payload = native_file(CELL)
        at = payload.index(struct.pack("<HH", 0x0010, 0x0010))
        spliced = payload[:at] + unknown + item + END_OF_SEQUENCE + payload[at:]
        np.testing.assert_array_equal(decode(spliced).rgb, CELL)

    def test_any_preamble_and_bytes_behind_the_pixels_do_not_matter(self):
        payload = native_file(CELL, DataSetTrailingPadding=bytes(64))
        tiff = b"II*\0\x08\0\0\0".ljust(128, b"\0")
        np.testing.assert_array_equal(decode(tiff + payload[128:] + b"junk").rgb, CELL)


class TestJpeg:
    @pytest.mark.parametrize("fragments", [1, 3])
    def test_ycbcr(self, fragments):
        payload = jpeg_file(bare_jpeg(SMOOTH), "YBR_FULL_422", SMOOTH.shape, fragments=fragments)
        image = decode(payload)
        assert difference(image.rgb, SMOOTH) < 3
        assert image.media_type == "application/dicom"

    def test_rgb_without_a_marker_is_what_the_header_says(self):
        payload = jpeg_file(bare_jpeg(SMOOTH, colours="rgb"), "RGB", SMOOTH.shape)
        assert difference(decode(payload).rgb, SMOOTH) < 3

    def test_ycbcr_that_the_header_calls_rgb_is_believed_where_it_describes_itself(self):
        _, data = cv2.imencode(".jpg", SMOOTH[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
        assert data.tobytes()[2:4] == b"\xff\xe0"  # JFIF
        assert difference(decode(jpeg_file(data.tobytes(), "RGB", SMOOTH.shape)).rgb, SMOOTH) < 3

    @pytest.mark.parametrize(("photometric", "inverse"), [("MONOCHROME2", False), ("MONOCHROME1", True)])
    def test_grey(self, photometric, inverse):
        grey = SMOOTH[..., 1].copy()
        _, data = cv2.imencode(".jpg", grey, [cv2.IMWRITE_JPEG_QUALITY, 95])
        rgb = decode(jpeg_file(data.tobytes(), photometric, grey.shape)).rgb
        assert difference(rgb[..., 0], 255 - grey.astype(int) if inverse else grey) < 3

    def test_the_orientation_of_a_camera_means_nothing(self):
        exif = Image.Exif()
        exif[0x0112] = 6
        payload = jpeg_file(bare_jpeg(SMOOTH, exif=exif), "YBR_FULL_422", SMOOTH.shape)
        assert decode(payload).rgb.shape == SMOOTH.shape


GREY = CELL[..., 1].copy()


def rle_of(pixels) -> bytes:
    """A frame by PS3.5, annex G."""
    planes = pixels[..., np.newaxis] if pixels.ndim == 2 else pixels
    depth = planes.dtype.itemsize
    segments = []
    for sample in np.moveaxis(planes, -1, 0):
        parts = np.ascontiguousarray(sample.astype(sample.dtype.newbyteorder(">"))).view(np.uint8)
        for place in range(depth):
            rows = parts.reshape(len(sample), -1, depth)[..., place]
            segment = b"".join(packbits(row.tobytes()) for row in rows)
            segments.append(segment + bytes(len(segment) % 2))
    offsets = 64 + np.cumsum([0, *map(len, segments)])[:-1]
    header = struct.pack("<I", len(segments)) + offsets.astype("<u4").tobytes()
    return header.ljust(64, b"\0") + b"".join(segments)


def jpeg_2000_of(pixels, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG2000", no_jp2=True, **options)
    return stream.getvalue()


def jpeg_ls_of(pixels, **options) -> bytes:
    return bytes(jpeg_ls.encode_array(pixels, **options))


class TestOtherCodings:
    @pytest.mark.parametrize(
        ("frame", "photometric", "syntax"),
        [
            (rle_of(CELL), "RGB", RLELossless),
            (jpeg_2000_of(CELL, mct=0), "RGB", JPEG2000Lossless),
            (jpeg_2000_of(CELL, mct=1), "YBR_RCT", JPEG2000Lossless),
            (jpeg_2000_of(CELL, tile_size=(40, 40)), "YBR_RCT", JPEG2000),
            (jpeg_ls_of(np.moveaxis(CELL, -1, 0).copy(), interleave_mode=0), "RGB", JPEGLSLossless),
            (jpeg_ls_of(CELL, interleave_mode=1), "RGB", JPEGLSLossless),
            (jpeg_ls_of(CELL, interleave_mode=2), "RGB", JPEGLSNearLossless),
        ],
    )
    def test_colour_is_read_to_the_very_pixels(self, frame, photometric, syntax):
        payload = coded_file(frame, CELL, photometric, syntax)
        np.testing.assert_array_equal(decode(payload).rgb, CELL)
        is_lossy = syntax in (JPEG2000, JPEGLSNearLossless)
        assert read_container(payload, 10**6).is_lossy is is_lossy

    @pytest.mark.parametrize(
        ("code", "syntax"),
        [(rle_of, RLELossless), (jpeg_2000_of, JPEG2000Lossless), (jpeg_ls_of, JPEGLSLossless)],
    )
    @pytest.mark.parametrize(("photometric", "inverse"), [("MONOCHROME2", False), ("MONOCHROME1", True)])
    def test_grey(self, code, syntax, photometric, inverse):
        rgb = decode(coded_file(code(GREY), GREY, photometric, syntax)).rgb
        np.testing.assert_array_equal(rgb[..., 0], 255 - GREY if inverse else GREY)

    @pytest.mark.parametrize(("code", "syntax"), [(rle_of, RLELossless), (jpeg_ls_of, JPEGLSLossless)])
    def test_sixteen_bits(self, code, syntax):
        rgb = decode(coded_file(code(DEEP[..., 0].copy()), DEEP[..., 0], "MONOCHROME2", syntax)).rgb
        assert np.abs(rgb[..., 0] - DEEP[..., 0] / 257).max() <= 0.5

    @pytest.mark.parametrize(
        ("code", "syntax"), [(jpeg_2000_of, JPEG2000Lossless), (jpeg_ls_of, JPEGLSLossless)]
    )
    @pytest.mark.parametrize(("pixels", "photometric"), [(GREY, "MONOCHROME2"), (CELL, "RGB")])
    def test_eight_bits_of_sixteen_that_are_allocated(self, code, syntax, pixels, photometric):
        payload = coded_file(code(pixels), pixels, photometric, syntax, BitsAllocated=16)
        np.testing.assert_array_equal(decode(payload).rgb[..., 1], GREY)

    def test_rle_of_ybr_full(self):
        ybr = convert_color_space(CELL, "RGB", "YBR_FULL")
        expected = decode(native_file(ybr, "YBR_FULL")).rgb
        np.testing.assert_array_equal(
            decode(coded_file(rle_of(ybr), ybr, "YBR_FULL", RLELossless)).rgb, expected
        )

    @pytest.mark.parametrize(
        ("code", "syntax"),
        [(rle_of, RLELossless), (jpeg_2000_of, JPEG2000Lossless), (jpeg_ls_of, JPEGLSLossless)],
    )
    def test_a_frame_that_is_cut_or_of_another_size_is_refused(self, code, syntax):
        whole = code(CELL)
        for length in range(2, len(whole) - 3, len(whole) // 20):
            with pytest.raises(InvalidImage):
                decode(coded_file(whole[:length], CELL, "RGB", syntax))
        for other in (CELL[:-1], CELL[:, :-1], CELL[..., 0]):
            with pytest.raises(UndecodableImage):
                decode(coded_file(code(np.ascontiguousarray(other)), CELL, "RGB", syntax))

    @pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
    def test_a_frame_that_claims_a_huge_size_is_refused_unread(self, syntax):
        code = bytearray(jpeg_2000_of(CELL) if syntax == JPEG2000Lossless else jpeg_ls_of(CELL))
        if syntax == JPEG2000Lossless:
            code[8:16] = struct.pack(">II", 60_000, 60_000)
        else:
            at = code.index(b"\xff\xf7")
            code[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
        with pytest.raises(InvalidImage, match=r"differ in size|many tiles"):
            decode(coded_file(bytes(code), CELL, "RGB", syntax))

    def test_jpeg_2000_of_a_million_tiles_is_refused_unread(self):
        code = bytearray(jpeg_2000_of(CELL))
        code[24:32] = struct.pack(">II", 1, 1)
        with pytest.raises(UnsupportedImage, match="many tiles"):
            decode(coded_file(bytes(code), CELL, "RGB", JPEG2000Lossless))


def element(tag: int, vr: bytes | None, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    group = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if vr is None:
        return group + struct.pack("<I", size) + value
    if vr in (b"OB", b"SQ", b"UN", b"OW"):
        return group + vr + struct.pack("<HI", 0, size) + value
    return group + vr + struct.pack("<H", size) + value


END_OF_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def spliced(nested: bytes, before: int = 0x00100010) -> bytes:
    """A good file with these bytes before the patient's name."""
    payload = native_file(CELL)
    at = payload.index(struct.pack("<HH", before >> 16, before & 0xFFFF), 300)
    return payload[:at] + nested + payload[at:]


def with_value(tag: int, value: bytes) -> bytes:
    """A good file in which a short element has another value of the same length."""
    payload = native_file(CELL)
    at = payload.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF), 300)
    return payload[: at + 8] + value + payload[at + 8 + len(value) :]


def deep_sequences(levels: int) -> bytes:
    begin = struct.pack("<HH2sHI", 0x0008, 0x2112, b"SQ", 0, 0xFFFFFFFF)
    begin += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    return begin * levels + (END_OF_ITEM + END_OF_SEQUENCE) * levels


def deflated(data_set: bytes) -> bytes:
    meta = native_file(CELL, syntax="deflated")
    end = 144 + int.from_bytes(meta[140:144], "little")
    stream = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    return meta[:end] + stream.compress(data_set) + stream.flush()


def headers_of(rows: int, columns: int) -> bytes:
    """The elements of a good RGB image of that size, in explicit representation, without its pixels."""
    numbers = {2: 3, 0x10: rows, 0x11: columns, 0x100: 8, 0x101: 8, 0x102: 7, 0x103: 0}
    body = {0x00280000 + tag: (b"US", struct.pack("<H", number)) for tag, number in numbers.items()}
    body[0x00280004] = (b"CS", b"RGB ")
    body[0x00080016] = (b"UI", CLASSES["microscopic"].encode() + b"\0")
    return b"".join(element(tag, *value) for tag, value in sorted(body.items()))


BOMB = 2**26
"""Bytes: more than twice what a decoder may hold of them."""


class TestRefusals:
    @pytest.mark.parametrize(
        ("payload", "says"),
        [
            (native_file(CELL, SOPClassUID=CTImageStorage), "photograph"),
            (native_file(CELL, NumberOfFrames=2, PixelData=CELL.tobytes() * 2), "more than one frame"),
            (native_file(CELL, PhotometricInterpretation="YBR_ICT"), "pixels is not supported"),
            (native_file(CELL[..., 0], "MONOCHROME2", PixelRepresentation=1), "unsigned"),
            (native_file(DEEP[..., 0], "MONOCHROME2", BitsStored=12, HighBit=15), "lowest bits"),
            (native_file(CELL, BitsAllocated=32, BitsStored=32, HighBit=31), "8 or 16 bits"),
            (native_file(CELL[:, :95], "YBR_FULL_422"), "not supported"),
            (jpeg_file(bare_jpeg(CELL), "RGB", CELL.shape, syntax=JPEGLosslessSV1), "JPEG Lossless"),
            (
                jpeg_file(bare_jpeg(CELL), "RGB", CELL.shape, syntax=HTJ2KLossless),
                "High-Throughput JPEG 2000",
            ),
            (jpeg_file(bare_jpeg(CELL), "RGB", CELL.shape, syntax=MPEG2MPML), "a video"),
            (
                native_file(CELL).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.9.9.9\0"),
                "unknown transfer syntax",
            ),
            (
                native_file(CELL[..., 0], "PALETTE COLOR", SegmentedRedPaletteColorLookupTableData=bytes(8)),
                "segmented",
            ),
            (native_file(DEEP[..., 0] >> 4, "MONOCHROME2"), "Bits Stored"),
        ],
    )
    def test_other_kinds_are_unsupported(self, payload, says):
        with pytest.raises(UnsupportedImage, match=says):
            decode(payload)

    def test_big_endian_is_unsupported(self):
        payload = native_file(CELL).replace(
            ExplicitVRLittleEndian.encode() + b"\0", ExplicitVRBigEndian.encode() + b"\0", 1
        )
        with pytest.raises(UnsupportedImage, match="big endian"):
            decode(payload)

    def test_one_frame_that_is_told_is_taken(self):
        np.testing.assert_array_equal(decode(native_file(CELL, NumberOfFrames=1)).rgb, CELL)

    @pytest.mark.parametrize("syntax", [*NATIVE, "jpeg"])
    def test_a_file_that_is_cut_anywhere_is_an_error(self, syntax):
        small = CELL[:8, :8]
        if syntax == "jpeg":
            payload = jpeg_file(bare_jpeg(small), "YBR_FULL_422", small.shape)
        else:
            payload = native_file(small, syntax=syntax)
        least = 2 if syntax == "deflated" else 1  # what ends a deflated stream is not needed
        for length in range(0, len(payload) - least - 8, 3):
            with pytest.raises(InvalidImage):
                decode(payload[:length])

    @pytest.mark.parametrize(
        ("payload", "says"),
        [
            (native_file(CELL, PixelData=CELL.tobytes()[:-2]), "fewer pixels"),
            (native_file(CELL, Rows=81), "fewer pixels"),
            (native_file(CELL, PixelData=CELL.tobytes() * 2 + bytes(2)), "more or fewer pixels"),
            (
                native_file(CELL).replace(struct.pack("<HI", 0, CELL.size), bytes(2) + b"\xff" * 4),
                "fewer pixels",
            ),
            (native_file(CELL, Rows=0), "no pixels"),
            (native_file(CELL, PlanarConfiguration=2), "planes"),
            (native_file(CELL[..., 0], "PALETTE COLOR"), "palette"),
            (jpeg_file(bare_jpeg(CELL), "YBR_FULL_422", (79, 96, 3)), "two different sizes"),
            (jpeg_file(bare_jpeg(CELL), "MONOCHROME2", (80, 96)), "colours"),
            (jpeg_file(b"\0\1no jpeg", "RGB", CELL.shape), "no JPEG"),
            (jpeg_file(bare_jpeg(CELL)[:400] + b"\xff\xd9", "YBR_FULL_422", CELL.shape), "truncated"),
            (written(described()), "holds no image"),
            (spliced(deep_sequences(40)), "nested too deeply"),
            (spliced(deep_sequences(50_000)), "nested too deeply"),
            (spliced(element(0x00080031, b"SH", b"") * 110_000), "more than 100000 elements"),
            (spliced(element(0x00091010, b"ZZ", b"12345678")), "representation is unknown"),
            (spliced(element(0x00091010, b"UN", b"", 0x7FFFFFFF)), "longer than the file"),
            (spliced(element(0x00091010, b"OB", b"", 0xFFFFFFFF)), "no sequence"),
            (spliced(element(0x00082112, b"SQ", element(0x00080031, b"SH", b""), 0xFFFFFFFF)), "no item"),
            (spliced(element(0x00280010, b"US", b"\1\0")), "twice"),
            (bytes(128) + b"DICM\2\0" + bytes(500), "meta information|unknown"),
            (bytes(128) + b"DICM\2\0\0\0UL\4\0\xff\xff\xff\x7f", "truncated"),
        ],
    )  # fmt: skip
    def test_damage_and_lies_are_named(self, payload, says):
        with pytest.raises(UndecodableImage, match=says):
            decode(payload)

    def test_size_is_judged_before_anything_of_that_size_is_made(self):
        payload = native_file(CELL, Rows=65_535, Columns=65_535)
        with pytest.raises(ImageTooLarge, match="65535 x 65535"):
            decode(payload)
        with pytest.raises(ImageTooLarge, match="bytes are accepted"):
            decode(native_file(CELL), DecodeLimits(max_bytes=1000))
        with pytest.raises(ImageTooLarge):
            decode(jpeg_file(bare_jpeg(CELL), "RGB", (80, 96, 3)), DecodeLimits(max_pixels=1000))

    def test_a_jpeg_larger_than_its_header_says_is_judged_by_its_own_size(self):
        huge = bytearray(bare_jpeg(CELL))
        frame = huge.index(b"\xff\xc0")
        huge[frame + 5 : frame + 9] = b"\xff\xff\xff\xff"
        with pytest.raises(ImageTooLarge):
            decode(jpeg_file(bytes(huge), "YBR_FULL_422", CELL.shape))

    @pytest.mark.parametrize(
        "bomb",
        [
            deflated(bytes(BOMB)),  # elements without end
            deflated(element(0x00091010, b"UN", b"", 0xFFFFFF00) + bytes(BOMB)),
            deflated(headers_of(80, 96) + element(0x7FE00010, b"OB", b"", 0xFFFFFF00) + bytes(BOMB)),
            deflated(headers_of(65_000, 65_000) + element(0x7FE00010, b"OB", bytes(BOMB))),
        ],
    )
    def test_a_deflate_bomb_is_inflated_no_further_than_needed(self, bomb):
        assert len(bomb) < 2**19
        tracemalloc.start()
        try:
            with pytest.raises(InvalidImage):
                decode(bomb)
            assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
        finally:
            tracemalloc.stop()

    def test_what_a_deflated_file_holds_behind_its_pixels_is_never_inflated(self):
        pixels = element(0x7FE00010, b"OB", CELL.tobytes())
        bomb = deflated(headers_of(80, 96) + pixels + bytes(BOMB))
        tracemalloc.start()
        try:
            np.testing.assert_array_equal(decode(bomb).rgb, CELL)
            assert tracemalloc.get_traced_memory()[1] < 24 * 2**20
        finally:
            tracemalloc.stop()

    def test_a_damaged_deflate_stream_is_named(self):
        payload = native_file(CELL, syntax="deflated")
        end = 144 + int.from_bytes(payload[140:144], "little")
        with pytest.raises(UndecodableImage, match="corrupt"):
            decode(payload[:end] + b"\xff" * 100)

    @given(st.data())
    def test_no_damage_raises_anything_else(self, data):
        payload = bytearray(data.draw(st.sampled_from(DAMAGED_SEEDS)))
        for _ in range(data.draw(st.integers(1, 6))):
            payload[data.draw(st.integers(128, len(payload) - 1))] = data.draw(st.integers(0, 255))
        try:
            image = decode(bytes(payload), DecodeLimits(max_pixels=100_000))
        except InvalidImage:
            return
        assert image.rgb.shape[2] == 3


DAMAGED_SEEDS = [
    *(native_file(CELL[:6, :6], syntax=syntax) for syntax in NATIVE),
    jpeg_file(bare_jpeg(CELL[:16, :16]), "YBR_FULL_422", (16, 16, 3)),
    native_file(CELL[:6, :6, 0], "MONOCHROME1"),
    native_file(CELL[:6, :6], "YBR_FULL_422"),
    coded_file(rle_of(CELL[:6, :6]), CELL[:6, :6], "RGB", RLELossless),
    coded_file(jpeg_2000_of(CELL[:16, :16].copy()), CELL[:16, :16], "RGB", JPEG2000Lossless),
    coded_file(jpeg_ls_of(CELL[:6, :6].copy()), CELL[:6, :6], "RGB", JPEGLSLossless),
]


class TestPrivacy:
    @pytest.mark.parametrize("damage", [0, 40])
    def test_nothing_of_the_header_leaves(self, damage, caplog, capfd):
        payload = native_file(CELL)[: -damage or None]
        assert payload.count(PATIENT.encode()) > 5
        with caplog.at_level(logging.DEBUG), warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            if damage:
                with pytest.raises(InvalidImage) as raised:
                    decode(payload)
                said = repr(raised.value)
            else:
                said = repr(decode(payload)) + repr(read_container(payload, 10**6))
        out, err = capfd.readouterr()
        everything = said + caplog.text + out + err + "".join(str(w.message) for w in warned)
        assert PATIENT not in everything
        assert "Yilmaz" not in everything

    @pytest.mark.parametrize("syntax", NATIVE)
    def test_what_reaches_the_pixel_decoder_holds_nobody(self, syntax):
        container = read_container(native_file(CELL, syntax=syntax), 10**6)
        assert container.data == CELL.tobytes()

    def test_text_in_the_jpeg_does_not_reach_the_decoder_either(self):
        jpeg = bare_jpeg(CELL, comment=PATIENT.encode())
        container = read_container(jpeg_file(jpeg, "YBR_FULL_422", CELL.shape), 10**6)
        assert PATIENT.encode() not in container.data


def test_a_dicom_file_is_known_by_its_bytes():
    assert is_dicom(native_file(CELL))
    assert not is_dicom(bare_jpeg(CELL))
    assert not is_dicom(bytes(200))
