"""Weights far from their initial values, so that a test exercises every term of a formula."""

import keras
import numpy as np
from numpy.typing import NDArray


def randomise(model: keras.Model, seed: int = 0) -> keras.Model:
    """Move every weight: batch statistics away from 0 and 1, biases and activation scalars away from 0."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        value = np.asarray(weight.value)
        name = weight.path.rsplit("/", 1)[-1]
        if name == "moving_variance":
            moved = value * rng.uniform(0.8, 1.25, value.shape)
        elif name in ("gamma", "beta", "moving_mean", "bias", "alpha"):
            moved = value + rng.normal(scale=0.1, size=value.shape)
        else:
            moved = value * rng.normal(loc=1.0, scale=0.1, size=value.shape)
        weight.assign(moved)
    return model


def calibrate(model: keras.Model, pixels: NDArray[np.float32]) -> keras.Model:
    """Set every batch statistic to that of ``pixels``, so that images differ in the deep layers too.

    Untrained, a deep network answers nearly the same whatever the image, and a test that compares rows
    would not see two of them exchanged.
    """
    norms = [
        layer
        for layer in (*model.layers, *model.get_layer("backbone").layers)
        if isinstance(layer, keras.layers.BatchNormalization)
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    model(pixels, training=True)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    return model
