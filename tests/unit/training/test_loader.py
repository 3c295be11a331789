"""Batches for the network."""

import cv2
import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.vision.preprocessing import Recipe, preprocess
from training.augmentation import AugmentationConfig
from training.datasets import read_split
from training.loader import AugmentedBatches, load_images, model_input, plain_pixels, targets


@pytest.fixture(scope="module")
def images(tmp_path_factory, synthetic_cell):
    root = tmp_path_factory.mktemp("data")
    for name in CLASS_NAMES:
        folder = root / "Train" / name
        folder.mkdir(parents=True)
        for seed in range(2):
            cv2.imwrite(str(folder / f"{seed}.png"), synthetic_cell(name, seed=seed)[:, :, ::-1])
    return load_images(read_split(root, "Train"))


def batches(images, **changes):
    arguments = {
        "recipe": Recipe(),
        "augmentation": AugmentationConfig(),
        "batch_size": 4,
        "image_size": 64,
        "seed": 7,
    }
    return AugmentedBatches(images, **(arguments | changes))


def test_a_batch_has_pixels_labels_and_weights_of_both_heads(images):
    pixels, labels, weights = batches(images)[0]

    assert pixels.shape == (4, 64, 64, 3)
    assert pixels.dtype == np.float32
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert labels["main_out"].shape == (4, 5)
    assert labels["aux_binary_out"].shape == (4, 1)
    assert weights["aux_binary_out"].shape == (4,)


def test_an_epoch_shows_every_image_at_most_once_and_the_next_one_differs(images):
    loader = batches(images, batch_size=5)
    first = [loader[i] for i in range(len(loader))]
    counts = sum(labels["main_out"].sum(axis=0) for _, labels, _ in first)
    np.testing.assert_array_equal(counts, [2, 2, 2, 2, 2])

    loader.on_epoch_end()

    assert not np.array_equal(first[0][0], loader[0][0])


def test_a_resumed_loader_goes_on_with_the_same_batches(images):
    running = batches(images)
    running.on_epoch_end()

    resumed = batches(images, epoch=1)

    np.testing.assert_array_equal(running[1][0], resumed[1][0])


def test_only_neutrophils_and_lymphocytes_teach_the_auxiliary_head():
    labels, weights = targets(np.arange(5))

    assert weights["aux_binary_out"].tolist() == [0, 0, 1, 0, 1]
    assert labels["aux_binary_out"][[2, 4], 0].tolist() == [0, 1]
    np.testing.assert_array_equal(labels["main_out"], np.eye(5))


def test_validation_pixels_are_those_of_serving(images):
    expected = np.stack([preprocess(image.rgb, Recipe()).pixels for image in images])

    np.testing.assert_array_equal(plain_pixels(images, Recipe()), expected)


def test_model_input_scales_to_one_and_to_the_asked_for_size():
    white = np.full((2, 224, 224, 3), 255, np.uint8)

    assert model_input(white, 224).max() == 1.0
    assert model_input(white, 112).shape == (2, 112, 112, 3)
