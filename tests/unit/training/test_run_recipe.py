"""The recipe of a run: the colours of its own training images, where it asks for them."""

import numpy as np
import pytest

from orchestrator.vision.stain import lab_statistics
from tests.fakes.tiny_training import tiny_config
from training.images import LoadedImage
from training.run_recipe import run_recipe, training_colours


@pytest.fixture
def images():
    levels = (60, 120, 180)
    return [LoadedImage(np.full((32, 32, 3), level, np.uint8), None, 0) for level in levels]


def test_without_normalisation_the_recipe_is_as_configured(images):
    config = tiny_config("d", "r")

    assert run_recipe(config, images) == config.recipe


def test_reinhard_maps_onto_the_mean_of_the_training_images(images):
    recipe = run_recipe(tiny_config("d", "r", color_normalization="reinhard"), images)

    lightness = [lab_statistics(image.rgb).mean[0] for image in images]
    assert recipe.reinhard is not None
    assert recipe.reinhard.mean[0] == pytest.approx(np.mean(lightness))


def test_no_more_images_than_asked_for_make_the_mean_and_the_seed_chooses_them(images):
    single = {round(lab_statistics(image.rgb).mean[0]) for image in images}

    means = {round(training_colours(images, None, 1, seed).mean[0]) for seed in range(12)}

    assert means == single
    assert training_colours(images, None, 1, 3) == training_colours(images, None, 1, 3)
