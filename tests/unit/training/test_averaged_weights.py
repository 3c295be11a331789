"""Running averages of the weights: what is scored is the average, and training goes on undisturbed."""

import keras
import numpy as np
import pytest

from tests.fakes.tiny_training import tiny_classifier
from training.averaged_weights import AveragedWeights, batch_norm_layers

MOMENTUM = 0.5


@pytest.fixture
def trained():
    """A model after three steps of known size, its batches, and the weights it had after each step."""
    model = tiny_classifier()
    optimizer = keras.optimizers.SGD(1.0, use_ema=True, ema_momentum=MOMENTUM)
    model.compile(optimizer=optimizer)
    random = np.random.default_rng(0)
    seen = []
    for _ in range(3):
        gradients = [random.normal(0, 0.01, v.shape).astype(np.float32) for v in model.trainable_variables]
        optimizer.apply(gradients, model.trainable_variables)
        seen.append([v.numpy() for v in model.trainable_variables])
    batches = [(random.random((6, 32, 32, 3), np.float32), {}, {}) for _ in range(3)]
    return model, batches, seen


def test_the_average_is_put_in_and_the_weights_are_taken_back(trained):
    model, batches, seen = trained
    before = [v.numpy().copy() for v in model.variables]
    averaged = AveragedWeights(model, batches)

    averaged.put_in()
    inside = [v.numpy().copy() for v in model.trainable_variables]
    averaged.take_out()

    # The first step sets the average, each later one moves it by 1 - momentum.
    for value, first, second, third in zip(inside, *seen, strict=True):
        assert value == pytest.approx(first * 0.25 + second * 0.25 + third * 0.5, abs=1e-5)
    names = [v.path for v in model.variables]
    for name, value, expected in zip(names, (v.numpy() for v in model.variables), before, strict=True):
        if "seed_generator" not in name:
            assert value == pytest.approx(expected, abs=1e-5), name


def test_batch_normalisation_gets_the_statistics_of_the_averaged_network(trained):
    model, batches, _ = trained
    backbone = model.get_layer("backbone")
    convolution, norm = backbone.layers[0], next(batch_norm_layers(backbone))
    averaged = AveragedWeights(model, batches)

    averaged.put_in()
    activations = [
        convolution(model.get_layer("backbone_input")(images)).numpy().reshape(-1, 16)
        for images, _, _ in batches
    ]

    expected = np.mean([activation.mean(axis=0) for activation in activations], axis=0)
    assert norm.moving_mean.numpy() == pytest.approx(expected, abs=1e-4)
    assert norm.momentum == pytest.approx(0.99)


def test_a_frozen_backbone_keeps_its_statistics(trained):
    model, batches, _ = trained
    model.get_layer("backbone").trainable = False
    norm = next(batch_norm_layers(model.get_layer("backbone")))
    before = norm.moving_mean.numpy().copy()

    AveragedWeights(model, batches).put_in()

    assert np.array_equal(norm.moving_mean.numpy(), before)
