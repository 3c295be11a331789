"""A writer of writers: language models in order, and the rule-based writer where none delivers in time."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from orchestrator.common.circuit_breaker import BreakerState, CircuitBreaker, Verdict
from orchestrator.common.deadline import remaining_s
from orchestrator.domain import Report, ReportRequest
from orchestrator.observability.metrics import announce_fallbacks, report_fell_back, writer_breaker
from orchestrator.report.base import ReportWriter
from orchestrator.report.failures import FAILURE_REASONS, HOPELESS, PASSING, FailureReason, WriterFailed

SkipReason = Literal["busy", "no_time", "left_alone", "breaker_open"]
"""Why a provider was not even asked."""

SKIP_REASONS: Final[tuple[SkipReason, ...]] = ("busy", "no_time", "left_alone", "breaker_open")

MAX_ATTEMPTS: Final = 2
"""Times that one provider is asked for one report."""

LEAST_ATTEMPT_S: Final = 0.05
"""With less time than that nobody is asked."""

BACKOFF_S: Final = 0.25
"""Before a provider whose failure may pass is asked again."""

RATE_LIMIT_S: Final = 1.0
"""Until a provider is asked again that had enough and does not say when it will have room."""

_FAIR_SHARE: Final = 0.5
"""A provider that was given less of its own timeout says nothing of its health by missing it."""

_LOGGER = logging.getLogger(__name__)


class _LeftAlone(Exception):
    """The breaker is open."""


class Provider:
    """A writer that may fail, and what is known of its health.

    Args:
        writer: raises :class:`~.failures.WriterFailed`.
        timeout_s: the most that one answer may take.
        clock: seconds on a clock that only runs forward.
        breaker_open_s: how long it is left alone after half of the latest answers failed.
    """

    def __init__(
        self,
        writer: ReportWriter,
        timeout_s: float = 8.0,
        *,
        breaker_open_s: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.writer = writer
        self.timeout_s = timeout_s
        self.not_before_s = -math.inf
        self.breaker = CircuitBreaker(
            _LeftAlone,
            min_calls=4,
            memory_s=300.0,
            open_s=breaker_open_s,
            clock=clock,
            observe=lambda state: writer_breaker(writer.name, state),
        )
        announce_fallbacks(writer.name, (*FAILURE_REASONS, *SKIP_REASONS))


class FallbackWriter:
    """Asks the providers in order and ends in ``last``, always and in time.

    One deadline holds for the whole: ``deadline_s``, or what is left of the request's time less
    ``reserve_s`` where that is shorter. A provider gets an equal part of what is left, so that one that
    hangs leaves time for the next. One whose failure may pass is asked a second time after all others, a
    429 when its ``Retry-After`` is over if that lies within the deadline. One that answers 401, 403, 404 or
    410 is not asked again for ``skip_s``.

    At most ``max_concurrent`` reports are asked of providers at a time; further ones go to ``last`` at once.
    """

    def __init__(
        self,
        providers: Sequence[Provider],
        last: ReportWriter,
        *,
        deadline_s: float = 6.0,
        reserve_s: float = 0.5,
        skip_s: float = 600.0,
        max_concurrent: int = 16,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._providers = tuple(providers)
        self._last = last
        self._deadline_s = deadline_s
        self._reserve_s = reserve_s
        self._skip_s = skip_s
        self._free = max_concurrent
        self._clock = clock

    @property
    def name(self) -> str:
        """All names, in order; a report names the one that wrote it."""
        return " > ".join([*(provider.writer.name for provider in self._providers), self._last.name])

    async def write(self, request: ReportRequest) -> Report:
        """Never raises where ``last`` does not."""
        left_s = remaining_s()
        allowed_s = self._deadline_s if left_s is None else min(self._deadline_s, left_s - self._reserve_s)
        report = None
        if self._free < 1:
            self._nobody_asked("busy")
        elif allowed_s < LEAST_ATTEMPT_S:
            self._nobody_asked("no_time")
        else:
            self._free -= 1
            try:
                report = await self._ask(request, self._clock() + allowed_s)
            finally:
                self._free += 1
        return report or await self._last.write(request)

    async def close(self) -> None:
        """Close every writer."""
        for provider in self._providers:
            await provider.writer.close()
        await self._last.close()

    async def _ask(self, request: ReportRequest, ends_s: float) -> Report | None:
        """The first report that a provider writes until ``ends_s``; None where none does."""
        waiting: dict[Provider, float] = {}  # who may still be asked, and when
        asked: dict[Provider, int] = {}
        for provider in self._providers:
            if provider.breaker.state is BreakerState.OPEN:
                report_fell_back(provider.writer.name, "breaker_open")
            elif provider.not_before_s >= ends_s:
                report_fell_back(provider.writer.name, "left_alone")
            else:
                waiting[provider] = provider.not_before_s
        while waiting:
            now_s = self._clock()
            ready = [p for p in waiting if waiting[p] <= now_s]
            # Those first that have not been asked; of these, and of the others, by their order.
            chosen = min(ready or waiting, key=lambda p: asked.get(p, 0) if ready else waiting[p])
            if max(now_s, waiting[chosen]) + LEAST_ATTEMPT_S > ends_s:
                break
            if not ready:
                await asyncio.sleep(waiting[chosen] - now_s)
                continue
            fresh = sum(1 for p in ready if p not in asked)
            outcome = await self._attempt(chosen, request, (ends_s - now_s) / max(1, fresh))
            if isinstance(outcome, Report):
                return outcome
            asked[chosen] = asked.get(chosen, 0) + 1
            again_s = self._noted(chosen, outcome)
            if again_s < ends_s and asked[chosen] < MAX_ATTEMPTS:
                waiting[chosen] = again_s
            else:
                del waiting[chosen]
        return None

    async def _attempt(
        self, provider: Provider, request: ReportRequest, allowed_s: float
    ) -> Report | WriterFailed:
        allowed_s = min(allowed_s, provider.timeout_s)
        fair = allowed_s >= _FAIR_SHARE * provider.timeout_s

        def judge(error: BaseException) -> Verdict:
            reason = _reason(error)
            if reason is None or reason == "rate_limited" or reason in HOPELESS:
                return Verdict.NOTHING  # the caller went; or it is known when to come back
            return Verdict.FAILED if fair or reason != "timeout" else Verdict.NOTHING

        try:
            with provider.breaker.guarding(judge):
                async with asyncio.timeout(allowed_s):
                    return await provider.writer.write(request)
        except _LeftAlone:
            report_fell_back(provider.writer.name, "breaker_open")
            return WriterFailed("unexpected")
        except WriterFailed as error:
            failure = error
        except TimeoutError:
            failure = WriterFailed("timeout")
        except Exception as error:  # a provider's package has more errors than it documents
            _LOGGER.warning("writer %s failed: %s", provider.writer.name, type(error).__qualname__)
            failure = WriterFailed("unexpected")
        report_fell_back(provider.writer.name, failure.reason)
        return failure

    def _noted(self, provider: Provider, failure: WriterFailed) -> float:
        """When the provider may be asked again: for this report, and where it concerns others for them."""
        now_s = self._clock()
        if failure.reason in HOPELESS:
            provider.not_before_s = now_s + self._skip_s
            _LOGGER.warning(
                "writer %s is %s; it is not asked for %.0f s",
                provider.writer.name,
                failure.reason,
                self._skip_s,
            )
            return math.inf
        if failure.reason == "rate_limited" or failure.retry_after_s is not None:
            after_s = RATE_LIMIT_S if failure.retry_after_s is None else failure.retry_after_s
            provider.not_before_s = now_s + after_s
            return provider.not_before_s
        return now_s + BACKOFF_S if failure.reason in PASSING else math.inf

    def _nobody_asked(self, reason: SkipReason) -> None:
        for provider in self._providers:
            report_fell_back(provider.writer.name, reason)


def _reason(error: BaseException) -> FailureReason | None:
    """None where the end of the call says nothing of the provider."""
    if isinstance(error, WriterFailed):
        return error.reason
    if isinstance(error, TimeoutError):
        return "timeout"
    return "unexpected" if isinstance(error, Exception) else None
