"""A share of the traffic goes to another version, to see how it does before it gets all of it."""

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.common.on_trial import is_on_trial
from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.errors import ContractViolation, ModelServerError, Overloaded
from orchestrator.model_server.base import ModelServer, check_question
from orchestrator.model_server.failover import within_share
from orchestrator.model_server.pair import close_both, start_both
from orchestrator.observability.metrics import CANARY_REQUESTS

_LOGGER = logging.getLogger(__name__)

_TIME_SHARE: Final = 0.5
"""Of the time that a request has left, what the canary may use before the stable one is asked."""


class CanaryModelServer:
    """Asks ``canary`` for a share of the requests, ``stable`` for the rest; see :class:`~.base.ModelServer`.

    The name of a request decides, so that all questions of one request, and the same request sent again, go
    the same way. Where the canary fails, or a site's head is of other features than its own, the stable one
    answers: a caller never pays for the trial. The identity in an answer says who gave it.

    Args:
        stable: answers for most; this one is what :meth:`ready` and :meth:`identity` speak of.
        canary: the version on trial.
        share: of the requests, from 0 to 1.
        request_name: the name of the request that this code runs for; those without one are not on trial.
    """

    def __init__(
        self,
        stable: ModelServer,
        canary: ModelServer,
        *,
        share: float,
        request_name: Callable[[], str],
    ) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"share: expected 0 to 1, received {share}")
        self._stable = stable
        self._canary = canary
        self._share = share
        self._request_name = request_name
        for arm in ("stable", "canary", "fallback"):
            CANARY_REQUESTS.labels(arm)

    async def start(self) -> None:
        """Start both."""
        await start_both(self._stable, self._canary)

    async def close(self) -> None:
        """Close both."""
        await close_both(self._stable, self._canary)

    async def ready(self) -> bool:
        """Whether the stable one is."""
        return await self._stable.ready()

    async def identity(self) -> ModelIdentity:
        """Return the stable one's."""
        return await self._stable.identity()

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row."""
        return await self._ask(question, self._stable.classify, self._canary.classify)

    async def explain(self, question: Question) -> Prediction:
        """Return the class probabilities and the Grad-CAM of each class, of each row."""
        return await self._ask(question, self._stable.explain, self._canary.explain)

    async def _ask(
        self,
        question: Question,
        stable: Callable[[Question], Awaitable[Prediction]],
        canary: Callable[[Question], Awaitable[Prediction]],
    ) -> Prediction:
        check_question(question)
        arm = "stable"
        if is_on_trial(self._request_name(), self._share):
            try:
                with within_share(_TIME_SHARE):
                    answer = await canary(question)
            except (ContractViolation, ModelServerError, Overloaded) as error:
                _LOGGER.debug("the canary failed, the stable model server is asked: %s", error)
                arm = "fallback"
            else:
                CANARY_REQUESTS.labels("canary").inc()
                return answer
        answer = await stable(question)
        CANARY_REQUESTS.labels(arm).inc()
        return answer
