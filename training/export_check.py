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
    CAMS,
    CODES,
    CONV_MAPS,
    FEATURES,
    GAIN,
    HEAD,
    IMAGE,
    IMAGE_SIZE,
    IMAGES,
    LOGITS,
    MAIN_OUT,
    MEASURES,
    MORPHOMETRY,
    NO_VIEW,
    NUM_CLASSES,
    NUM_VIEWS,
    ROWS_SIGNATURE,
    SIGNATURES,
    UNKNOWN,
    VIEWS_SIGNATURE,
    TensorSpec,
    admitted,
)
from orchestrator.views import VIEWS
from training.classifier import feature_count, with_served_outputs
from training.folding import fold_batch_norms
from training.gradcam import autodiff_class_activation_maps
from training.morphometric_evidence import NO_EVIDENCE, MorphometricEvidence

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
HEAD_SCALE: Final = 0.05
"""Standard deviation of the site's head that is tried."""

CHECK_MORPHOMETRY: Final = (
    (0.7, 0.5, -1.0, 0.1, -2.0, -0.5, -0.3, 0.8),
    (UNKNOWN, -0.3, -0.4, 0.4, -1.5, -1.0, -0.6, 0.6),
    (-0.2, 1.2, UNKNOWN, -0.2, -3.0, -0.2, -0.1, 0.9),
)
"""All known, the size not, and one of the appearance not."""


def check_export(
    version_dir: Path,
    model: keras.Model,
    images: UInt8Array | None = None,
    evidence: MorphometricEvidence = NO_EVIDENCE,
) -> None:
    """Load the SavedModel in ``version_dir`` with TensorFlow and compare it with ``model``.

    Checked are the signatures' names, dtypes and shapes against the contract; every output of every
    signature against the Keras model, and Grad-CAM against automatic differentiation, on ``images``
    (uint8 ``[N, 224, 224, 3]``, or synthetic ones) at several gains, with the model's head and with another,
    measures known and unknown (``evidence`` is that of the export); the views made in the graph against
    those made here; and that each parameter is stored exactly once. Made for the CPU: a GPU's TF32
    convolutions differ by more than these tolerances.

    Raises:
        ContractViolation: with what was expected and what was received.
    """
    _check_stored_once(version_dir, fold_batch_norms(model).count_params())
    saved = tf.saved_model.load(str(version_dir))
    if set(saved.signatures) != set(SIGNATURES):
        raise ContractViolation(
            f"expected the signatures {sorted(SIGNATURES)}, received {sorted(saved.signatures)}"
        )
    for name, signature in SIGNATURES.items():
        function = saved.signatures[name]
        _check_specs(f"inputs of {name}", signature.inputs, function.structured_input_signature[1])
        _check_specs(f"outputs of {name}", signature.outputs, function.structured_outputs)

    rows = synthetic_images() if images is None else images
    gain = np.resize(np.asarray(CHECK_GAINS, dtype=np.float32), len(rows))
    feed = {IMAGES.name: rows, GAIN.name: gain}
    expected = _keras_answers(model, rows, gain)

    explained = _answers(saved, EXPLAINING, feed)
    # On the very maps that the graph saw: this compares the two gradients and nothing else.
    maps = explained[CONV_MAPS.name]
    cams = autodiff_class_activation_maps(model, maps)
    largest = float(cams.max())
    _check_close(
        f"{EXPLAINING}: {CAMS.name} against autodiff", explained[CAMS.name], cams, MAP_TOLERANCE * largest
    )
    expected[CAMS.name] = cams
    for name in SIGNATURES:
        if name not in (ROWS_SIGNATURE, VIEWS_SIGNATURE):
            check_answers(name, _answers(saved, name, feed), expected)

    own = np.zeros((len(rows), feature_count(model) + 1, NUM_CLASSES), np.float32)
    unknown = np.full((len(rows), len(MEASURES)), UNKNOWN, np.float32)
    check_answers(
        ROWS_SIGNATURE,
        _answers(saved, ROWS_SIGNATURE, feed | {MORPHOMETRY.name: unknown, HEAD.name: own}),
        expected,
    )
    measured = np.resize(np.asarray(CHECK_MORPHOMETRY, np.float32), (len(rows), len(MEASURES)))
    head = np.random.default_rng(1).normal(scale=HEAD_SCALE, size=own.shape).astype(np.float32)
    site = {MORPHOMETRY.name: measured, HEAD.name: head}
    added = _site_part(expected[FEATURES.name], head) + evidence.added(measured).sum(axis=0)
    logits = expected[LOGITS.name] + added
    adapted = {
        LOGITS.name: logits,
        MAIN_OUT.name: _softmax(logits),
        CAMS.name: autodiff_class_activation_maps(model, maps, head),
    }
    check_answers(
        f"{ROWS_SIGNATURE} of a site", _answers(saved, ROWS_SIGNATURE, feed | site), expected | adapted
    )
    _check_views(saved, rows, site)


def _check_views(saved: Any, images: UInt8Array, site: Mapping[str, Float32Array]) -> None:
    """Every view, in other places than its own, against the rows that NumPy makes of it; and no view."""
    codes = np.full((len(images), NUM_VIEWS), NO_VIEW, np.int32)
    codes[0] = np.arange(NUM_VIEWS)[::-1]
    codes[1:, 2] = 3
    answers = _answers(saved, VIEWS_SIGNATURE, {IMAGE.name: images, CODES.name: codes, **site})
    of, place = np.nonzero(codes >= 0)
    views = [VIEWS[code] for code in codes[of, place]]
    rows = {
        IMAGES.name: np.stack([view.apply(images[row]) for row, view in zip(of, views, strict=True)]),
        GAIN.name: np.array([view.gain for view in views], np.float32),
        **{name: values[of] for name, values in site.items()},
    }
    expected = _answers(saved, ROWS_SIGNATURE, rows)
    check_answers(VIEWS_SIGNATURE, {name: value[of, place] for name, value in answers.items()}, expected)
    if any(value[codes < 0].any() for value in answers.values()):
        raise ContractViolation(f"{VIEWS_SIGNATURE}: expected zeros where no view is wanted, received others")


def check_answers(
    where: str, received: Mapping[str, Float32Array], expected: Mapping[str, Float32Array]
) -> None:
    """Compare every output of ``received`` with that of ``expected``.

    Raises:
        ContractViolation: one differs by more than its tolerance; the message begins with ``where``.
    """
    for name, value in received.items():
        size = float(np.abs(expected[name]).max())
        tolerance = {
            LOGITS.name: LOGIT_TOLERANCE * max(1.0, size),
            FEATURES.name: MAP_TOLERANCE * size,
            CONV_MAPS.name: MAP_TOLERANCE * size,
            CAMS.name: CAM_TOLERANCE * size,
        }.get(name, PROBABILITY_TOLERANCE)
        _check_close(f"{where}: {name}", value, expected[name], tolerance)


def _site_part(features: Float32Array, head: Float32Array) -> Float32Array:
    ones = np.ones((len(features), 1), np.float32)
    return np.asarray(np.einsum("nf,nfk->nk", np.concatenate([features, ones], axis=1), head), np.float32)


def _softmax(logits: Float32Array) -> Float32Array:
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)


def synthetic_images(count: int = 3, seed: int = 0) -> UInt8Array:
    """Smooth colour patterns, uint8 ``[N, 224, 224, 3]``: unlike noise, they reach the deep layers."""
    grids = np.random.default_rng(seed).integers(0, 256, (count, 14, 14, 3), dtype=np.uint8)
    return np.stack(
        [cv2.resize(grid, (IMAGE_SIZE, IMAGE_SIZE), interpolation=cv2.INTER_CUBIC) for grid in grids]
    )


def _answers(saved: Any, signature: str, feed: Mapping[str, Any]) -> dict[str, Float32Array]:
    tensors = {name: tf.constant(value) for name, value in feed.items()}
    return {key: value.numpy() for key, value in saved.signatures[signature](**tensors).items()}


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


def _check_stored_once(version_dir: Path, parameters: int) -> None:
    stored = sum(
        int(np.prod(shape))
        for name, shape in tf.train.list_variables(str(version_dir / "variables" / "variables"))
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    if stored != parameters:
        raise ContractViolation(f"expected {parameters} stored parameters, received {stored}")
