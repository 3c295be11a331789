"""PNG files that every reader reads, and no more bytes than a general encoder writes."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image

from orchestrator.vision.png import write_png
from tests.synthetic_cells import synthetic_cell


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 7, 3), (7, 1, 3), (64, 33, 3), (1, 1), (33, 64)])
def test_what_is_read_back_is_what_was_written(shape):
    pixels = np.random.default_rng(5).integers(0, 256, shape, dtype=np.uint8)
    file = write_png(pixels)
    with Image.open(io.BytesIO(file)) as image:
        image.verify()  # the checksum of every chunk
    with Image.open(io.BytesIO(file)) as image:
        assert image.mode == ("RGB" if len(shape) == 3 else "L")
        np.testing.assert_array_equal(np.asarray(image), pixels)
    by_opencv = cv2.imdecode(np.frombuffer(file, np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(by_opencv[..., ::-1] if len(shape) == 3 else by_opencv, pixels)


def test_a_view_of_other_pixels_is_written_as_it_looks():
    pixels = np.arange(2 * 8 * 8 * 3, dtype=np.uint8).reshape(8, 16, 3)[:, ::-2]
    with Image.open(io.BytesIO(write_png(pixels))) as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_a_photograph_takes_no_more_than_a_tenth_more_than_by_a_general_encoder():
    pixels = cv2.GaussianBlur(synthetic_cell("Neutrophil", seed=3, size=360), (0, 0), 1.5)
    _, by_opencv = cv2.imencode(".png", pixels[:, :, ::-1])
    assert len(write_png(pixels)) < 1.1 * len(by_opencv)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=["floating point", "four channels", "no rows", "no pixels"],
)
def test_pixels_of_another_kind_are_refused(pixels):
    with pytest.raises(ValueError, match="expected uint8"):
        write_png(pixels)
