"""One model server, and another for the time in which it fails."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.errors import (
    ContractViolation,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
)
from orchestrator.model_server.base import ModelServer, check_question
from orchestrator.model_server.pair import close_both, start_both
from orchestrator.observability.metrics import FAILOVERS

_LOGGER = logging.getLogger(__name__)

_REASONS: Final = (
    (ModelServerUnavailable, "unavailable"),
    (ModelServerTimeout, "timeout"),
    (ContractViolation, "contract"),
    (Overloaded, "overload"),
)


class FailoverModelServer:
    """Asks ``primary``, and ``secondary`` where that fails; see :class:`~.base.ModelServer`.

    The identity in an answer says who gave it. What the primary refuses because too much waits there, the
    secondary answers as long as its own queue, which is short, has room: both are used before anybody is
    sent away.

    Args:
        primary: the one that answers as long as it can.
        secondary: usually the embedded one, which needs no network.
        primary_share: of the time that a request has left, what the primary may use; the rest is for the
            other one. Without a deadline the primary takes the time that it takes.
    """

    def __init__(self, primary: ModelServer, secondary: ModelServer, *, primary_share: float = 0.5) -> None:
        if not 0 < primary_share < 1:
            raise ValueError(f"primary_share: expected between 0 and 1, received {primary_share}")
        self._primary = primary
        self._secondary = secondary
        self._primary_share = primary_share
        for reason in (*(name for _, name in _REASONS), "error"):
            FAILOVERS.labels(reason)

    async def start(self) -> None:
        """Start both."""
        await start_both(self._secondary, self._primary)

    async def close(self) -> None:
        """Close both, the primary first."""
        await close_both(self._primary, self._secondary)

    async def ready(self) -> bool:
        """Whether one of them is."""
        # The secondary first: the primary's silence must not make a service unready that can answer.
        return await self._secondary.ready() or await self._primary.ready()

    async def identity(self) -> ModelIdentity:
        """Return the primary's, or the secondary's while that has none."""
        try:
            return await self._primary.identity()
        except ModelServerError:
            return await self._secondary.identity()

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row."""
        return await self._ask(question, self._primary.classify, self._secondary.classify)

    async def explain(self, question: Question) -> Prediction:
        """Return the class probabilities and the Grad-CAM of each class, of each row."""
        return await self._ask(question, self._primary.explain, self._secondary.explain)

    async def _ask(
        self,
        question: Question,
        primary: Callable[[Question], Awaitable[Prediction]],
        secondary: Callable[[Question], Awaitable[Prediction]],
    ) -> Prediction:
        check_question(question)  # so that a violation below is the server's and not the caller's
        try:
            with within_share(self._primary_share):
                return await primary(question)
        except (ModelServerError, Overloaded) as error:
            left_s = remaining_s()
            if left_s is not None and left_s <= 0:
                raise ModelServerTimeout(
                    "the deadline passed before a second model server was asked"
                ) from error
            FAILOVERS.labels(
                next((name for kind, name in _REASONS if isinstance(error, kind)), "error")
            ).inc()
            _LOGGER.debug("the primary model server failed: %s", error)
            return await secondary(question)


def within_share(share: float) -> AbstractContextManager[None]:
    """What runs within has ``share`` of the time that is left; where there is no deadline it has none."""
    left_s = remaining_s()
    return nullcontext() if left_s is None else deadline(left_s * share)
