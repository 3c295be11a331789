"""What a container tells of an image beside its pixels."""

import io

import pytest
from PIL import Image

from orchestrator.vision.containers import pixels_of, read_container
from tests.dicom_files import bare_jpeg, jpeg_file, native_file
from tests.synthetic_cells import synthetic_cell

CELL = synthetic_cell("Monocyte", seed=2, size=64)


def encoded(image_format: str, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(CELL).save(stream, image_format, **options)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("payload", "is_lossy"),
    [
        (encoded("JPEG"), True),
        (encoded("WEBP"), True),
        (encoded("WEBP", exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"), True),  # in the extended format
        (encoded("TIFF", compression="jpeg"), True),
        (jpeg_file(bare_jpeg(CELL), "YBR_FULL_422", CELL.shape), True),
        (encoded("WEBP", lossless=True), False),
        (encoded("TIFF", compression="tiff_lzw"), False),
        (encoded("PNG"), False),
        (encoded("BMP"), False),
        (native_file(CELL), False),
        (native_file(CELL, syntax="deflated"), False),
    ],
    ids=[
        *("jpeg", "webp", "extended webp", "jpeg in tiff", "jpeg in dicom"),
        *("lossless webp", "lzw tiff", "png", "bmp", "dicom", "deflated dicom"),
    ],
)
def test_it_is_known_whether_pixels_were_compressed_with_losses(payload, is_lossy):
    assert read_container(payload, 10**6).is_lossy is is_lossy


@pytest.mark.parametrize(
    "payload", [*map(encoded, ("JPEG", "PNG", "BMP", "TIFF", "WEBP")), native_file(CELL)]
)
def test_the_pixels_are_counted_from_the_header_alone(payload):
    assert pixels_of(payload) == CELL.shape[0] * CELL.shape[1]


def test_of_a_png_nothing_is_inflated_to_count_its_pixels():
    header = encoded("PNG")[:33]
    assert pixels_of(header) == CELL.shape[0] * CELL.shape[1]
    assert pixels_of(header[:20]) == pixels_of(b"no image") == pixels_of(b"") == 0
