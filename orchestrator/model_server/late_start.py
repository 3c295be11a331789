"""A model server that may come later than the service."""

import asyncio
import logging

from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.errors import ModelServerError
from orchestrator.model_server.base import ModelServer

_LOGGER = logging.getLogger(__name__)


class LateModelServer:
    """Starts ``server`` as soon as that is possible; see :class:`~.base.ModelServer`.

    For one that the service can do without, such as a shadow, or the primary of two: :meth:`start` does not
    wait long and does not fail where it cannot be reached, and it is tried again until it can.

    Args:
        server: the one to start.
        patience_s: how long :meth:`start` waits for it, in seconds.
        retry_s: seconds between two attempts.
    """

    def __init__(self, server: ModelServer, *, patience_s: float = 2.0, retry_s: float = 5.0) -> None:
        self._server = server
        self._patience_s = patience_s
        self._retry_s = retry_s
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to start it, and wait a little for the end of that."""
        if self._starting is None:
            self._starting = asyncio.create_task(self._keep_trying(), name="late start")
        await asyncio.wait({self._starting}, timeout=self._patience_s)
        if self._starting.done():
            self._starting.result()

    async def close(self) -> None:
        """Stop trying, and close the server."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
            self._starting = None
        await self._server.close()

    async def ready(self) -> bool:
        """Whether it has started and is ready."""
        return await self._server.ready()

    async def identity(self) -> ModelIdentity:
        """Return the server's, once it has started."""
        return await self._server.identity()

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row."""
        return await self._server.classify(question)

    async def explain(self, question: Question) -> Prediction:
        """Return the class probabilities and the Grad-CAM of each class, of each row."""
        return await self._server.explain(question)

    async def _keep_trying(self) -> None:
        while True:
            try:
                await self._server.start()
            except ModelServerError as error:
                _LOGGER.warning("a model server cannot be started yet: %s", error)
                await asyncio.sleep(self._retry_s)
            else:
                return
