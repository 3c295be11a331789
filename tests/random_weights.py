"""Weights far from their initial values, so that a test exercises every term of a formula."""

import keras
import numpy as np


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
