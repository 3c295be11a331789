"""The report writer that asks a language model, and believes it only where it agrees with the facts."""

import logging
from dataclasses import dataclass

from orchestrator.domain import Report, ReportRequest
from orchestrator.observability.metrics import announce_tokens, tokens_used
from orchestrator.report.facts import facts_of
from orchestrator.report.guard import guarded
from orchestrator.report.language_model import Completion, LanguageModel
from orchestrator.report.learning_model import LearningModel
from orchestrator.report.prompt import prompt_of

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, in the currency that the site counts in."""

    prompt: float = 0.0
    completion: float = 0.0


class LanguageModelWriter:
    """Has ``model`` write each report; see :class:`~.base.ReportWriter`.

    Tokens and their price are counted whether the answer can be used or not: they are paid for.
    """

    def __init__(self, name: str, model: LanguageModel, prices: Prices = Prices()) -> None:
        self._name = name
        self._model = LearningModel(name, model, self._count)
        self._prices = prices
        self._served = ""
        announce_tokens(name)

    @property
    def name(self) -> str:
        """From the settings."""
        return self._name

    async def write(self, request: ReportRequest) -> Report:
        """Raises :class:`~.failures.WriterFailed` where no answer came, or none that can be used."""
        facts = facts_of(request)
        completion = await self._model.complete(prompt_of(facts))
        report = guarded(completion, facts, self._name)
        if completion.model != self._served:  # providers reroute silently
            self._served = completion.model
            _LOGGER.info("writer %s is answered by the model %.80r", self._name, completion.model)
        return report

    async def close(self) -> None:
        """Close the model."""
        await self._model.close()

    def _count(self, completion: Completion) -> None:
        prompt, answer = completion.prompt_tokens, completion.completion_tokens
        cost = (prompt * self._prices.prompt + answer * self._prices.completion) / 1e6
        tokens_used(self._name, prompt=prompt, completion=answer, cost=cost)
