"""Trained classifiers as teachers of another: the mean of what unlike networks say, learnt by one.

Hinton, Vinyals and Dean 2015, arXiv:1503.02531, at temperature 1. Not measured on cells here.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.model_contract import GAIN, IMAGES, MAIN_OUT
from training.predictors import is_keras_file, load_network, model_identity, require_model

Teacher = Callable[[UInt8Array], Float32Array]


def mean_of_teachers(paths: Sequence[Path]) -> Teacher:
    """What the teachers say on average: uint8 ``[N, 224, 224, 3]`` to float32 ``[N, 5]``.

    A teacher is a saved classifier (``.keras``) or the folder of an exported version.

    Raises :class:`orchestrator.errors.ConfigurationError` for a path that is neither, or cannot be read.
    """
    teachers = [_teacher(path) for path in paths]

    def mean(pixels: UInt8Array) -> Float32Array:
        return np.asarray(np.mean([teacher(pixels) for teacher in teachers], axis=0), np.float32)

    return mean


def teacher_sha256(path: Path) -> str:
    """Which teacher is at ``path``, hex.

    Raises :class:`orchestrator.errors.ConfigurationError` where none is.
    """
    return str(model_identity(path).sha256)


def _teacher(path: Path) -> Teacher:
    require_model(path)
    if is_keras_file(path):
        model = load_network(path)

        def ask(pixels: UInt8Array) -> Float32Array:
            answer = model(pixels.astype(np.float32) / np.float32(255), training=False)
            return np.asarray(keras.ops.convert_to_numpy(answer[MAIN_OUT.name]), np.float32)

        return ask
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["main"]  # the same in every version

    def ask_export(pixels: UInt8Array) -> Float32Array:
        rows = {IMAGES.name: tf.constant(pixels), GAIN.name: tf.ones(len(pixels))}
        return np.asarray(signature(**rows)[MAIN_OUT.name].numpy(), np.float32)

    return ask_export
