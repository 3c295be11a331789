"""A copy of the traffic goes to another version, whose answers nobody gets: they are only compared."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context

import numpy as np

from orchestrator.common.deadline import deadline
from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.pair import close_both, start_both
from orchestrator.observability.metrics import SHADOW_COMPARISONS

_LOGGER = logging.getLogger(__name__)


class ShadowModelServer:
    """Answers from ``primary`` and asks ``shadow`` the same afterwards; see :class:`~.base.ModelServer`.

    The copy is sent when the caller has their answer, from a task of its own, so that neither the time nor an
    error of the shadow reaches them. Where the shadow is busy the copy is dropped. The outcome is a metric:
    ``agree``, ``disagree`` (another class, by the mean over the views), ``failed`` or ``dropped``.

    Args:
        primary: the one that answers.
        shadow: the one that is watched.
        max_pending: copies under way at once; each holds the views of a request, 150 kB a row.
        timeout_s: how long the shadow has for one, in seconds.
    """

    def __init__(
        self, primary: ModelServer, shadow: ModelServer, *, max_pending: int = 4, timeout_s: float = 5.0
    ) -> None:
        if max_pending < 1:
            raise ValueError(f"max_pending: expected at least 1, received {max_pending}")
        self._primary = primary
        self._shadow = shadow
        self._max_pending = max_pending
        self._timeout_s = timeout_s
        self._pending: set[asyncio.Task[None]] = set()
        for outcome in ("agree", "disagree", "failed", "dropped"):
            SHADOW_COMPARISONS.labels(outcome)

    async def start(self) -> None:
        """Start both."""
        await start_both(self._primary, self._shadow)

    async def close(self) -> None:
        """Answer what was accepted; copies under way are given up."""
        for copy in self._pending:
            copy.cancel()
        await asyncio.gather(*self._pending, return_exceptions=True)
        await close_both(self._primary, self._shadow)

    async def ready(self) -> bool:
        """Whether the primary is."""
        return await self._primary.ready()

    async def identity(self) -> ModelIdentity:
        """Return the primary's."""
        return await self._primary.identity()

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row."""
        answer = await self._primary.classify(question)
        self._send_copy(self._shadow.classify, question, answer)
        return answer

    async def explain(self, question: Question) -> Prediction:
        """Return the class probabilities and the Grad-CAM of each class, of each row."""
        answer = await self._primary.explain(question)
        self._send_copy(self._shadow.explain, question, answer)
        return answer

    def _send_copy(
        self, ask: Callable[[Question], Awaitable[Prediction]], question: Question, answer: Prediction
    ) -> None:
        if len(self._pending) >= self._max_pending:
            SHADOW_COMPARISONS.labels("dropped").inc()
            return
        # In an empty context: the caller's deadline, name and timings are none of the shadow's.
        copy = asyncio.create_task(self._compare(ask, question, answer), name="shadow", context=Context())
        self._pending.add(copy)
        copy.add_done_callback(self._pending.discard)

    async def _compare(
        self, ask: Callable[[Question], Awaitable[Prediction]], question: Question, answer: Prediction
    ) -> None:
        try:
            with deadline(self._timeout_s):
                async with asyncio.timeout(self._timeout_s):
                    other = await ask(question)
        except Exception as error:  # whatever it is, it is the shadow's and not the caller's
            _LOGGER.debug("the shadow failed: %s: %s", type(error).__name__, error)
            SHADOW_COMPARISONS.labels("failed").inc()
            return
        outcome = "agree" if _decided(answer) == _decided(other) else "disagree"
        SHADOW_COMPARISONS.labels(outcome).inc()


def _decided(answer: Prediction) -> int:
    return int(np.argmax(answer.main_out.mean(axis=0)))
