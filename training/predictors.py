"""Asking an exported model in this process: by TensorFlow, or by the runtime that serves.

TensorFlow wrote the files and is the reference. The embedded runtime (OpenVINO) is what a service without a
model server of its own answers with, so that only it gives the very digits of such a service.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from orchestrator.domain import ModelIdentity, Prediction, ViewBatch, joined
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    FEATURES,
    GAIN,
    HEAD,
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


def open_predictor(version_dir: Path, runtime: Runtime, *, explain: bool = False) -> Predictor:
    """An exported SavedModel, run by ``runtime``; with the class activation maps where ``explain``.

    Raises:
        ConfigurationError: there is no SavedModel.
        ModelServerUnavailable: the embedded runtime cannot read it.
        ContractViolation: the embedded runtime finds other inputs or outputs than those of the contract.
    """
    require_saved_model(version_dir)
    if runtime == "embedded":
        return embedded_predictor(version_dir)
    return saved_model_predictor(version_dir, explain=explain)


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


def model_identity(version_dir: Path) -> ModelIdentity:
    """Name, version (0 where the folder's name is no number) and hash of an exported model."""
    version = int(version_dir.name) if version_dir.name.isdecimal() else 0
    return ModelIdentity(MODEL_NAME, version, model_sha256(version_dir))


def require_saved_model(version_dir: Path) -> None:
    """Raises :class:`ConfigurationError` where the folder holds no SavedModel."""
    if not (version_dir / "saved_model.pb").is_file():
        raise ConfigurationError(
            f"expected a SavedModel in {version_dir}, found none; see `wbc-train export`"
        )
