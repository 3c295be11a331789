"""What a container tells of an image beside its pixels."""

import io

import pytest
from PIL import Image

from orchestrator.vision.containers import read_container
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
