"""Asking a model in this process: an exported one by TensorFlow or by the runtime that serves, and a trained
one, of whatever backbone, by Keras.

TensorFlow wrote the files and is the reference. The embedded runtime (OpenVINO) is what a service without a
model server of its own answers with, so that only it gives the very digits of such a service.
"""

import hashlib
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from orchestrator.domain import ModelIdentity, Prediction, ViewBatch, joined
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    CONV_MAPS,
    FEATURES,
    GAIN,
    HEAD,
    IMAGE_SIZE,
    IMAGES,
    LOGITS,
    MAIN_OUT,
    MEASURES,
    MODEL_NAME,
    MORPHOMETRY,
    NOT_WBC,
    NUM_CLASSES,
    ROWS_SIGNATURE,
    UNKNOWN,
)
from orchestrator.model_server.fingerprint import model_sha256
from orchestrator.model_server.openvino_network import OpenVinoNetwork

Predictor = Callable[[ViewBatch], Prediction]
Runtime = Literal["embedded", "tensorflow"]


def open_predictor(model_path: Path, runtime: Runtime, *, explain: bool = False) -> Predictor:
    """A model, with the class activation maps where ``explain``: an exported SavedModel, run by ``runtime``,
    or a classifier that Keras has saved (``.keras``), run by Keras.

    Raises:
        ConfigurationError: there is neither, or the file holds another kind of network.
        ModelServerUnavailable: the embedded runtime cannot read it.
        ContractViolation: the embedded runtime finds other inputs or outputs than those of the contract.
    """
    require_model(model_path)
    if is_keras_file(model_path):
        return keras_predictor(model_path, explain=explain)
    if runtime == "embedded":
        return embedded_predictor(model_path)
    return saved_model_predictor(model_path, explain=explain)


def keras_predictor(path: Path, *, explain: bool = False) -> Predictor:
    """A classifier of any backbone (:func:`training.classifier.build_classifier`) as it was trained.

    What an export adds, the evidence of a cell's measures, it does not have.

    Raises :class:`ConfigurationError` for a network of another kind, or for images of another size.
    """
    import keras

    from training.classifier import CONV_MAPS_LAYER, site_logits, with_served_outputs
    from training.gradcam import class_activation_maps

    model = load_network(path)
    layers = {layer.name for layer in model.layers}
    if not {CONV_MAPS_LAYER, MAIN_OUT.name, AUX_OUT.name, NOT_WBC.name} <= layers:
        raise ConfigurationError(f"expected a classifier of `wbc-train train`, {path} holds another network")
    if model.input_shape[1:3] not in ((None, None), (IMAGE_SIZE, IMAGE_SIZE)):
        raise ConfigurationError(
            f"expected a classifier of {IMAGE_SIZE} px, {path} is of {model.input_shape}"
        )
    network = with_served_outputs(model)
    identity = model_identity(path)
    numpy = keras.ops.convert_to_numpy

    def predict(views: ViewBatch) -> Prediction:
        pixels = views.images.astype(np.float32) / np.float32(255) * views.gain[:, None, None, None]
        answer = network.predict_on_batch(np.clip(pixels, 0, 1))
        logits, main_out = answer[LOGITS.name], answer[MAIN_OUT.name]
        if views.head is not None:
            logits = logits + numpy(site_logits(answer[FEATURES.name], views.head))
            main_out = numpy(keras.ops.softmax(logits))
        return Prediction(
            main_out=main_out,
            aux_out=answer[AUX_OUT.name][:, 0],
            logits=logits,
            not_wbc=answer[NOT_WBC.name][:, 0],
            features=answer[FEATURES.name],
            cams=numpy(class_activation_maps(model, answer[CONV_MAPS.name], views.head)) if explain else None,
            model=identity,
        )

    return predict


def load_network(path: Path) -> Any:
    """The network of a ``.keras`` file, without what it was trained by.

    Raises :class:`ConfigurationError` where Keras cannot read it. So it is with every network of the
    reference system's own code: a file names its layers and holds their weights by number, but what these
    layers do is not in it, and a layer of ours by the same name may do another thing.
    """
    import keras

    try:
        return keras.models.load_model(path, compile=False)
    except (ImportError, KeyError, OSError, TypeError, ValueError) as error:
        unknown = re.search(r"Could not locate class '(\w+)'", str(error))
        because = (
            f"it has layers of another program's code ({unknown[1]}), which the file does not hold; train "
            "that network here: wbc-train train --config reference"
            if unknown
            else str(error).splitlines()[0]
        )
        raise ConfigurationError(f"expected a classifier of `wbc-train train`, {path}: {because}") from error


def saved_model_predictor(version_dir: Path, *, explain: bool = False) -> Predictor:
    """An exported SavedModel, run by TensorFlow; with the class activation maps where ``explain``."""
    import tensorflow as tf  # seconds, which the other runtime need not wait for

    signature = tf.saved_model.load(str(version_dir)).signatures[ROWS_SIGNATURE]
    head_rows = signature.structured_input_signature[1][HEAD.name].shape[1]
    identity = model_identity(version_dir)

    def predict(views: ViewBatch) -> Prediction:
        rows = len(views)
        morphometry = views.morphometry
        if morphometry is None:
            morphometry = np.full((rows, len(MEASURES)), UNKNOWN, np.float32)
        head = np.zeros((rows, head_rows, NUM_CLASSES), np.float32) if views.head is None else views.head
        feed = {
            IMAGES.name: views.images,
            GAIN.name: views.gain,
            MORPHOMETRY.name: morphometry,
            HEAD.name: head,
        }
        answer = signature(**{name: tf.constant(value) for name, value in feed.items()})
        return Prediction(
            main_out=answer[MAIN_OUT.name].numpy(),
            aux_out=answer[AUX_OUT.name].numpy()[:, 0],
            logits=answer[LOGITS.name].numpy(),
            not_wbc=answer[NOT_WBC.name].numpy()[:, 0],
            features=answer[FEATURES.name].numpy(),
            cams=answer[CAMS.name].numpy() if explain else None,
            model=identity,
        )

    return predict


def embedded_predictor(version_dir: Path) -> Predictor:
    """An exported SavedModel, run by OpenVINO as the service does; always with the class activation maps,
    which cost nothing there."""
    network = OpenVinoNetwork(version_dir)
    threads = ThreadPoolExecutor(network.streams)
    identity = model_identity(version_dir)

    def predict_part(views: ViewBatch) -> Prediction:
        return network.run(views).prediction(identity)

    def predict(views: ViewBatch) -> Prediction:
        rows = np.array_split(np.arange(len(views)), min(len(views), network.streams))
        parts = (views.part(part[0], part[-1] + 1) for part in rows)
        return joined(*threads.map(predict_part, parts))

    return predict


def model_identity(path: Path) -> ModelIdentity:
    """Name, version (0 where the folder's name is no number, and of a file) and hash of a model.

    Raises :class:`ConfigurationError` where there is none.
    """
    require_model(path)
    if is_keras_file(path):
        return ModelIdentity(MODEL_NAME, 0, hashlib.sha256(path.read_bytes()).hexdigest())
    version = int(path.name) if path.name.isdecimal() else 0
    return ModelIdentity(MODEL_NAME, version, model_sha256(path))


def is_keras_file(path: Path) -> bool:
    """Whether it is a model that Keras has saved, and no SavedModel."""
    return path.suffix == ".keras" and path.is_file()


def require_model(path: Path) -> None:
    """Raises :class:`ConfigurationError` where the path is neither a SavedModel nor a ``.keras`` file."""
    if not (is_keras_file(path) or (path / "saved_model.pb").is_file()):
        raise ConfigurationError(
            f"expected a SavedModel in {path} or a .keras file there, found none; see `wbc-train export`"
        )
