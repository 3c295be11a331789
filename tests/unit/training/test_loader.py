"""Batches for the network."""

import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES
from orchestrator.vision.preprocessing import Recipe, preprocess
from tests.fakes.tiny_training import shipped_augmentation
from training.datasets import NOT_WBC_INDEX, read_split
from training.loader import (
    AugmentedBatches,
    LoadedImage,
    attention_targets,
    load_images,
    model_input,
    plain_pixels,
    targets,
)


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
        "augmentation": shipped_augmentation(),
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


def test_images_are_drawn_by_their_shares(images):
    shares = np.zeros(len(images))
    shares[[0, -1]] = 0.5

    drawn = [batches(images, shares=shares)[index][1]["main_out"].argmax(axis=1) for index in range(2)]

    assert set(np.concatenate(drawn)) == {images[0].class_index, images[-1].class_index}


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


class TestPaintedImages:
    def painted(self, images):
        """Images of one class alone, so that a batch tells how many of them it holds."""
        return [replace(image, class_index=0) for image in images[2:6]]

    def test_each_batch_holds_their_share_and_an_epoch_stays_one_pass_over_the_real_ones(self, images):
        real = [replace(image, class_index=1 + index % 4) for index, image in enumerate(images)]
        loader = batches(real, batch_size=5, painted=self.painted(images), painted_share=0.4)

        counts = [labels["main_out"].sum(axis=0) for _, labels, _ in (loader[i] for i in range(len(loader)))]

        assert len(loader) == len(real) // 3
        assert [count[0] for count in counts] == [2, 2, 2]
        assert sum(count[1:].sum() for count in counts) == 9

    def test_they_differ_from_epoch_to_epoch_and_not_from_run_to_run(self, images):
        first, again = (batches(images, painted=self.painted(images), painted_share=0.5) for _ in range(2))

        np.testing.assert_array_equal(epoch_of(first), epoch_of(again))
        before = epoch_of(first)
        first.on_epoch_end()
        assert not np.array_equal(before, epoch_of(first))

    def test_without_any_the_share_changes_nothing(self, images):
        np.testing.assert_array_equal(
            epoch_of(batches(images, painted_share=0.4)), epoch_of(batches(images, painted_share=0.0))
        )


def epoch_of(loader):
    return [loader[index][0] for index in range(len(loader))]


def test_the_number_of_workers_changes_nothing(images):
    alone, many = (batches(images, batch_size=3, workers=workers) for workers in (1, 4))

    for _ in range(2):
        np.testing.assert_array_equal(epoch_of(alone), epoch_of(many))
        alone.on_epoch_end()
        many.on_epoch_end()


def test_batches_asked_for_out_of_turn_and_again_are_the_same(images):
    loader = batches(images, batch_size=3, ahead=1)
    in_turn = epoch_of(loader)

    for index in (2, 0, 1, 1, 0):
        np.testing.assert_array_equal(loader[index][0], in_turn[index])
    with pytest.raises(IndexError, match="below 3"):
        loader[3]


class CountedImages(list[LoadedImage]):
    """Images that count how often one was taken."""

    taken = 0

    def __getitem__(self, position):
        self.taken += 1
        return super().__getitem__(position)


def wait_until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_batches_are_made_ahead_across_the_end_of_an_epoch_and_only_once(images):
    """Ten images in two batches of five; each is taken for its pixels and for its label."""
    counted = CountedImages(images)
    loader = batches(counted, batch_size=5, image_size=32, ahead=2, workers=2)

    loader[1]  # the last of the epoch: two of the next epoch are made too, while the model is scored
    wait_until(lambda: counted.taken == 3 * 5 * 2)
    loader.on_epoch_end()
    loader[0]
    loader[0]

    wait_until(lambda: counted.taken == 4 * 5 * 2)
    time.sleep(0.3)
    assert counted.taken == 4 * 5 * 2, "what was made ahead is used, and only the batch after it is new"


def test_a_failure_of_a_worker_reaches_the_caller(images):
    broken = [replace(image, rgb=np.zeros((0, 0, 3), np.uint8)) for image in images]

    with pytest.raises(cv2.error):
        batches(broken)[0]


def test_a_closed_loader_gives_no_more_batches(images):
    loader = batches(images)
    loader.close()

    with pytest.raises(RuntimeError):
        loader[0]


def test_the_mask_of_an_image_reaches_its_augmentation(images):
    """Only with a mask can the background change."""
    always = replace(shipped_augmentation(), bg_randomization_prob=1.0, crop_prob=0.0)
    never = replace(always, bg_randomization_prob=0.0)

    def pixels(chosen, config):
        return batches(chosen, augmentation=config, batch_size=2)[0][0]

    without = [replace(image, mask=None) for image in images]
    assert all(image.mask is not None for image in images)
    np.testing.assert_array_equal(pixels(without, always), pixels(without, never))
    assert not np.array_equal(pixels(images, always), pixels(images, never))


def test_what_is_none_of_the_five_classes_teaches_not_wbc_and_not_the_main_head(images):
    negatives = [replace(image, class_index=NOT_WBC_INDEX) for image in images[:3]]

    loader = batches(images, batch_size=8, negatives=negatives, negative_share=0.25)
    _, labels, weights = loader[0]

    is_negative = labels["not_wbc"][:, 0] == 1
    assert is_negative.sum() == 2
    assert (weights["main_out"] == ~is_negative).all()
    assert (labels["main_out"][is_negative] == 0).all()
    assert (labels["main_out"][~is_negative].sum(axis=1) == 1).all()
    assert not weights["aux_binary_out"][is_negative].any()


def test_a_teacher_is_half_of_the_main_target(images):
    def soften(pixels):
        assert pixels.dtype == np.uint8
        return np.full((len(pixels), 5), 0.2, np.float32)

    _, hard, _ = batches(images, batch_size=4)[0]
    _, soft, _ = batches(images, batch_size=4, soften=soften)[0]

    np.testing.assert_allclose(soft["main_out"], (hard["main_out"] + 0.2) / 2, rtol=1e-6)


def test_attention_is_taught_where_the_cell_is_and_not_where_that_is_unknown():
    mask = np.zeros((224, 224), np.uint8)
    mask[:, :112] = 255

    shares, weights = attention_targets([mask, None], 7)

    assert shares.shape == (2, 7, 7, 1)
    np.testing.assert_allclose(shares[0, :, :, 0], np.tile([1, 1, 1, 0.5, 0, 0, 0], (7, 1)), atol=0.01)
    np.testing.assert_array_equal(weights, [np.ones((7, 7)), np.zeros((7, 7))])
