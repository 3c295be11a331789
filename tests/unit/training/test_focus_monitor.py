"""The focus monitor: a background shortcut stops a training, an honest cue does not."""

import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import cv2
import keras
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.crop import cell_window, extract
from orchestrator.vision.preprocessing import Recipe, preprocess
from tests.synthetic_cells import synthetic_cell_with_masks
from training.averaged_weights import batch_norm_layers
from training.classifier import assemble_classifier
from training.datasets import read_split
from training.focus_monitor import XAIFocusMonitor, monitored_images
from training.loader import load_images, plain_pixels, targets

SIDE = 64
COLOURS = np.array([(60, 60, 190), (200, 70, 50), (60, 170, 70), (215, 200, 60), (180, 60, 190)]) / 255


def planted(cue, count=200, seed=0):
    """Discs on a field: the class is the colour of the ``cell`` or of the ``edge``; the other one is grey."""
    random = np.random.default_rng(seed)
    classes = np.arange(count) % 5
    images = np.full((count, SIDE, SIDE, 3), 0.9, np.float32)
    masks = np.zeros((count, SIDE, SIDE), np.float32)
    for image, mask, index in zip(images, masks, classes, strict=True):
        column, row = (int(c) for c in random.integers(28, 37, 2))
        cv2.circle(mask, (column, row), 17, 1.0, -1)
        grey = random.uniform(0.4, 0.6)
        image[mask > 0] = COLOURS[index] if cue == "cell" else grey
        image[:8] = image[-8:] = COLOURS[index] if cue == "edge" else grey
    images += random.normal(0, 0.03, images.shape).astype(np.float32)
    return images.clip(0, 1), masks, classes


def network():
    """Maps of 8 x 8 for images of 64 pixels, each position of which sees its own 8 x 8 pixels alone."""
    backbone = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            keras.layers.Conv2D(16, 4, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(32, 2, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ],
        name="backbone",
    )
    model = assemble_classifier(backbone, "torch", attention=False, dropout=(0.1, 0.1))
    for layer in batch_norm_layers(model):
        layer.momentum = 0.8
    return model


def fit(cue, epochs, **settings):
    """Train on a planted cue with the monitor on other images of the same kind.

    Returns Keras' history, what the monitor said, the accuracy on those images, and the monitor.
    """
    keras.utils.set_random_seed(2)
    images, _, classes = planted(cue)
    held_out, masks, held_out_classes = planted(cue, count=20, seed=1)
    said = []
    monitor = XAIFocusMonitor(held_out, masks, log=said.append, **({"every_n_epochs": 2} | settings))
    model = network()
    model.compile(
        optimizer=keras.optimizers.Adam(3e-3),
        loss={
            "main_out": "categorical_crossentropy",
            "aux_binary_out": "binary_crossentropy",
            "not_wbc": "binary_crossentropy",
        },
    )
    labels, weights = targets(classes)
    history = model.fit(
        images,
        labels,
        sample_weight=weights,
        epochs=epochs,
        batch_size=20,
        verbose=0,
        callbacks=[monitor],
    )
    predicted = np.asarray(model(held_out, training=False)["main_out"]).argmax(axis=1)
    return history, said, float((predicted == held_out_classes).mean()), monitor


def test_a_model_that_learns_the_background_is_stopped():
    history, said, accuracy, _ = fit("edge", epochs=12)

    assert history.epoch == list(range(6)), "three checks, one every two epochs"
    assert len(history.history["xai_focus"]) == 3
    assert max(history.history["xai_focus"]) < 0.55
    assert "below 0.55 (3 of 3 checks in a row): training stops after epoch 6" in said[-1]
    assert accuracy > 0.6, "the shortcut works: accuracy alone shows nothing"


def test_a_model_that_learns_the_cell_is_not_stopped():
    history, said, accuracy, _ = fit("cell", epochs=8)

    assert len(history.epoch) == 8
    assert history.history["xai_focus"][-1] > 0.55
    assert accuracy > 0.8
    assert not any("stops" in line for line in said)


def test_a_good_check_ends_the_row_of_low_ones_and_the_row_may_begin_in_a_run_before():
    images, masks, _ = planted("cell", count=5)
    monitor = XAIFocusMonitor(
        images, masks, every_n_epochs=1, patience=2, batch_size=2, log=str, low_checks=1
    )
    monitor.set_model(network())
    monitor.model.stop_training = False

    masks[:] = 1  # the monitor's own array: now all of any heatmap lies on the cell
    monitor.on_epoch_end(0, logs := {})
    assert logs["xai_focus"] == pytest.approx(1.0)
    assert monitor.low_checks == 0

    masks[:] = 0
    monitor.on_epoch_end(1, logs)
    assert logs["xai_focus"] == 0
    assert not monitor.model.stop_training
    monitor.on_epoch_end(2, logs)
    assert monitor.model.stop_training


def test_there_is_no_check_between_the_checks():
    images, masks, _ = planted("cell", count=2)
    monitor = XAIFocusMonitor(images, masks, every_n_epochs=3, log=str)
    monitor.set_model(network())

    checked = []
    for epoch in range(6):
        monitor.on_epoch_end(epoch, logs := {})
        checked.append("xai_focus" in logs)

    assert checked == [False, False, True, False, False, True]


@pytest.mark.parametrize(
    "change", [{"masks": np.zeros((2, 8, 9))}, {"every_n_epochs": 0}, {"patience": 0}, {"threshold": 55}]
)
def test_senseless_settings_are_refused(change):
    arguments = {"images": np.zeros((2, 8, 8, 3)), "masks": np.zeros((2, 8, 8)), "every_n_epochs": 1}

    with pytest.raises(ValueError, match="expected"):
        XAIFocusMonitor(**(arguments | change))


ON_JAX = """
import keras
from tests.unit.training.test_focus_monitor import network, planted
from training.focus_monitor import XAIFocusMonitor
from training.loader import targets

images, masks, classes = planted("edge", count=20)
model = network()
losses = {"main_out": "categorical_crossentropy", "aux_binary_out": "binary_crossentropy"}
losses["not_wbc"] = "binary_crossentropy"
model.compile(keras.optimizers.SGD(0.1), losses)
monitor = XAIFocusMonitor(images, masks, every_n_epochs=1, patience=1, threshold=1.0, batch_size=20, log=str)
labels, weights = targets(classes)
history = model.fit(images, labels, sample_weight=weights, epochs=3, verbose=0, callbacks=[monitor])
difference = abs(history.history["xai_focus"][-1] - monitor.focus_ratios().mean())
print(keras.backend.backend(), len(history.epoch), difference)
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_it_stops_on_jax_as_well_and_measures_the_weights_of_the_moment(project_root):
    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(project_root),
    }

    done = subprocess.run(
        [sys.executable, "-c", ON_JAX],
        check=True,
        env=environment,
        cwd=project_root,
        capture_output=True,
        text=True,
    )

    backend, epochs, difference = done.stdout.split()
    assert backend == "jax"
    assert int(epochs) == 1
    assert float(difference) < 1e-6


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """Two painted cells a class; Lymphocyte and Monocyte come with true masks."""
    root = tmp_path_factory.mktemp("painted")
    (root / "masks").mkdir()
    rows = ["path,device,slide,mask"]
    for name in CLASS_NAMES:
        (root / "Train" / name).mkdir(parents=True)
        for seed in range(2):
            painting = synthetic_cell_with_masks(name, seed, size=260)
            path, mask = f"Train/{name}/{seed}.png", ""
            cv2.imwrite(str(root / path), painting.rgb[:, :, ::-1])
            if name in ("Lymphocyte", "Monocyte"):
                mask = f"masks/{name}_{seed}.png"
                cv2.imwrite(str(root / mask), painting.levels)
            rows.append(f"{path},painted,,{mask}")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return load_images(read_split(root, "Train"))


def test_images_are_those_of_serving_and_evenly_of_all_classes(painted):
    images, masks = monitored_images(painted, Recipe(), IMAGE_SIZE, count=5)

    assert images.shape == (5, IMAGE_SIZE, IMAGE_SIZE, 3)
    assert masks.shape == (5, IMAGE_SIZE, IMAGE_SIZE)
    plain = plain_pixels(painted, Recipe()).astype(np.float32) / 255
    sources = [int(np.abs(plain - image).mean(axis=(1, 2, 3)).argmin()) for image in images]
    assert sorted(painted[source].class_index for source in sources) == [0, 1, 2, 3, 4]
    np.testing.assert_allclose(images, plain[sources], atol=1e-6)


def test_the_choice_depends_on_the_seed_alone(painted):
    chosen = [monitored_images(painted, Recipe(), 32, count=5, seed=seed)[0] for seed in (1, 1, 2)]

    np.testing.assert_array_equal(chosen[0], chosen[1])
    assert not np.array_equal(chosen[0], chosen[2])


def test_true_masks_are_preferred_and_cut_like_the_pixels(painted):
    image = next(image for image in painted if image.has_true_mask)
    window = cell_window(image.cell, 1.4, image.rgb.shape)
    truth = extract(image.mask, window, IMAGE_SIZE) / np.float32(255)

    _, with_truth = monitored_images([image], Recipe(), IMAGE_SIZE)
    _, without = monitored_images([replace(image, mask=None, has_true_mask=False)], Recipe(), IMAGE_SIZE)

    np.testing.assert_allclose(with_truth[0], truth, atol=1e-6)
    np.testing.assert_allclose(without[0], preprocess(image.rgb, Recipe()).masks.cell, atol=1e-6)
    assert np.abs(with_truth - without).max() > 0.5
    # The mask lies where the cell lies in the pixels: both masks are of one cell.
    overlap = 2 * (with_truth * without).sum() / (with_truth.sum() + without.sum())
    assert overlap > 0.85


def test_masks_are_shrunk_with_the_images(painted):
    _, full = monitored_images(painted, Recipe(), IMAGE_SIZE, count=4)
    images, small = monitored_images(painted, Recipe(), 56, count=4)

    assert images.shape == (4, 56, 56, 3)
    assert small.dtype == np.float32
    np.testing.assert_allclose(small.mean(axis=(1, 2)), full.mean(axis=(1, 2)), atol=0.01)


def test_images_without_a_cell_are_left_out(painted):
    blank = replace(painted[0], rgb=np.full((80, 80, 3), 230, np.uint8), cell=None, mask=None)

    images, _ = monitored_images([blank, painted[0], blank], Recipe(), 32)

    assert len(images) == 1
    with pytest.raises(ConfigurationError, match="found none in 1"):
        monitored_images([blank], Recipe(), 32)
