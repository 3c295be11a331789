"""Payloads that are no analysable image, each with a name: what a careless or hostile caller may send.

Every one must be refused with an :class:`~orchestrator.errors.InvalidImage` under the default limits (a
problem document with a 4xx status at the edge) and leave a service that still answers.
"""

import io
import struct
import zipfile
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.synthetic_cells import synthetic_cell

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP")


def malformed_images() -> list[tuple[str, bytes]]:
    """Every payload with its name; the same bytes in every run."""
    return [
        *_cut_short(),
        *_corrupt(),
        *_without_pixels(),
        *_too_large(),
        *_several_images(),
        *_other_formats(),
        *_rare_kinds(),
    ]


def whole_image(image_format: str, **options: object) -> bytes:
    """A valid file of the format, 96 x 96 pixels."""
    return _encoded(Image.fromarray(synthetic_cell("Neutrophil", size=96)), image_format, **options)


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with its length and a correct checksum."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_file(header: tuple[int, int, int, int], *chunks: bytes) -> bytes:
    """A PNG of ``header`` (width, height, bit depth, colour type), the chunks and an end chunk."""
    start = png_chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + start + b"".join(chunks) + png_chunk(b"IEND", b"")


def tiff_file(tags: dict[int, tuple[int, int, int]], body: bytes = b"", next_directory: int = 0) -> bytes:
    """A little-endian TIFF whose directory is ``tag: (type, count, value or offset)``; ``body`` is at 8."""
    entries = b"".join(struct.pack("<HHII", tag, *entry) for tag, entry in sorted(tags.items()))
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", next_directory)
    return b"II*\0" + struct.pack("<I", 8 + len(body)) + body + directory


def _encoded(image: Image.Image, image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def _cut_short() -> Iterator[tuple[str, bytes]]:
    variants = {
        **{name.lower(): whole_image(name) for name in FORMATS},
        "progressive jpeg": whole_image("JPEG", progressive=True),
        "lossless webp": whole_image("WEBP", lossless=True),
        "deflate tiff": whole_image("TIFF", compression="tiff_deflate"),
    }
    for name, whole in variants.items():
        for tenth in range(1, 10):
            yield f"{name} cut at {tenth}0 %", whole[: len(whole) * tenth // 10]
        yield f"{name} without its last byte", whole[:-1]
    for name in ("jpeg", "progressive jpeg"):
        for tenth in (5, 9):
            cut = variants[name][: len(variants[name]) * tenth // 10]
            yield f"{name} cut at {tenth}0 % and closed", cut.rstrip(b"\xff") + b"\xff\xd9"
    jpeg = variants["jpeg"]
    yield "jpeg whose second half is zeros", jpeg[: len(jpeg) // 2] + bytes(len(jpeg) // 2)
    rows = b"".join(b"\0" + bytes(range(96)) for _ in range(40))
    short = png_chunk(b"IDAT", zlib.compress(rows))
    yield "png with fewer rows than its header says", png_file((96, 96, 8, 0), short)
    cut_stream = png_chunk(b"IDAT", zlib.compress(rows)[:-20])
    yield "png with a cut pixel stream and valid checksums", png_file((96, 40, 8, 0), cut_stream)


def _corrupt() -> Iterator[tuple[str, bytes]]:
    jpeg, png, bmp, tiff, webp = (whole_image(name) for name in FORMATS)
    yield "png with a wrong header checksum", png[:29] + bytes(4) + png[33:]
    yield "png with a flipped bit in its pixels", png[:80] + bytes((png[80] ^ 1,)) + png[81:]
    yield "png without a palette", png_file((4, 4, 8, 3), png_chunk(b"IDAT", zlib.compress(bytes(20))))
    yield (
        "png of an undefined colour type",
        png_file((4, 4, 8, 5), png_chunk(b"IDAT", zlib.compress(bytes(20)))),
    )
    yield (
        "png of an undefined bit depth",
        png_file((4, 4, 3, 0), png_chunk(b"IDAT", zlib.compress(bytes(20)))),
    )
    yield "png without pixels chunk", png_file((4, 4, 8, 0))
    yield "png with noise for pixels", png_file((4, 4, 8, 0), png_chunk(b"IDAT", b"not a zlib stream"))
    yield "jpeg with nothing but its magic", b"\xff\xd8\xff"
    yield "jpeg that ends at once", b"\xff\xd8\xff\xd9"
    scan = jpeg.index(b"\xff\xda")
    yield "jpeg without a scan", jpeg[:scan] + b"\xff\xd9"
    frame = jpeg.index(b"\xff\xc0")
    yield "jpeg without a frame", jpeg[:frame] + jpeg[frame + 19 :]
    yield "jpeg with two frames", jpeg[:frame] + jpeg[frame : frame + 19] + jpeg[frame:]
    yield "jpeg with a segment of length 0", jpeg[:4] + bytes(2) + jpeg[6:]
    yield "jpeg of a hundred thousand scans", jpeg[:-2] + jpeg[scan : scan + 16] * 100_000 + b"\xff\xd9"
    yield "jpeg with a second start", jpeg[:2] + jpeg
    yield "jpeg whose fields end early", jpeg[: frame + 2] + bytes((0, 4)) + jpeg[frame + 4 :]
    yield "png whose header is not first", png[:8] + png_chunk(b"gAMA", bytes(4)) + png[8:]
    yield "png with two headers", png[:33] + png[8:33] + png[33:]
    yield "png with an unknown critical chunk", png[:33] + png_chunk(b"CELL", b"") + png[33:]
    yield "bmp whose pixels start behind its end", bmp[:10] + struct.pack("<I", 2**31) + bmp[14:]
    yield "bmp whose pixels start in its header", bmp[:10] + struct.pack("<I", 1) + bmp[14:]
    yield "tiff whose directory lies behind its end", tiff[:4] + struct.pack("<I", 2**31) + tiff[8:]
    yield "tiff whose directory is its header", tiff[:4] + bytes(4) + tiff[8:]
    tags = {256: 64, 257: 64, 258: 8, 259: 1, 262: 1, 273: 8, 278: 64, 279: 4096}
    grey = {tag: (4, 1, value) for tag, value in tags.items()}
    pixels = bytes(4096)
    yield "tiff with strips of no rows", tiff_file({**grey, 278: (4, 1, 0)}, pixels)
    yield "tiff with an empty strip", tiff_file({**grey, 279: (4, 1, 0)}, pixels)
    yield "tiff with half a strip", tiff_file({**grey, 279: (4, 1, 2048)}, pixels)
    yield "tiff with fewer strips than rows need", tiff_file({**grey, 278: (4, 1, 8)}, pixels)
    yield "tiff without strips", tiff_file({256: grey[256], 257: grey[257]}, pixels)
    yield "tiff with a fraction for a width", tiff_file({**grey, 256: (5, 1, 8)}, pixels)
    tile = {322: (4, 1, 5), 323: (4, 1, 5), 324: (4, 1, 8), 325: (4, 1, 25)}
    yield "tiff with tiles of 5 x 5", tiff_file({**grey, **tile}, pixels)
    twice = tiff_file(grey, pixels)
    yield "tiff that gives its width twice", twice[:4118] + struct.pack("<H", 256) + twice[4120:]
    webp_parts = webp[12:]
    twisted = b"WEBP" + webp_parts + webp_parts[:14] + struct.pack("<HH", 8, 8) + webp_parts[18:]
    yield "webp of two sizes", b"RIFF" + struct.pack("<I", len(twisted)) + twisted
    yield "webp whose frame lacks its start code", webp[:23] + bytes(3) + webp[26:]
    for packing in ("tiff_lzw", "tiff_deflate", "jpeg"):
        packed = whole_image("TIFF", compression=packing)
        scrambled = packed[:8] + bytes(reversed(packed[8:600])) + packed[600:]
        yield f"tiff with scrambled {packing} data", scrambled
    yield "webp whose size field is too large", webp[:4] + struct.pack("<I", 2**31) + webp[8:]
    yield "webp without an image", b"RIFF" + struct.pack("<I", 4) + b"WEBP"
    yield "webp with noise for pixels", webp[:32] + b"\xff" * (len(webp) - 32)
    noise = np.random.default_rng(7)
    magics = {"jpeg": jpeg[:4], "png": png[:8], "bmp": bmp[:18], "tiff": tiff[:4], "webp": webp[:16]}
    for name, magic in magics.items():
        yield f"random bytes behind the magic of {name}", magic + noise.bytes(5_000)


def _without_pixels() -> Iterator[tuple[str, bytes]]:
    jpeg, bmp, webp = (whole_image(name) for name in ("JPEG", "BMP", "WEBP"))
    frame = jpeg.index(b"\xff\xc0") + 5
    yield "jpeg of 0 x 0", jpeg[:frame] + bytes(4) + jpeg[frame + 4 :]
    yield "jpeg of height 0", jpeg[:frame] + bytes(2) + jpeg[frame + 2 :]
    yield "png of 0 x 0", png_file((0, 0, 8, 2), png_chunk(b"IDAT", zlib.compress(b"")))
    yield "png of width 0", png_file((0, 8, 8, 2), png_chunk(b"IDAT", zlib.compress(bytes(8))))
    yield "bmp of 0 x 0", bmp[:18] + bytes(8) + bmp[26:]
    yield "bmp of negative width", bmp[:18] + struct.pack("<i", -96) + bmp[22:]
    yield (
        "tiff of 0 x 0",
        tiff_file({256: (3, 1, 0), 257: (3, 1, 0), 273: (4, 1, 8), 279: (4, 1, 1)}, b"\0\0"),
    )
    yield "tiff without a size", tiff_file({258: (3, 1, 8), 273: (4, 1, 8), 279: (4, 1, 1)}, b"\0\0")
    yield "webp of 0 x 0", webp[:26] + bytes(4) + webp[30:]


def _too_large() -> Iterator[tuple[str, bytes]]:
    """Headers that promise billions of pixels, metadata that inflates, and a file of too many bytes."""
    side = 60_000
    jpeg, bmp = whole_image("JPEG"), whole_image("BMP")
    frame = jpeg.index(b"\xff\xc0") + 5
    yield "jpeg bomb", jpeg[:frame] + struct.pack(">HH", side, side) + jpeg[frame + 4 :]
    one_row = png_chunk(b"IDAT", zlib.compress(bytes(3 * side)))
    yield "png bomb", png_file((side, side, 8, 2), one_row)
    yield "png bomb of the largest size", png_file((2**31 - 1, 2**31 - 1, 16, 6), one_row)
    yield "png of one endless row", png_file((20_000_000, 1, 8, 0), one_row)
    yield "bmp bomb", bmp[:18] + struct.pack("<ii", side, side) + bmp[26:]
    yield "bmp bomb from top to bottom", bmp[:18] + struct.pack("<ii", side, -side) + bmp[26:]
    tiff = {256: (4, 1, side), 257: (4, 1, side), 258: (3, 1, 8), 259: (3, 1, 8), 262: (3, 1, 1)}
    strip = {273: (4, 1, 8), 278: (4, 1, side), 279: (4, 1, 4)}
    yield "tiff bomb", tiff_file({**tiff, **strip}, bytes(4))
    small = {**tiff, 256: (4, 1, 64), 257: (4, 1, 64)}
    tile = {322: (4, 1, 60_000), 323: (4, 1, 60_000), 324: (4, 1, 8), 325: (4, 1, 4)}
    yield "tiff with a tile of 60000 x 60000", tiff_file({**small, **tile}, bytes(4))
    yield (
        "tiff with four billion strips",
        tiff_file({**small, 273: (4, 2**32 - 1, 8), 278: (4, 1, 1), 279: (4, 2**32 - 1, 8)}, bytes(64)),
    )
    yield (
        "tiff with a width of four billion values",
        tiff_file({**small, **strip, 256: (4, 2**32 - 1, 8)}, bytes(4)),
    )
    canvas = struct.pack("<I", 0) + (2**24 - 1).to_bytes(3, "little") * 2
    chunk = b"VP8X" + struct.pack("<I", len(canvas)) + canvas
    yield "webp bomb", b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk
    lossy = whole_image("WEBP")
    yield "webp of the largest frame", lossy[:26] + struct.pack("<HH", 0x3FFF, 0x3FFF) + lossy[30:]
    yield "jpeg of too many bytes", jpeg + bytes(10 * 2**20)


def _several_images() -> Iterator[tuple[str, bytes]]:
    frames = [Image.fromarray(synthetic_cell("Monocyte", seed, 64)) for seed in range(2)]
    for name in ("PNG", "WEBP", "TIFF", "GIF"):
        payload = _encoded(frames[0], name, save_all=True, append_images=frames[1:])
        yield f"{name.lower()} of two frames", payload


def _other_formats() -> Iterator[tuple[str, bytes]]:
    image = Image.fromarray(synthetic_cell("Basophil", size=64))
    yield "nothing", b""
    yield "one byte", b"\xff"
    yield "zeros", bytes(1_000)
    yield "random bytes", np.random.default_rng(3).bytes(20_000)
    yield "text", b"BM is how this sentence starts, and it is no bitmap."
    yield "unicode text", "Hücre görüntüsü değil".encode()
    yield "html", b"<!doctype html><html><body><img src=x></body></html>"
    yield "svg", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
    yield "json", b'{"file": "cell.jpg"}'
    yield "pdf", b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"
    yield "executable", b"\x7fELF\x02\x01\x01" + bytes(200)
    yield "gif", _encoded(image, "GIF")
    yield "gif header alone", b"GIF89a"
    yield "ppm", _encoded(image, "PPM")
    yield "ico", _encoded(image, "ICO")
    yield "tga", _encoded(image, "TGA")
    yield "heic", struct.pack(">I", 24) + b"ftypheic" + bytes(4) + b"mif1heic" + bytes(500)
    yield "avif", struct.pack(">I", 24) + b"ftypavif" + bytes(4) + b"mif1avif" + bytes(500)
    yield "jpeg 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(500)
    yield "dicom", bytes(128) + b"DICM" + bytes(500)
    yield "big tiff", b"II\x2b\0\x08\0\0\0" + bytes(500)
    yield "wave", b"RIFF" + struct.pack("<I", 40) + b"WAVEfmt " + bytes(32)
    yield "gzip", b"\x1f\x8b\x08" + bytes(100)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(zipfile.ZipInfo("cell.jpg"), whole_image("JPEG"))
    yield "zip renamed to jpg", archive.getvalue()
    yield "png behind a line of text", b"cell\n" + whole_image("PNG")


def _rare_kinds() -> Iterator[tuple[str, bytes]]:
    """Valid or nearly valid files of a kind that nobody photographs cells in."""
    jpeg, bmp = whole_image("JPEG"), whole_image("BMP")
    frame = jpeg.index(b"\xff\xc0")
    yield "lossless jpeg", jpeg[: frame + 1] + b"\xc3" + jpeg[frame + 2 :]
    yield "12-bit jpeg", jpeg[: frame + 4] + b"\x0c" + jpeg[frame + 5 :]
    yield "run-length encoded bmp", bmp[:30] + struct.pack("<I", 1) + bmp[34:]
    yield "bmp of 7 bits", bmp[:28] + struct.pack("<H", 7) + bmp[30:]
    yield "floating-point tiff", _encoded(Image.new("F", (64, 64)), "TIFF")
    deep = {256: 4, 257: 4, 258: 32, 259: 1, 262: 1, 273: 8, 279: 64}
    unsigned = tiff_file({tag: (4, 1, value) for tag, value in deep.items()}, bytes(64))
    yield "unsigned 32-bit tiff", unsigned
    yield "signed 32-bit tiff", _encoded(Image.new("I", (64, 64)), "TIFF")
    yield "lab tiff", _encoded(Image.new("LAB", (64, 64)), "TIFF")
    yield "lzma tiff", _encoded(Image.new("RGB", (64, 64)), "TIFF", compression="lzma")
    yield "fax tiff", _encoded(Image.new("1", (64, 64)), "TIFF", compression="group4")
