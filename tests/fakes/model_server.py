"""A model server without a model: colours decide."""

import dataclasses

import numpy as np

from orchestrator.common.deadline import remaining_s
from orchestrator.domain import Float32Array, ModelIdentity, Prediction, Question, ViewBatch
from orchestrator.errors import ModelServerTimeout, ModelServerUnavailable
from orchestrator.model_contract import CAM_SIZE, IMAGE_SIZE, LARGEST_UNKNOWN, MODEL_NAME, NUM_CLASSES
from orchestrator.model_server.base import check_question
from orchestrator.views import rows_of

IDENTITY = ModelIdentity(MODEL_NAME, 1, "f" * 64)

FEATURES = 3
"""The mean red, green and blue."""

# One row of weights per class: five directions in the space of (red, green, blue).
_DIRECTIONS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]],
    dtype=np.float32,
)


class FakeModelServer:
    """Answers from the mean colour of each row, and explains by where that colour is.

    Deterministic, row by row. The mean colour is the features, and its directions the head, to which that of
    a site is added; each measure of a cell speaks for the classes in their order.
    """

    def __init__(self, identity: ModelIdentity = IDENTITY) -> None:
        self._identity = identity
        self._open = False

    async def start(self) -> None:
        self._open = True

    async def close(self) -> None:
        self._open = False

    async def ready(self) -> bool:
        return self._open

    async def identity(self) -> ModelIdentity:
        self._require_open()
        return self._identity

    async def classify(self, question: Question) -> Prediction:
        self._require_open()
        check_question(question, FEATURES)
        if (left_s := remaining_s()) is not None and left_s <= 0:
            raise ModelServerTimeout("the deadline has passed")
        views = rows_of(question)
        features = _tiles(views).mean(axis=(1, 2))
        logits = 4.0 * features @ _DIRECTIONS.T
        if views.morphometry is not None:
            known = np.where(views.morphometry > LARGEST_UNKNOWN, views.morphometry, 0.0)
            logits = logits + np.outer(known.sum(axis=1), np.arange(NUM_CLASSES))
        if views.head is not None:
            logits = logits + np.einsum("nf,nfk->nk", features, views.head[:, :-1]) + views.head[:, -1]
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        main = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
        aux = (1.0 / (1.0 + np.exp(logits[:, 2] - logits[:, 4]))).astype(np.float32)
        not_wbc = (1.0 - features[:, 0]) / 4
        return Prediction(main, aux, logits.astype(np.float32), not_wbc, features, None, self._identity)

    async def explain(self, question: Question) -> Prediction:
        prediction = await self.classify(question)
        views = rows_of(question)
        head = np.tile(4.0 * _DIRECTIONS.T, (len(views), 1, 1))
        if views.head is not None:
            head = head + views.head[:, :-1]
        cams = np.maximum(np.einsum("nhwf,nfk->nkhw", _tiles(views), head), 0.0)
        assert cams.shape == (len(views), NUM_CLASSES, CAM_SIZE, CAM_SIZE)
        return dataclasses.replace(prediction, cams=cams.astype(np.float32))

    def _require_open(self) -> None:
        if not self._open:
            raise ModelServerUnavailable("the model server is not running")


def _tiles(views: ViewBatch) -> Float32Array:
    """Mean colour of each of 7 x 7 tiles, float32 ``[N, 7, 7, 3]`` in [0, 1]."""
    side = IMAGE_SIZE // CAM_SIZE
    pixels = np.clip(views.images.astype(np.float32) / 255.0 * views.gain[:, None, None, None], 0.0, 1.0)
    tiled = pixels.reshape(-1, CAM_SIZE, side, CAM_SIZE, side, 3)
    return tiled.mean(axis=(2, 4), dtype=np.float32)
