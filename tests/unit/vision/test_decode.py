"""Files become RGB pixels, or an error that says why not."""

import io
import logging
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from orchestrator.errors import ImageTooLarge, InvalidImage, UndecodableImage, UnsupportedImage
from orchestrator.vision.decode import FIELD_LIMITS, MOST_PIXELS, DecodeLimits, decode
from tests.malformed_images import FORMATS, malformed_images, png_chunk, png_file, tiff_file, whole_image
from tests.synthetic_cells import image_file, synthetic_cell
from tests.tiff_files import DEFLATE, tiff_of

CELL = synthetic_cell("Eosinophil", seed=1, size=96)[:80]  # not square: 80 rows, 96 columns
SMOOTH = cv2.GaussianBlur(CELL, (0, 0), 1.5)  # lossy formats keep little of the sensor's noise
MALFORMED = malformed_images()
LOSSLESS: dict[str, tuple[str, dict[str, Any]]] = {
    "png": ("PNG", {}),
    "bmp": ("BMP", {}),
    "tiff": ("TIFF", {}),
    "lzw tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "deflate tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "packbits tiff": ("TIFF", {"compression": "packbits"}),
    "webp": ("WEBP", {"lossless": True}),
}


def encoded(image, image_format, **options):
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(
        stream, image_format, **options
    )
    return stream.getvalue()


def opencv_encoded(extension, array):
    written, data = cv2.imencode(extension, array)
    assert written
    return data.tobytes()


PEAK_BYTES = r"""
import pathlib, re

def peak_bytes():
    return 1024 * int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path("/proc/self/status").read_text())[1])
"""
"""For a process of its own; its ``ru_maxrss`` begins with that of the process which started it."""

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak in /proc")


class TestFormats:
    @pytest.mark.parametrize("name", LOSSLESS)
    def test_lossless_formats_give_the_very_pixels(self, name):
        image_format, options = LOSSLESS[name]
        np.testing.assert_array_equal(decode(encoded(CELL, image_format, **options)).rgb, CELL)

    @pytest.mark.parametrize(
        "options", [{}, {"progressive": True}, {"subsampling": 0}, {"restart_marker_rows": 1}]
    )
    def test_jpeg_gives_nearly_the_pixels(self, options):
        rgb = decode(encoded(SMOOTH, "JPEG", quality=95, **options)).rgb
        assert np.abs(rgb.astype(int) - SMOOTH).mean() < 3

    def test_lossy_webp_gives_nearly_the_pixels(self):
        rgb = decode(encoded(SMOOTH, "WEBP", quality=95)).rgb
        assert np.abs(rgb.astype(int) - SMOOTH).mean() < 3

    @pytest.mark.parametrize("image_format", FORMATS)
    def test_media_type_is_found_in_the_bytes(self, image_format):
        assert decode(whole_image(image_format)).media_type == f"image/{image_format.lower()}"

    @pytest.mark.parametrize("image_format", FORMATS)
    def test_pixels_are_contiguous_uint8_and_read_only(self, image_format):
        rgb = decode(whole_image(image_format)).rgb
        assert rgb.dtype == np.uint8
        assert rgb.shape == (96, 96, 3)
        assert rgb.flags.c_contiguous
        assert not rgb.flags.writeable

    @pytest.mark.parametrize("image_format", FORMATS)
    def test_bytes_behind_the_image_do_not_matter(self, image_format):
        payload = whole_image(image_format)
        np.testing.assert_array_equal(decode(payload + b"appended by a camera").rgb, decode(payload).rgb)

    @pytest.mark.parametrize("name", LOSSLESS)
    def test_a_single_pixel_is_an_image(self, name):
        image_format, options = LOSSLESS[name]
        pixel = np.array([[[200, 100, 50]]], np.uint8)
        np.testing.assert_array_equal(decode(encoded(pixel, image_format, **options)).rgb, pixel)

    def test_bmp_stored_from_top_to_bottom(self):
        payload = encoded(CELL, "BMP")
        pixels = b"".join(row[:, ::-1].tobytes() for row in CELL)  # 96 pixels of 3 bytes need no padding
        flipped = payload[:22] + struct.pack("<i", -len(CELL)) + payload[26:54] + pixels
        np.testing.assert_array_equal(decode(flipped).rgb, CELL)

    def test_bmp_with_the_header_of_os2(self):
        rows = b"".join(row[:, ::-1].tobytes() for row in CELL[::-1])
        payload = struct.pack("<2sIHHIIHHHH", b"BM", 0, 0, 0, 26, 12, 96, 80, 1, 24) + rows
        np.testing.assert_array_equal(decode(payload).rgb, CELL)

    def test_jpeg_compressed_tiff_gives_nearly_the_pixels(self):
        rgb = decode(encoded(SMOOTH, "TIFF", compression="jpeg", quality=95)).rgb
        assert np.abs(rgb.astype(int) - SMOOTH).mean() < 3

    @pytest.mark.parametrize("extension", [".png", ".tiff", ".bmp", ".webp"])
    def test_files_that_opencv_writes_are_read(self, extension):
        payload = opencv_encoded(extension, SMOOTH[:, :, ::-1])
        assert np.abs(decode(payload).rgb.astype(int) - SMOOTH).mean() < 3

    def test_interlaced_png_is_read(self):
        shade = np.arange(5 * 3, dtype=np.uint8).reshape(3, 5) * 16
        passes = [
            shade[r::dr, c::dc]
            for c, r, dc, dr in (
                (0, 0, 8, 8),
                (4, 0, 8, 8),
                (0, 4, 4, 8),
                (2, 0, 4, 4),
                (0, 2, 2, 4),
                (1, 0, 2, 2),
                (0, 1, 1, 2),
            )
        ]
        raw = b"".join(b"\0" + row.tobytes() for part in passes if part.size for row in part)
        header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 3, 8, 0, 0, 0, 1))
        idat, end = png_chunk(b"IDAT", zlib.compress(raw)), png_chunk(b"IEND", b"")
        rgb = decode(b"\x89PNG\r\n\x1a\n" + header + idat + end).rgb
        np.testing.assert_array_equal(rgb[..., 0], shade)

    def test_png_that_is_packed_a_thousandfold_is_read(self):
        flat = np.full((1000, 1000, 3), (9, 8, 7), np.uint8)
        payload = encoded(flat, "PNG")
        assert len(payload) < flat.size / 250
        np.testing.assert_array_equal(decode(payload).rgb, flat)

    def test_png_whose_stream_is_split_into_many_chunks_is_read(self):
        rows = b"".join(b"\0" + row.tobytes() for row in CELL)
        stream = zlib.compress(rows)
        parts = [png_chunk(b"IDAT", stream[start : start + 100]) for start in range(0, len(stream), 100)]
        np.testing.assert_array_equal(decode(png_file((96, 80, 8, 2), *parts)).rgb, CELL)


class TestPixelKinds:
    @pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF", "JPEG", "WEBP"])
    def test_grey_has_three_equal_channels(self, image_format):
        options = (
            {"quality": 100}
            if image_format == "JPEG"
            else {"lossless": True}
            if image_format == "WEBP"
            else {}
        )
        rgb = decode(encoded(CELL[..., 1].copy(), image_format, **options)).rgb
        assert (rgb[..., 0] == rgb[..., 1]).all()
        assert (rgb[..., 0] == rgb[..., 2]).all()
        assert np.abs(rgb[..., 0].astype(int) - CELL[..., 1]).max() <= 3

    @pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
    def test_palette_is_resolved(self, image_format):
        palette = Image.fromarray(CELL).quantize(32)
        expected = np.asarray(palette.convert("RGB"))
        np.testing.assert_array_equal(decode(encoded(palette, image_format)).rgb, expected)

    @pytest.mark.parametrize("image_format", ["PNG", "BMP", "TIFF"])
    def test_one_bit_is_black_and_white(self, image_format):
        bits = CELL[..., 1] > 128
        rgb = decode(encoded(Image.fromarray(bits), image_format)).rgb
        np.testing.assert_array_equal(rgb[..., 1], np.where(bits, 255, 0))

    @pytest.mark.parametrize(
        ("image_format", "options"), [("PNG", {}), ("TIFF", {}), ("WEBP", {"lossless": True, "exact": True})]
    )
    def test_alpha_is_composited_on_white(self, image_format, options):
        alpha = np.tile(np.linspace(0, 255, 96).astype(np.uint8), (80, 1))
        payload = encoded(np.dstack([CELL, alpha]), image_format, **options)
        share = alpha[..., np.newaxis] / 255
        expected = CELL * share + 255 * (1 - share)
        assert np.abs(decode(payload).rgb - expected).max() <= 1

    @pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
    def test_grey_with_alpha_is_composited_on_white(self, image_format):
        grey_alpha = np.zeros((2, 2, 2), np.uint8)
        grey_alpha[0, :, 1] = 255, 128
        payload = encoded(Image.fromarray(grey_alpha, "LA"), image_format)
        np.testing.assert_array_equal(decode(payload).rgb[..., 0], [[0, 127], [255, 255]])

    def test_transparent_colours_of_a_palette_are_white(self):
        palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
        palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
        payload = encoded(palette, "PNG", transparency=bytes((0, 255, 255)))
        np.testing.assert_array_equal(decode(payload).rgb, [[[255, 255, 255], [40, 50, 60], [70, 80, 90]]])

    def test_transparent_colour_of_an_rgb_png_is_white(self):
        pixels = np.array([[[10, 20, 30], [10, 20, 31]]], np.uint8)
        payload = encoded(pixels, "PNG", transparency=(10, 20, 30))
        np.testing.assert_array_equal(decode(payload).rgb, [[[255, 255, 255], [10, 20, 31]]])

    @pytest.mark.parametrize(
        ("depth", "row"),
        [
            (2, b"\0\x1b"),
            (4, b"\0\x01\x23"),
            (8, b"\0\0\1\2\3"),
            (16, b"\0" + bytes(2) + b"\x01\0\x02\0\x03\0"),
        ],
    )
    def test_transparent_level_of_a_grey_png_is_white(self, depth, row):
        """Levels 0 to 3 in a row (0, 256, 512, 768 with 16 bits); the third is transparent."""
        key = struct.pack(">H", 512 if depth == 16 else 2)
        payload = png_file((4, 1, depth, 0), png_chunk(b"tRNS", key), png_chunk(b"IDAT", zlib.compress(row)))
        scale = {2: 85, 4: 17, 8: 1, 16: 1}[depth]
        np.testing.assert_array_equal(decode(payload).rgb[0, :, 0], [0, scale, 255, 3 * scale])

    def test_bmp_with_an_unused_alpha_channel_is_opaque(self):
        header = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 14 + 108)
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        information = struct.pack("<IiiHHIIiiII", 108, 1, 1, 1, 32, 3, 4, 0, 0, 0, 0) + masks
        payload = header + information.ljust(108, b"\0") + bytes((30, 20, 10, 0))
        np.testing.assert_array_equal(decode(payload).rgb, [[[10, 20, 30]]])

    @pytest.mark.parametrize("extension", [".png", ".tiff"])
    def test_16_bit_grey_is_scaled_to_8(self, extension):
        deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
        rgb = decode(opencv_encoded(extension, deep)).rgb
        np.testing.assert_array_equal(rgb[..., 0].ravel(), np.arange(256))

    @pytest.mark.parametrize("extension", [".png", ".tiff"])
    @pytest.mark.parametrize("channels", [3, 4])
    def test_16_bit_colour_is_scaled_to_8(self, extension, channels):
        deep = np.full((80, 96, channels), 65_535, np.uint16)
        deep[..., :3] = CELL[:, :, ::-1].astype(np.uint16) * 257
        np.testing.assert_array_equal(decode(opencv_encoded(extension, deep)).rgb, CELL)

    def test_16_bit_values_between_two_levels_are_off_by_one_at_most(self):
        deep = np.random.default_rng(0).integers(0, 65_536, (40, 40, 3), dtype=np.uint16)
        rgb = decode(opencv_encoded(".png", deep[..., ::-1])).rgb
        assert np.abs(rgb - deep / 257).max() <= 1

    @pytest.mark.parametrize("byte_order", ["<", ">"])
    def test_16_bit_grey_tiff_of_either_byte_order(self, byte_order):
        values = struct.pack(byte_order + "4H", 0, 257, 514, 65_535)
        tags = {256: (3, 4), 257: (3, 1), 258: (3, 16), 259: (3, 1), 262: (3, 1), 273: (4, 8), 279: (4, 8)}
        entries = b"".join(
            struct.pack(
                byte_order + ("HHIHH" if kind == 3 else "HHII"),
                tag,
                kind,
                1,
                value,
                *([0] if kind == 3 else []),
            )
            for tag, (kind, value) in tags.items()
        )
        magic = b"II*\0" if byte_order == "<" else b"MM\0*"
        directory = struct.pack(byte_order + "H", len(tags)) + entries + bytes(4)
        payload = magic + struct.pack(byte_order + "I", 16) + values + directory
        np.testing.assert_array_equal(decode(payload).rgb[0, :, 0], [0, 1, 2, 255])

    @pytest.mark.parametrize(
        ("bits", "values"), [(8, bytes((0, 1, 254, 255))), (16, struct.pack("<4H", 0, 257, 65_278, 65_535))]
    )
    def test_tiff_in_which_white_is_zero_is_inverted(self, bits, values):
        tags = {256: 4, 257: 1, 258: bits, 259: 1, 262: 0, 273: 8, 279: len(values)}
        payload = tiff_file({tag: (4, 1, value) for tag, value in tags.items()}, values)
        np.testing.assert_array_equal(decode(payload).rgb[0, :, 0], [255, 254, 1, 0])

    def test_12_bit_grey_tiff_is_scaled_by_its_own_range(self):
        tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 8, 279: 3}
        payload = tiff_file({tag: (4, 1, value) for tag, value in tags.items()}, b"\x80\x0f\xff\0")
        np.testing.assert_array_equal(decode(payload).rgb[0, :, 0], [128, 255])

    @pytest.mark.parametrize("cell", ["strips", "tiles"])
    def test_planar_and_tiled_tiffs_are_read(self, cell):
        planes = np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16) if cell == "strips" else None
        if planes is not None:
            body, offsets, counts = planes.tobytes(), [0, 256, 512], [256] * 3
            layout = {273: 3, 279: 3, 284: 2, 278: 16}
        else:
            planes = np.arange(3 * 16 * 32, dtype=np.uint8).reshape(3, 16, 32)
            tiles = [planes[:, :, left : left + 16].transpose(1, 2, 0).tobytes() for left in (0, 16)]
            body, offsets, counts = b"".join(tiles), [0, 768], [768] * 2
            layout = {322: 16, 323: 16, 324: 2, 325: 2}
        lists = struct.pack(f"<{2 * len(offsets)}I", *(8 + o for o in offsets), *counts)
        bits = struct.pack("<3H", 8, 8, 8)
        at = 8 + len(body)
        tags = {256: (4, 1, planes.shape[2]), 257: (4, 1, 16), 258: (3, 3, at + len(lists)), 259: (4, 1, 1)}
        tags |= {262: (4, 1, 2), 277: (4, 1, 3)} | {tag: (4, 1, value) for tag, value in layout.items()}
        first, second = (273, 279) if cell == "strips" else (324, 325)
        tags |= {first: (4, len(offsets), at), second: (4, len(offsets), at + 4 * len(offsets))}
        rgb = decode(tiff_file(tags, body + lists + bits)).rgb
        np.testing.assert_array_equal(rgb, planes.transpose(1, 2, 0))

    @pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
    def test_cmyk_becomes_rgb(self, image_format):
        cmyk = Image.new("CMYK", (32, 32), (200, 60, 20, 40))
        rgb = decode(encoded(cmyk, image_format, **({"quality": 100} if image_format == "JPEG" else {}))).rgb
        expected = [(255 - ink) * (255 - 40) / 255 for ink in (200, 60, 20)]
        assert np.abs(rgb - expected).max() <= 2

    def test_cmyk_jpeg_without_the_adobe_mark_is_not_inverted(self):
        """Pillow stores inverted values, as Adobe does; without the mark they are plain ones."""
        payload = encoded(Image.new("CMYK", (32, 32), (200, 60, 20, 40)), "JPEG", quality=100)
        mark = payload.index(b"\xff\xee")
        unmarked = payload[:mark] + payload[mark + 2 + int.from_bytes(payload[mark + 2 : mark + 4], "big") :]
        expected = [ink * 40 / 255 for ink in (200, 60, 20)]
        assert np.abs(decode(unmarked).rgb - expected).max() <= 2

    def test_ycck_jpeg_becomes_rgb(self):
        ink = (200, 60, 20)  # Of the true image; Adobe's YCCK holds the YCbCr of these numbers.
        luma, blueness, redness = Image.new("RGB", (1, 1), ink).convert("YCbCr").tobytes()
        stored = Image.new("CMYK", (32, 32), (255 - luma, 255 - blueness, 255 - redness, 40))
        payload = encoded(stored, "JPEG", quality=100, subsampling=0)
        transform = payload.index(b"Adobe") + 11
        ycck = payload[:transform] + b"\x02" + payload[transform + 1 :]
        expected = [(255 - part) * (255 - 40) / 255 for part in ink]
        assert np.abs(decode(ycck).rgb - expected).max() <= 3


UPRIGHT_TO_STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


class TestOrientation:
    @pytest.mark.parametrize("image_format", ["PNG", "WEBP", "TIFF", "JPEG"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_image_is_turned_upright(self, image_format, orientation):
        stored = np.ascontiguousarray(UPRIGHT_TO_STORED[orientation](SMOOTH))
        exif = Image.Exif()
        exif[ExifTags.Base.Orientation] = orientation
        options = (
            {"lossless": True}
            if image_format == "WEBP"
            else {"quality": 98}
            if image_format == "JPEG"
            else {}
        )
        rgb = decode(encoded(stored, image_format, exif=exif, **options)).rgb
        assert rgb.shape == CELL.shape
        assert np.abs(rgb.astype(int) - SMOOTH).max() <= (20 if image_format == "JPEG" else 0)
        assert rgb.flags.c_contiguous

    @pytest.mark.parametrize(
        "block",
        [
            b"",
            b"Exif\0\0",
            b"no exif at all",
            b"II*\0\xff\xff\xff\xff",
            b"II*\0\x08\0\0\0\xff\xff",
            b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x09" + bytes(6),
        ],
    )
    def test_damaged_exif_is_ignored(self, block):
        plain = whole_image("PNG")
        payload = plain[:33] + png_chunk(b"eXIf", block) + plain[33:]
        np.testing.assert_array_equal(decode(payload).rgb, decode(plain).rgb)


class TestRefusals:
    @pytest.mark.parametrize(("name", "payload"), MALFORMED, ids=[name for name, _ in MALFORMED])
    def test_malformed_payload_is_refused(self, name, payload):
        expected = InvalidImage
        if " cut at " in name or "last byte" in name or name == "nothing" or " of 0 x 0" in name:
            expected = UndecodableImage
        elif "bomb" in name or "too many bytes" in name:
            expected = ImageTooLarge
        elif name.endswith(" of two frames") or name in ("gif", "heic", "pdf", "zip renamed to jpg", "text"):
            expected = UnsupportedImage
        with pytest.raises(expected) as caught:
            decode(payload)
        message = str(caught.value)
        assert message.isprintable()
        assert message.endswith(".")
        assert "\\x" not in message

    def test_there_are_a_hundred_malformed_payloads(self):
        assert len({name for name, _ in MALFORMED}) == len(MALFORMED) >= 100

    @pytest.mark.parametrize("image_format", [*FORMATS, "progressive", "lossless"])
    def test_no_file_may_lack_its_end_by_any_number_of_bytes(self, image_format):
        tiny = CELL[:24, :24]
        variants = {"progressive": ("JPEG", {"progressive": True}), "lossless": ("WEBP", {"lossless": True})}
        name, options = variants.get(image_format, (image_format, {}))
        whole = encoded(tiny, name, **options)
        decode(whole)
        for length in range(len(whole)):
            with pytest.raises(InvalidImage):
                decode(whole[:length])

    def test_size_limits_are_inclusive(self):
        payload = whole_image("PNG")
        decode(payload, DecodeLimits(max_bytes=len(payload), max_pixels=96 * 96))
        with pytest.raises(ImageTooLarge, match="bytes"):
            decode(payload, DecodeLimits(max_bytes=len(payload) - 1))
        with pytest.raises(ImageTooLarge, match="96 x 96 pixels"):
            decode(payload, DecodeLimits(max_pixels=96 * 96 - 1))

    @pytest.mark.parametrize("limits", [{"max_bytes": 0}, {"max_pixels": 0}, {"max_pixels": MOST_PIXELS + 1}])
    def test_impossible_limits_are_refused(self, limits):
        with pytest.raises(ValueError, match="expected"):
            DecodeLimits(**limits)

    @on_linux
    def test_bombs_need_hardly_any_memory(self):
        """In a process of its own, whose peak is not yet that of other tests. An image whose comments inflate
        to 300 MB is an image: its comments are never looked at."""
        script = (
            PEAK_BYTES
            + """
import zlib
from orchestrator.errors import ImageTooLarge, UndecodableImage
from orchestrator.vision.decode import decode
from tests.malformed_images import malformed_images, png_chunk, whole_image

bombs = [p for name, p in malformed_images() if "bomb" in name or "60000" in name or "billion" in name]
assert len(bombs) >= 8
packer = zlib.compressobj(9)
zeros = b"".join([packer.compress(bytes(1 << 20)) for _ in range(300)] + [packer.flush()])
plain = whole_image("PNG")
decode(plain)
before = peak_bytes()
for bomb in bombs:
    try:
        decode(bomb)
    except (ImageTooLarge, UndecodableImage):
        continue
    raise SystemExit("a bomb was decoded")
for kind in (b"zTXt", b"iTXt", b"iCCP"):
    decode(plain[:33] + png_chunk(kind, b"name" + bytes(2) + zeros) + plain[33:])
print(peak_bytes() - before)
"""
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < 20e6

    @on_linux
    @pytest.mark.parametrize(
        ("name", "options", "bytes_per_pixel"),
        [
            ("JPEG", {}, 5),
            ("PNG", {"compress_level": 1}, 5),
            ("BMP", {}, 5),
            ("TIFF", {}, 6),  # all rows in one strip
            ("TIFF", {"compression": "tiff_lzw"}, 6),
            ("tiled TIFF", {"compression": DEFLATE}, 6),
            ("grey PNG", {"compress_level": 1}, 5),
            ("transparent PNG", {"compress_level": 1}, 8.5),
        ],
    )
    def test_a_large_image_is_held_little_more_than_once(self, tmp_path, name, options, bytes_per_pixel):
        """Its own three bytes a pixel and what a decoder needs; in a process of its own."""
        image = Image.fromarray(np.tile(SMOOTH, (50, 42, 1)))
        if name == "tiled TIFF":
            payload = tiff_of(np.asarray(image), 8, 2, tiled=True, **options)
        else:
            *how, image_format = name.split()
            mode = {(): "RGB", ("grey",): "L", ("transparent",): "RGBA"}[tuple(how)]
            payload = encoded(image.convert(mode), image_format, **options)
        (tmp_path / "image").write_bytes(payload)
        script = (
            PEAK_BYTES
            + """
import sys
from orchestrator.vision.decode import FIELD_LIMITS, decode

payload = pathlib.Path(sys.argv[1]).read_bytes()
before = peak_bytes()
rgb = decode(payload, FIELD_LIMITS).rgb
print((peak_bytes() - before) / rgb[..., 0].size)
"""
        )
        done = subprocess.run(
            [sys.executable, "-c", script, tmp_path / "image"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert 3 <= float(done.stdout) < bytes_per_pixel


class TestManners:
    def test_nothing_is_logged_or_printed(self, caplog, capfd):
        caplog.set_level(logging.DEBUG)
        for image_format in FORMATS:
            decode(whole_image(image_format))
        for _, payload in MALFORMED:
            with pytest.raises(InvalidImage):
                decode(payload)
        assert caplog.records == []
        assert capfd.readouterr() == ("", "")

    def test_metadata_reaches_neither_messages_nor_causes(self):
        secret = b"PATIENT NAME"
        jpeg, png = whole_image("JPEG"), whole_image("PNG")
        comment = b"\xff\xfe" + struct.pack(">H", 2 + len(secret)) + secret
        payloads = [
            jpeg[:2] + comment + jpeg[2:-60],
            png[:33] + png_chunk(b"tEXt", b"Comment\0" + secret) + png[33:-50],
            png[:33] + png_chunk(b"PATI", secret) + png[33:],
            tiff_file({256: (4, 1, 4), 257: (4, 1, 4), 270: (2, len(secret), 8)}, secret),
        ]
        for payload in payloads:
            with pytest.raises(InvalidImage) as caught:
                decode(payload)
            for error in (caught.value, caught.value.__cause__, caught.value.__context__):
                assert "PATI" not in str(error)

    def test_foreign_exceptions_change_their_name(self):
        with pytest.raises(UndecodableImage) as caught:
            decode(dict(MALFORMED)["webp with noise for pixels"])
        assert isinstance(caught.value.__cause__, OSError)

    def test_many_threads_decode_at_once(self):
        payloads = [whole_image(name) for name in FORMATS] * 20
        one_by_one = [decode(payload).rgb for payload in payloads]
        with ThreadPoolExecutor(8) as pool:
            together = [image.rgb for image in pool.map(decode, payloads)]
        for expected, rgb in zip(one_by_one, together, strict=True):
            np.testing.assert_array_equal(rgb, expected)

    def test_real_images_decode(self, wbc_data):
        paths = sorted(wbc_data.glob("*/*/*.*"))[::40]
        assert len(paths) > 20
        for path in paths:
            ours = decode(path.read_bytes()).rgb
            theirs = cv2.imread(str(path))
            assert theirs is not None
            assert np.abs(ours.astype(int) - theirs[:, :, ::-1]).max() <= 4  # two versions of libjpeg


TINY = [encoded(CELL[:20, :20], name, **options) for name, options in LOSSLESS.values()]
TINY += [encoded(CELL[:20, :20], "JPEG"), encoded(CELL[:20, :20], "JPEG", progressive=True)]
TINY += [encoded(Image.fromarray(CELL[:20, :20]).quantize(8), "PNG"), encoded(CELL[:20, :20], "WEBP")]
EDIT = st.tuples(
    st.sampled_from(["replace", "insert", "delete"]), st.floats(0, 1), st.binary(min_size=1, max_size=6)
)


def edited(payload, edits):
    data = bytearray(payload)
    for kind, where, piece in edits:
        at = int(where * len(data))
        end = at if kind == "insert" else at + len(piece)
        data[at:end] = b"" if kind == "delete" else piece
    return bytes(data)


class TestFuzz:
    @given(payload=st.sampled_from(TINY), edits=st.lists(EDIT, min_size=1, max_size=6))
    def test_damaged_files_give_an_image_or_an_error_of_the_tree(self, payload, edits):
        try:
            rgb = decode(edited(payload, edits)).rgb
        except InvalidImage:
            return
        assert rgb.dtype == np.uint8
        assert rgb.ndim == 3
        assert rgb.shape[2] == 3

    @given(magic=st.sampled_from([payload[:18] for payload in TINY] + [b""]), rest=st.binary(max_size=400))
    def test_arbitrary_bytes_give_an_image_or_an_error_of_the_tree(self, magic, rest):
        try:
            assert decode(magic + rest).rgb.size
        except InvalidImage:
            return


def test_an_image_of_several_strips_has_every_pixel_where_it_was() -> None:
    random = np.random.default_rng(3)
    rgb = random.integers(0, 256, (2100, 2003, 3), dtype=np.uint8)

    assert rgb.shape[0] * rgb.shape[1] > 2**22
    assert np.array_equal(decode(image_file(rgb), FIELD_LIMITS).rgb, rgb)
