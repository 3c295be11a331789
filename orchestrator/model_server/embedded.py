"""The model server inside this process: the default where no other is configured."""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.errors import ModelServerUnavailable
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.base import check_question
from orchestrator.model_server.batching import Batcher, BatchObserver
from orchestrator.model_server.fingerprint import model_sha256
from orchestrator.model_server.openvino_network import OpenVinoNetwork, Precision
from orchestrator.views import stacked

_LOGGER = logging.getLogger(__name__)

BATCH_ROWS: Final = 4
"""Rows that go through a stream of the network together. More gain little on a CPU (on one core 13.1 ms for
one row, 10.9 a row at 4, 11.7 at 8) and cost memory: 30 MB for each row of four streams."""


class EmbeddedModelServer:
    """Runs a version of the model repository with OpenVINO; see :class:`~.base.ModelServer`.

    One pass both classifies and explains: Grad-CAM adds nothing measurable to the time of the network
    (under 1 % at 8 rows), so requests of both kinds share their batches.

    Args:
        model_dir: ``<repository>/wbc``, the folder of the versions.
        version: the version to serve; the highest where None.
        precision: what the hardware may compute in. ``f32`` gives the same answers on every machine;
            ``bf16`` is faster on CPUs that have it.
        threads: CPU threads; None takes every core that the process may use.
        max_queue_rows: most rows that wait before requests are refused.
        cache_dir: where to keep compiled networks for faster starts (37 MB for each model); None keeps
            none. Only this process's user may write there: what lies there is trusted.
        observer: told of every batch and of the length of the queue.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        version: int | None = None,
        precision: Precision = "f32",
        threads: int | None = None,
        max_queue_rows: int = 512,
        cache_dir: Path | None = None,
        observer: BatchObserver | None = None,
    ) -> None:
        self._model_dir = model_dir
        self._version = version
        self._precision: Precision = precision
        self._threads = threads
        self._max_queue_rows = max_queue_rows
        self._cache_dir = cache_dir
        self._observer = observer
        self._identity: ModelIdentity | None = None
        self._features: int | None = None
        self._batcher: Batcher | None = None

    async def start(self) -> None:
        """Read, compile, check and warm up the model in a worker thread."""
        if self._batcher:
            return
        identity, network, seconds_per_row = await asyncio.to_thread(self._load)

        def predict(questions: Sequence[Question]) -> Prediction:
            return network.run(stacked(questions)).prediction(identity)

        self._identity = identity
        self._features = network.features
        self._batcher = Batcher(
            predict,
            lanes=network.streams,
            max_batch_rows=BATCH_ROWS,
            max_queue_rows=self._max_queue_rows,
            seconds_per_row=seconds_per_row,
            observer=self._observer,
        )

    async def close(self) -> None:
        """Answer what was accepted, refuse what comes after, and let the model go."""
        batcher, self._batcher, self._identity = self._batcher, None, None
        if batcher:
            await batcher.close()

    async def ready(self) -> bool:
        """Whether the model is loaded."""
        return self._batcher is not None

    async def identity(self) -> ModelIdentity:
        """Return the name, version and hash of the loaded model."""
        if self._identity is None:
            raise ModelServerUnavailable("no model is loaded")
        return self._identity

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row."""
        return dataclasses.replace(await self.explain(question), cams=None)

    async def explain(self, question: Question) -> Prediction:
        """Return the class probabilities and the Grad-CAM of each class, of each row."""
        check_question(question, self._features)
        if self._batcher is None:
            raise ModelServerUnavailable("no model is loaded")
        return await self._batcher.submit(question)

    def _load(self) -> tuple[ModelIdentity, OpenVinoNetwork, float]:
        started_s = time.perf_counter()
        version_dir = find_version(self._model_dir, self._version)
        try:
            sha256 = model_sha256(version_dir)
        except OSError as error:
            raise ModelServerUnavailable(
                f"version {version_dir.name} holds no readable SavedModel"
            ) from error
        network = OpenVinoNetwork(
            version_dir,
            precision=self._precision,
            threads=self._threads,
            cache_dir=None if self._cache_dir is None else self._cache_dir / sha256,
        )
        seconds_per_row = network.warm_up()
        _LOGGER.info(
            "loaded %s version %s in %.1f s", MODEL_NAME, version_dir.name, time.perf_counter() - started_s
        )
        return ModelIdentity(MODEL_NAME, int(version_dir.name), sha256), network, seconds_per_row


def find_version(model_dir: Path, version: int | None = None) -> Path:
    """Return the directory of ``version``, or of the highest version where None.

    Raises:
        ModelServerUnavailable: it is not there.
    """
    # As TensorFlow Serving does: a version is a directory whose name is a number.
    versions = {
        int(path.name): path for path in model_dir.glob("[0-9]*") if path.name.isdecimal() and path.is_dir()
    }
    wanted = max(versions, default=None) if version is None else version
    if wanted not in versions:
        asked = "a version" if wanted is None else f"version {wanted}"
        found = ", ".join(str(number) for number in sorted(versions)) or "none"
        raise ModelServerUnavailable(
            f"expected {asked} of {MODEL_NAME} in the model repository, found {found}"
        )
    return versions[wanted]
