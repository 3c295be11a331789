"""Whether a SavedModel on disk is the model that was meant, and keeps the contract."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np
import tensorflow as tf

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.errors import ContractViolation
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    CONV_MAPS,
    GAIN,
    IMAGE_SIZE,
    IMAGES,
    INPUTS,
    LOGITS,
    MAIN_OUT,
    SIGNATURES,
    TensorSpec,
    admitted,
)
from training.classifier import with_served_outputs
from training.gradcam import autodiff_class_activation_maps

PROBABILITY_TOLERANCE: Final = 1e-5
"""Largest allowed difference of a probability."""

LOGIT_TOLERANCE: Final = 1e-5
"""Largest allowed difference of a logit, as a share of the largest logit (of 1 where all are smaller)."""

MAP_TOLERANCE: Final = 1e-5
"""Largest allowed difference of a map, as a share of the largest value of all maps."""

CAM_TOLERANCE: Final = 1e-4
"""The same for Grad-CAM of another signature, whose maps may differ in their last bits: guiding has kinks."""

EXPLAINING: Final = "gradcam"
"""The signature that gives the convolution maps beside what is made of them."""

CHECK_GAINS: Final = (1.0, 1.1, 0.9)


def check_export(version_dir: Path, model: keras.Model, images: UInt8Array | None = None) -> None:
    """Load the SavedModel in ``version_dir`` with TensorFlow and compare it with ``model``.

    Checked are the signatures' names, dtypes and shapes against the contract; every output of every
    signature against the Keras model, and Grad-CAM against automatic differentiation, on ``images``
    (uint8 ``[N, 224, 224, 3]``, or synthetic ones) at several gains; and that each parameter is stored
    exactly once. Made for the CPU: a GPU's TF32 convolutions differ by more than these tolerances.

    Raises:
        ContractViolation: with what was expected and what was received.
    """
    _check_stored_once(version_dir, model)
    saved = tf.saved_model.load(str(version_dir))
    if set(saved.signatures) != set(SIGNATURES):
        raise ContractViolation(
            f"expected the signatures {sorted(SIGNATURES)}, received {sorted(saved.signatures)}"
        )
    for name, outputs in SIGNATURES.items():
        function = saved.signatures[name]
        _check_specs(f"inputs of {name}", INPUTS, function.structured_input_signature[1])
        _check_specs(f"outputs of {name}", outputs, function.structured_outputs)

    rows = synthetic_images() if images is None else images
    gain = np.resize(np.asarray(CHECK_GAINS, dtype=np.float32), len(rows))
    feed = {IMAGES.name: tf.constant(rows), GAIN.name: tf.constant(gain)}
    expected = _keras_answers(model, rows, gain)

    explained = _answers(saved, EXPLAINING, feed)
    # On the very maps that the graph saw: this compares the two gradients and nothing else.
    cams = autodiff_class_activation_maps(model, explained[CONV_MAPS.name])
    largest = float(cams.max())
    _check_close(
        f"{EXPLAINING}: {CAMS.name} against autodiff", explained[CAMS.name], cams, MAP_TOLERANCE * largest
    )
    expected[CAMS.name] = cams
    tolerances = {
        MAIN_OUT.name: PROBABILITY_TOLERANCE,
        AUX_OUT.name: PROBABILITY_TOLERANCE,
        LOGITS.name: LOGIT_TOLERANCE * max(1.0, float(np.abs(expected[LOGITS.name]).max())),
        CONV_MAPS.name: MAP_TOLERANCE * float(expected[CONV_MAPS.name].max()),
        CAMS.name: CAM_TOLERANCE * largest,
    }
    for name in SIGNATURES:
        for key, value in _answers(saved, name, feed).items():
            _check_close(f"{name}: {key}", value, expected[key], tolerances[key])


def synthetic_images(count: int = 3, seed: int = 0) -> UInt8Array:
    """Smooth colour patterns, uint8 ``[N, 224, 224, 3]``: unlike noise, they reach the deep layers."""
    grids = np.random.default_rng(seed).integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    return np.stack(
        [cv2.resize(grid, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC) for grid in grids]
    )


def _answers(saved: Any, signature: str, feed: Mapping[str, tf.Tensor]) -> dict[str, Float32Array]:
    return {key: value.numpy() for key, value in saved.signatures[signature](**feed).items()}


def _keras_answers(model: keras.Model, images: UInt8Array, gain: Float32Array) -> dict[str, Float32Array]:
    pixels = np.clip(images.astype(np.float32) / 255.0 * gain[:, None, None, None], 0.0, 1.0)
    outputs = with_served_outputs(model)(pixels, training=False)
    return {name: keras.ops.convert_to_numpy(value) for name, value in outputs.items()}


def _check_specs(where: str, expected: tuple[TensorSpec, ...], received: Mapping[str, tf.TensorSpec]) -> None:
    got = {name: (spec.dtype.name, tuple(spec.shape)) for name, spec in received.items()}
    if not admitted(expected, got):
        wanted = {spec.name: (spec.dtype, spec.shape) for spec in expected}
        raise ContractViolation(f"{where}: expected {wanted}, received {got}")


def _check_close(where: str, received: Float32Array, expected: Float32Array, tolerance: float) -> None:
    difference = float(np.abs(received - expected).max())
    # Not "difference > tolerance": that is false of NaN.
    if not difference <= tolerance:
        raise ContractViolation(
            f"{where}: expected at most {tolerance:.3g} of difference to the model, received {difference:.3g}"
        )


def _check_stored_once(version_dir: Path, model: keras.Model) -> None:
    stored = sum(
        int(np.prod(shape))
        for name, shape in tf.train.list_variables(str(version_dir / "variables" / "variables"))
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    if stored != model.count_params():
        raise ContractViolation(f"expected {model.count_params()} stored parameters, received {stored}")
