"""Random variations of training images."""

import numpy as np
import pytest

from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import CellLocation, locate_cell
from orchestrator.vision.preprocessing import Recipe
from training.augmentation import (
    AugmentationConfig,
    augmented_pixels,
    random_camera,
    random_crop,
    random_stain,
)

CONFIG = AugmentationConfig()


@pytest.fixture(scope="module")
def cell_image(synthetic_cell):
    return synthetic_cell("Eosinophil", seed=2)


def test_the_same_seed_gives_the_same_pixels_and_another_one_others(cell_image):
    cell = locate_cell(cell_image)

    def pixels(seed):
        return augmented_pixels(cell_image, cell, Recipe(), CONFIG, np.random.default_rng(seed))

    assert pixels(1).shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
    assert pixels(1).dtype == np.uint8
    np.testing.assert_array_equal(pixels(1), pixels(1))
    assert np.abs(pixels(1).astype(int) - pixels(2)).mean() > 5


def test_crops_keep_the_cell_and_vary_its_scale(cell_image):
    truth = locate_cell(cell_image)
    sizes, offsets = [], []
    for seed in range(25):
        crop = random_crop(cell_image, truth, Recipe(crop_scale=1.6), CONFIG, np.random.default_rng(seed))
        found = locate_cell(crop)
        assert found is not None
        sizes.append(found.size / IMAGE_SIZE)
        offsets.append(np.hypot(found.row - IMAGE_SIZE / 2, found.column - IMAGE_SIZE / 2))

    assert np.max(sizes) / np.min(sizes) > 1.25
    assert np.median(offsets) < 0.25 * IMAGE_SIZE


def test_without_a_cell_the_whole_frame_is_used(cell_image):
    crop = random_crop(cell_image, None, Recipe(), CONFIG, np.random.default_rng(0))

    assert crop.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)


def test_stain_and_camera_can_be_switched_off(cell_image):
    off = AugmentationConfig(
        stain_prob=0, stain_jitter_prob=0, defocus_prob=0, resolution_prob=0, noise_prob=0, jpeg_prob=0
    )
    random = np.random.default_rng(0)

    np.testing.assert_array_equal(
        random_camera(random_stain(cell_image, off, random), off, random), cell_image
    )


def test_stain_variation_changes_colour_but_not_structure(cell_image):
    varied = [random_stain(cell_image, CONFIG, np.random.default_rng(seed)) for seed in range(8)]

    means = np.array([image.mean(axis=(0, 1)) for image in varied])
    assert means.std(axis=0).max() > 5
    for image in varied:
        correlation = np.corrcoef(image[..., 1].ravel(), cell_image[..., 1].ravel())[0, 1]
        assert correlation > 0.9


def test_camera_variation_loses_detail(cell_image):
    blurred = AugmentationConfig(defocus_prob=1, resolution_prob=1, noise_prob=0, jpeg_prob=0)

    result = random_camera(cell_image, blurred, np.random.default_rng(1))

    assert (
        np.abs(np.diff(result.astype(int), axis=0)).mean()
        < np.abs(np.diff(cell_image.astype(int), axis=0)).mean()
    )


def test_the_cell_may_lie_at_the_edge(cell_image):
    at_edge = CellLocation(row=5, column=5, size=100)

    pixels = augmented_pixels(cell_image, at_edge, Recipe(), CONFIG, np.random.default_rng(0))

    assert pixels.shape == (IMAGE_SIZE, IMAGE_SIZE, 3)
