"""Order statistics by counting."""

import numpy as np
import pytest

from orchestrator.vision.histogram import median_colour, percentiles


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_the_median_is_numpys(count):
    pixels = np.random.default_rng(count).integers(0, 256, (count, 3), dtype=np.uint8)

    np.testing.assert_array_equal(median_colour(pixels), np.median(pixels, axis=0))


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (40, 30, 3), (33, 21, 1)])
def test_percentiles_are_numpys(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    found = percentiles(image, 0, 2, 50, 98, 100)

    expected = np.percentile(image.reshape(*shape[:2], -1), [0, 2, 50, 98, 100], axis=(0, 1)).T
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_flat_image_has_one_level_everywhere():
    assert percentiles(np.full((8, 8), 37, np.uint8), 2, 98).tolist() == [[37, 37]]
