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
import tensorflow as tf
from keras import ops

from orchestrator.domain import UInt8Array
from orchestrator.model_contract import (
    CAMS,
    CONV_MAPS,
    GAIN,
    IMAGES,
    INPUTS,
    MODEL_NAME,
    SIGNATURES,
    TensorSpec,
)
from training.classifier import BACKBONE_LAYER, CONV_MAPS_LAYER, with_served_outputs
from training.export_check import check_export
from training.gradcam import class_activation_maps
from training.layers import Tensor
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
) -> Path:
    """Write ``model`` as ``repository/wbc/<version>`` and check what was written.

    The version is written beside its place and moved there when it has passed the check, so that a
    server that watches the repository never sees half a model or a wrong one. Configuration files of
    TensorFlow Serving that the repository lacks are written too.

    Args:
        model: from :func:`training.classifier.build_classifier`, for 224 pixels or any size.
        repository: the model repository; created where it is missing.
        version: positive; a server takes the highest.
        force: replace a version that is there.
        check_images: uint8 ``[N, 224, 224, 3]`` to compare the export and the model on; synthetic
            images where none are given.

    Returns:
        The directory of the version.

    Raises:
        ValueError: ``version`` is not positive, or the model does not compute in float32.
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
    version_dir = repository / MODEL_NAME / str(version)
    if version_dir.exists() and not force:
        raise FileExistsError(f"version {version} of {MODEL_NAME} is there already; choose another or force")

    # A name that is not a number: TensorFlow Serving takes it for no version.
    partial = version_dir.with_name(version_dir.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write_saved_model(model, partial)
        write_warmup_records(partial)
        check_export(partial, model, check_images)
        if version_dir.exists():
            shutil.rmtree(version_dir)
        partial.rename(version_dir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    write_serving_configs(repository)
    return version_dir


def _write_saved_model(model: keras.Model, directory: Path) -> None:
    # No archive.track(model): it would store every variable a second time, under another name.
    archive = keras.export.ExportArchive()
    network, explain = _network(model), _explanation(model)
    for name, outputs in SIGNATURES.items():
        archive.add_endpoint(name, _signature(network, explain, outputs), [_tf_spec(spec) for spec in INPUTS])
    archive.write_out(str(directory), verbose=False)


def _network(model: keras.Model) -> Callable[[Tensor, Tensor], Outputs]:
    """The whole forward pass as one function, so that five signatures hold its graph once.

    TensorFlow and OpenVINO inline it and drop what a signature does not return.
    """
    outputs = with_served_outputs(model)

    def network(images: Tensor, gain: Tensor) -> Outputs:
        pixels = ops.cast(images, "float32") / 255.0 * gain[:, None, None, None]
        return dict(outputs(ops.clip(pixels, 0.0, 1.0), training=False))

    return tf.function(network, input_signature=[_tf_spec(IMAGES), _tf_spec(GAIN)], autograph=False)


def _explanation(model: keras.Model) -> Callable[[Tensor], Tensor]:
    width = model.get_layer(CONV_MAPS_LAYER).output.shape[-1]
    return tf.function(
        lambda conv_maps: class_activation_maps(model, conv_maps),
        input_signature=[tf.TensorSpec((*CONV_MAPS.shape[:-1], width), CONV_MAPS.dtype)],
        autograph=False,
    )


def _signature(
    network: Callable[[Tensor, Tensor], Outputs],
    explain: Callable[[Tensor], Tensor],
    outputs: tuple[TensorSpec, ...],
) -> Callable[[Tensor, Tensor], Outputs]:
    names = [spec.name for spec in outputs]

    # The names of the arguments become the names of the signature's inputs.
    def signature(images: Tensor, gain: Tensor) -> Outputs:
        answers = network(images, gain)
        if CAMS.name in names:
            answers[CAMS.name] = explain(answers[CONV_MAPS.name])
        return {name: answers[name] for name in names}

    return signature


def _tf_spec(spec: TensorSpec) -> tf.TensorSpec:
    return tf.TensorSpec(spec.shape, tf.as_dtype(spec.dtype), name=spec.name)
