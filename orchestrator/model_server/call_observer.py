"""What a client of a model server tells about its calls, for metrics."""

import asyncio
from typing import Literal, Protocol

from orchestrator.common.circuit_breaker import BreakerState
from orchestrator.domain import ModelIdentity
from orchestrator.errors import ContractViolation, ModelServerTimeout, ModelServerUnavailable, Overloaded
from orchestrator.model_server.base import CircuitOpen
from orchestrator.model_server.retry import RetryOutcome

Method = Literal["classify", "explain"]

Outcome = Literal[
    "ok", "unavailable", "overloaded", "timeout", "contract_violation", "error", "cancelled", "breaker_open"
]


class CallObserver(Protocol):
    """Watches the calls. Its methods run on the event loop and must be quick."""

    def call_ended(self, method: Method, outcome: Outcome, version: int | None, seconds: float) -> None:
        """Note the end of one call on the wire, and which version answered, where one did."""

    def retry_ended(self, outcome: RetryOutcome) -> None:
        """Note what became of a retry."""

    def hedge_ended(self, won: bool) -> None:
        """Note a second call, and whether its answer was the first."""

    def breaker_changed(self, state: BreakerState) -> None:
        """Note the state of the circuit breaker: the best one, where several servers have one each."""

    def pods_changed(self, asked: int, left_alone: int) -> None:
        """Note how many servers are asked, and how many failed so often that they are not."""

    def version_changed(self, before: ModelIdentity | None, now: ModelIdentity) -> None:
        """Note that another version answers."""


class Unobserved:
    """Watches nothing."""

    def call_ended(self, method: Method, outcome: Outcome, version: int | None, seconds: float) -> None:
        """Ignore it."""

    def retry_ended(self, outcome: RetryOutcome) -> None:
        """Ignore it."""

    def hedge_ended(self, won: bool) -> None:
        """Ignore it."""

    def breaker_changed(self, state: BreakerState) -> None:
        """Ignore it."""

    def pods_changed(self, asked: int, left_alone: int) -> None:
        """Ignore it."""

    def version_changed(self, before: ModelIdentity | None, now: ModelIdentity) -> None:
        """Ignore it."""


def outcome_of(error: BaseException) -> Outcome:
    """Return the word for a call that ended in ``error``."""
    words: tuple[tuple[type[BaseException], Outcome], ...] = (
        (CircuitOpen, "breaker_open"),
        (ModelServerUnavailable, "unavailable"),
        (ModelServerTimeout, "timeout"),
        (Overloaded, "overloaded"),
        (ContractViolation, "contract_violation"),
        (asyncio.CancelledError, "cancelled"),
    )
    return next((word for kind, word in words if isinstance(error, kind)), "error")
