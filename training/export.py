"""A trained classifier as a version of the model repository.

::

    model_repository/
      models.config batching.config monitoring.config
      wbc/<version>/
        saved_model.pb variables/                   the signatures of orchestrator.model_contract
        assets.extra/tf_serving_warmup_requests

One SavedModel serves TensorFlow Serving and, read by OpenVINO, the embedded server.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.model_contract import (
    CAMS,
    CONV_MAPS,
    FEATURES,
    GAIN,
    HEAD,
    IMAGES,
    LARGEST_UNKNOWN,
    LOGITS,
    MAIN_OUT,
    MODEL_NAME,
    NUM_CLASSES,
    PARTS,
    ROWS_SIGNATURE,
    SIGNATURES,
    VIEWS_SIGNATURE,
    TensorSpec,
)
from orchestrator.views import VIEWS
from training.classifier import (
    BACKBONE_LAYER,
    CONV_MAPS_LAYER,
    feature_count,
    site_logits,
    with_served_outputs,
)
from training.export_check import check_export
from training.folding import fold_batch_norms
from training.gradcam import class_activation_maps
from training.layers import Tensor
from training.morphometric_evidence import LIMITS, NO_EVIDENCE, MorphometricEvidence
from training.serving_config import write_serving_configs
from training.warmup import write_warmup_records

Outputs = dict[str, Tensor]

PARTIAL_SUFFIX: Final = ".partial"


def export_model(
    model: keras.Model,
    repository: Path,
    version: int,
    *,
    force: bool = False,
    check_images: UInt8Array | None = None,
    evidence: MorphometricEvidence = NO_EVIDENCE,
) -> Path:
    """Write ``model`` as ``repository/wbc/<version>`` and check what was written.

    Batch normalisation is folded into the convolutions (:mod:`training.folding`); the check is against the
    model as it is given. The version is written beside its place and moved there when it has passed, so that
    a server that watches the repository never sees half a model or a wrong one. Configuration files of
    TensorFlow Serving that the repository lacks are written too.

    Args:
        model: from :func:`training.classifier.build_classifier`, for 224 pixels or any size.
        repository: the model repository; created where it is missing.
        version: positive; a server takes the highest.
        force: replace a version that is there.
        check_images: uint8 ``[N, 224, 224, 3]`` to compare the export and the model on; synthetic
            images where none are given.
        evidence: what a cell's ``morphometry`` adds to the logits.

    Returns:
        The directory of the version.

    Raises:
        ValueError: ``version`` is not positive, the model does not compute in float32, or the evidence
            has another shape or holds what is no number.
        FileExistsError: the version is there and ``force`` is not set.
        ContractViolation: the model, or what was written, is not what the contract says, or what was
            written answers otherwise than the model.
        RuntimeError: Keras does not run on TensorFlow.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"a SavedModel is written on TensorFlow, Keras runs on {keras.backend.backend()}; "
            "set KERAS_BACKEND=tensorflow (a saved model loads on any backend)"
        )
    if version < 1:
        raise ValueError(f"expected a version of at least 1, got {version}")
    dtypes = {layer.compute_dtype for layer in (*model.layers, *model.get_layer(BACKBONE_LAYER).layers)}
    if dtypes != {"float32"}:
        raise ValueError(f"expected a model that computes in float32, got {sorted(dtypes)}")
    for name, like in NO_EVIDENCE._asdict().items():
        table = getattr(evidence, name)
        if table.shape != like.shape or not np.isfinite(table).all():
            raise ValueError(f"expected finite evidence of the {name}, {like.shape}, got {table.shape}")
    version_dir = repository / MODEL_NAME / str(version)
    if version_dir.exists() and not force:
        raise FileExistsError(f"version {version} of {MODEL_NAME} is there already; choose another or force")

    # A name that is not a number: TensorFlow Serving takes it for no version.
    partial = version_dir.with_name(version_dir.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write_saved_model(fold_batch_norms(model), evidence, partial)
        write_warmup_records(partial, feature_count(model))
        check_export(partial, model, check_images, evidence)
        if version_dir.exists():
            shutil.rmtree(version_dir)
        partial.rename(version_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_serving_configs(repository)
    return version_dir


def _write_saved_model(model: keras.Model, evidence: MorphometricEvidence, directory: Path) -> None:
    # No archive.track(model): it would store every variable a second time, under another name.
    archive = keras.export.ExportArchive()
    sizes = feature_count(model), model.get_layer(CONV_MAPS_LAYER).output.shape[-1]
    network, explain = _network(model), _explanation(model, *sizes)
    answer = _answer(network, explain, evidence, sizes[0])
    for name, signature in SIGNATURES.items():
        if name == ROWS_SIGNATURE:
            function = answer
        elif name == VIEWS_SIGNATURE:
            function = _views(answer)
        else:
            function = _rows(network, explain, signature.outputs, sizes[0])
        archive.add_endpoint(name, function, [_tf_spec(spec, sizes[0]) for spec in signature.inputs])
    archive.write_out(str(directory), verbose=False)


def _network(model: keras.Model) -> Callable[[Tensor, Tensor], Outputs]:
    """The whole forward pass as one function, so that six signatures hold its graph once.

    TensorFlow and OpenVINO inline it and drop what a signature does not return.
    """
    outputs = with_served_outputs(model)

    def network(images: Tensor, gain: Tensor) -> Outputs:
        pixels = ops.cast(images, "float32") / 255.0 * gain[:, None, None, None]
        return dict(outputs(ops.clip(pixels, 0.0, 1.0), training=False))

    return tf.function(network, input_signature=[_tf_spec(IMAGES), _tf_spec(GAIN)], autograph=False)


def _explanation(model: keras.Model, features: int, maps: int) -> Callable[[Tensor, Tensor], Tensor]:
    return tf.function(
        lambda conv_maps, head: class_activation_maps(model, conv_maps, head),
        input_signature=[
            tf.TensorSpec((*CONV_MAPS.shape[:-1], maps), CONV_MAPS.dtype),
            _tf_spec(HEAD, features),
        ],
        autograph=False,
    )


def _rows(
    network: Callable[[Tensor, Tensor], Outputs],
    explain: Callable[[Tensor, Tensor], Tensor],
    outputs: tuple[TensorSpec, ...],
    features: int,
) -> Callable[[Tensor, Tensor], Outputs]:
    """A signature for rows, of the model's own head alone."""
    names = [spec.name for spec in outputs]

    # The names of the arguments become the names of the signature's inputs.
    def rows(images: Tensor, gain: Tensor) -> Outputs:
        answers = network(images, gain)
        if CAMS.name in names:
            own = tf.zeros((tf.shape(gain)[0], features + 1, NUM_CLASSES))
            answers[CAMS.name] = explain(answers[CONV_MAPS.name], own)
        return {name: answers[name] for name in names}

    return rows


def _answer(
    network: Callable[[Tensor, Tensor], Outputs],
    explain: Callable[[Tensor, Tensor], Tensor],
    evidence: MorphometricEvidence,
    features: int,
) -> Callable[..., Outputs]:
    """The signature for rows with what a site and the cell's measures add."""
    names = [spec.name for spec in SIGNATURES[ROWS_SIGNATURE].outputs]

    def answer(images: Tensor, gain: Tensor, morphometry: Tensor, head: Tensor) -> Outputs:
        answers = network(images, gain)
        logits = answers[LOGITS.name] + site_logits(answers[FEATURES.name], head)
        for places, table, limit in zip(PARTS.values(), evidence, LIMITS, strict=True):
            logits += _where_known(morphometry[:, places], table, limit)
        answers[LOGITS.name] = logits
        answers[MAIN_OUT.name] = tf.nn.softmax(answers[LOGITS.name])
        answers[CAMS.name] = explain(answers[CONV_MAPS.name], head)
        return {name: answers[name] for name in names}

    inputs = SIGNATURES[ROWS_SIGNATURE].inputs
    return tf.function(answer, input_signature=[_tf_spec(spec, features) for spec in inputs], autograph=False)


def _where_known(measures: Tensor, table: Float32Array, limit: float) -> Tensor:
    """``terms(measures) @ table`` of :mod:`training.morphometric_evidence`, within ``limit`` of its largest;
    zeros in the rows in which a measure is unknown."""
    known = tf.reduce_all(measures > LARGEST_UNKNOWN, axis=1, keepdims=True)  # false of NaN too
    x = tf.where(known, measures, 0.0)
    first, second = np.triu_indices(x.shape[1])
    products = tf.gather(x, first, axis=1) * tf.gather(x, second, axis=1)
    evidence = tf.matmul(tf.concat([tf.ones_like(x[:, :1]), x, products], axis=1), tf.constant(table))
    evidence = tf.maximum(evidence, tf.reduce_max(evidence, axis=1, keepdims=True) - limit)
    return tf.where(known, evidence, 0.0)


def _views(answer: Callable[..., Outputs]) -> Callable[..., Outputs]:
    """The signature that makes the rows itself, from an image and the codes of its views."""

    def views(image: Tensor, codes: Tensor, morphometry: Tensor, head: Tensor) -> Outputs:
        places = tf.where(codes >= 0)  # [rows, 2]: which image, and which place of it
        of, code = places[:, 0], tf.gather_nd(codes, places)

        def turned(rows: Tensor, flag: str, turn: Callable[[Tensor], Tensor]) -> Tensor:
            wanted = tf.gather(tf.constant([getattr(view, flag) for view in VIEWS]), code)
            return tf.where(wanted[:, None, None, None], turn(rows), rows)

        rows = tf.gather(image, of)
        rows = turned(rows, "transpose", lambda rows: tf.transpose(rows, (0, 2, 1, 3)))
        rows = turned(rows, "up_down", lambda rows: tf.reverse(rows, (1,)))
        rows = turned(rows, "left_right", lambda rows: tf.reverse(rows, (2,)))
        gain = tf.gather(tf.constant([view.gain for view in VIEWS], tf.float32), code)
        answers = answer(rows, gain, tf.gather(morphometry, of), tf.gather(head, of))
        grid = tf.shape(codes, out_type=places.dtype)
        return {
            name: tf.scatter_nd(places, value, tf.concat([grid, tf.shape(value, grid.dtype)[1:]], 0))
            for name, value in answers.items()
        }

    return views


def _tf_spec(spec: TensorSpec, features: int | None = None) -> tf.TensorSpec:
    """``features`` is the network's number of them, which the shape of a head follows from."""
    shape = (None, features + 1, NUM_CLASSES) if spec is HEAD and features is not None else spec.shape
    return tf.TensorSpec(shape, tf.as_dtype(spec.dtype), name=spec.name)
