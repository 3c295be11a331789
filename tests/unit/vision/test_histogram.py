"""Order statistics by counting."""

import numpy as np
import pytest

from orchestrator.vision.histogram import percentiles


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
@pytest.mark.parametrize("dtype", [np.bool_, np.uint8])
def test_percentiles_of_a_part_are_numpys_of_its_pixels(count, dtype):
    random = np.random.default_rng(count)
    image = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    part = (random.permutation(2000) < count).reshape(40, 50)

    found = percentiles(image, 10, 50, where=part.astype(dtype))

    np.testing.assert_allclose(found, np.percentile(image[part], [10, 50], axis=0).T, atol=1e-9)


@pytest.mark.parametrize("shape", [(1, 1), (5, 9), (40, 30, 3), (33, 21, 1)])
def test_percentiles_are_numpys(shape):
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    found = percentiles(image, 0, 2, 50, 98, 100)

    expected = np.percentile(image.reshape(*shape[:2], -1), [0, 2, 50, 98, 100], axis=(0, 1)).T
    np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_flat_image_has_one_level_everywhere():
    assert percentiles(np.full((8, 8), 37, np.uint8), 2, 98).tolist() == [[37, 37]]
