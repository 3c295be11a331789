"""A model server without a model: colours decide."""

import dataclasses

import numpy as np

from orchestrator.deadline import remaining_s
from orchestrator.domain import Float32Array, ModelIdentity, Prediction, ViewBatch
from orchestrator.errors import ModelServerTimeout, ModelServerUnavailable
from orchestrator.model_contract import CAM_SIZE, IMAGE_SIZE, MODEL_NAME, NUM_CLASSES
from orchestrator.model_server.base import check_views

IDENTITY = ModelIdentity(MODEL_NAME, 1, "f" * 64)

# One row of weights per class: five directions in the space of (red, green, blue).
_DIRECTIONS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1]],
    dtype=np.float32,
)


class FakeModelServer:
    """Answers from the mean colour of each row, and explains by where that colour is.

    Deterministic, row by row, and a function of ``images`` and ``gain`` alone.
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

    async def classify(self, views: ViewBatch) -> Prediction:
        self._require_open()
        check_views(views)
        if (left_s := remaining_s()) is not None and left_s <= 0:
            raise ModelServerTimeout("the deadline has passed")
        tiles = _tiles(views)
        logits = 4.0 * tiles.mean(axis=(1, 2)) @ _DIRECTIONS.T
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        main = (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32)
        aux = (1.0 / (1.0 + np.exp(logits[:, 2] - logits[:, 4]))).astype(np.float32)
        return Prediction(main, aux, logits.astype(np.float32), None, self._identity)

    async def explain(self, views: ViewBatch) -> Prediction:
        prediction = await self.classify(views)
        cams = np.moveaxis(_tiles(views) @ _DIRECTIONS.T, -1, 1)
        assert cams.shape == (len(views), NUM_CLASSES, CAM_SIZE, CAM_SIZE)
        return dataclasses.replace(prediction, cams=cams)

    def _require_open(self) -> None:
        if not self._open:
            raise ModelServerUnavailable("the model server is not running")


def _tiles(views: ViewBatch) -> Float32Array:
    """Mean colour of each of 7 x 7 tiles, float32 ``[N, 7, 7, 3]`` in [0, 1]."""
    side = IMAGE_SIZE // CAM_SIZE
    pixels = np.clip(views.images.astype(np.float32) / 255.0 * views.gain[:, None, None, None], 0.0, 1.0)
    tiled = pixels.reshape(-1, CAM_SIZE, side, CAM_SIZE, side, 3)
    return tiled.mean(axis=(2, 4), dtype=np.float32)
