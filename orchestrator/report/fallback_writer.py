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
from orchestrator.report.failures import (
    ADVICE,
    FAILURE_REASONS,
    HOPELESS,
    PASSING,
    FailureReason,
    WriterFailed,
)

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
"""Until a provider is asked again that had enough and does not say when it will have room; twice as long each
further time, up to:"""

MAX_RATE_LIMIT_S: Final = 60.0

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
        self.has_written = False
        self.rate_limits = 0  # one after the other, without a word of when to come back
        self.breaker = CircuitBreaker(
            _LeftAlone,
            min_calls=4,
            memory_s=300.0,
            open_s=breaker_open_s,
            clock=clock,
            observe=self._breaker_is,
        )
        self._open_s = breaker_open_s
        announce_fallbacks(writer.name, (*FAILURE_REASONS, *SKIP_REASONS))

    def is_waited_for(self, now_s: float, ends_s: float) -> bool:
        """Whether it may be asked from now until then; not where it did not say itself when that is."""
        return self.not_before_s <= (now_s if self.rate_limits else ends_s)

    def _breaker_is(self, state: BreakerState) -> None:
        writer_breaker(self.writer.name, state)
        if state is BreakerState.OPEN:
            _LOGGER.warning(
                "writer %s failed in half of its latest answers; it is not asked for %.0f s",
                self.writer.name,
                self._open_s,
            )


class FallbackWriter:
    """Asks the providers in order and ends in ``last``, always and in time.

    One deadline holds for the whole: ``deadline_s``, or what is left of the request's time less
    ``reserve_s`` where that is shorter. A provider gets an equal part of what is left, so that one that
    hangs leaves time for the next. One whose failure may pass is asked a second time after all others, a
    429 when its ``Retry-After`` is over if that lies within the deadline. One that will not do better soon
    (a wrong key, no such model, a quota that is used up) is not asked again for ``skip_s``, or until when it
    says.

    Whoever was asked and did not write has one line in the log and one count in the metrics for that report;
    who is left alone has a line when that begins.

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
            failed: dict[Provider, WriterFailed] = {}
            self._free -= 1
            try:
                report = await self._ask(request, self._clock() + allowed_s, failed)
            finally:
                self._free += 1
            for provider, failure in failed.items():
                self._fell_back(provider, failure)
        return report or await self._last.write(request)

    async def close(self) -> None:
        """Close every writer."""
        for provider in self._providers:
            await provider.writer.close()
        await self._last.close()

    async def _ask(
        self, request: ReportRequest, ends_s: float, failed: dict[Provider, WriterFailed]
    ) -> Report | None:
        """The first report that a provider writes until ``ends_s``; None where none does.

        ``failed`` gets who was asked and did not write, and why at last.
        """
        waiting: dict[Provider, float] = {}  # who may still be asked, and when
        asked: dict[Provider, int] = {}
        for provider in self._providers:
            if provider.breaker.state is BreakerState.OPEN:
                report_fell_back(provider.writer.name, "breaker_open")
            elif not provider.is_waited_for(self._clock(), ends_s):
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
                failed.pop(chosen, None)
                return outcome
            if outcome is None:
                del waiting[chosen]
                continue
            asked[chosen] = asked.get(chosen, 0) + 1
            failed[chosen] = outcome
            again_s = self._noted(chosen, outcome)
            if again_s < ends_s and asked[chosen] < MAX_ATTEMPTS:
                waiting[chosen] = again_s
            else:
                del waiting[chosen]
        return None

    async def _attempt(
        self, provider: Provider, request: ReportRequest, allowed_s: float
    ) -> Report | WriterFailed | None:
        """None where it is left alone."""
        allowed_s = min(allowed_s, provider.timeout_s)
        fair = allowed_s >= _FAIR_SHARE * provider.timeout_s

        def judge(error: BaseException) -> Verdict:
            reason = _reason(error)
            if reason is None or reason in ("rate_limited", "declined") or _is_hopeless(provider, reason):
                return Verdict.NOTHING  # the caller went; or it is known when to come back
            return Verdict.FAILED if fair or reason != "timeout" else Verdict.NOTHING

        try:
            with provider.breaker.guarding(judge):
                async with asyncio.timeout(allowed_s):
                    report = await provider.writer.write(request)
            provider.has_written, provider.rate_limits = True, 0
            return report
        except _LeftAlone:
            report_fell_back(provider.writer.name, "breaker_open")
            return None
        except WriterFailed as error:
            return error
        except TimeoutError:
            failure = WriterFailed("timeout")
            failure.words = f"no answer within {allowed_s:.1f} s"
            return failure
        except Exception as error:  # a provider's package has more errors than it documents
            failure = WriterFailed("unexpected")
            failure.words = type(error).__qualname__
            return failure

    def _noted(self, provider: Provider, failure: WriterFailed) -> float:
        """When the provider may be asked again: for this report, and where it concerns others for them."""
        now_s = self._clock()
        after_s = failure.retry_after_s
        if _is_hopeless(provider, failure.reason):
            provider.not_before_s = now_s + (self._skip_s if after_s is None else after_s)
            return math.inf
        if after_s is None and failure.reason == "rate_limited":
            after_s = min(RATE_LIMIT_S * 2**provider.rate_limits, MAX_RATE_LIMIT_S)
            provider.rate_limits += 1
            provider.not_before_s = now_s + after_s
            return provider.not_before_s if provider.rate_limits == 1 else math.inf
        if after_s is not None:
            provider.rate_limits, provider.not_before_s = 0, now_s + after_s
            return provider.not_before_s
        return now_s + BACKOFF_S if failure.reason in PASSING else math.inf

    def _fell_back(self, provider: Provider, failure: WriterFailed) -> None:
        name, reason = provider.writer.name, failure.reason
        report_fell_back(name, reason)
        left_s = provider.not_before_s - self._clock()
        rest = f"; it is not asked for {left_s:.0f} s" if left_s > 0 else ""
        _LOGGER.warning(
            "writer %s did not write: %s%s%s",
            name,
            failure,
            rest,
            f"; {advice}" if (advice := ADVICE.get(reason)) else "",
        )

    def _nobody_asked(self, reason: SkipReason) -> None:
        for provider in self._providers:
            report_fell_back(provider.writer.name, reason)
        _LOGGER.info("no language model is asked for a report: %s", reason)


def _is_hopeless(provider: Provider, reason: FailureReason) -> bool:
    """What one that has written refuses without a word of why may be this one question."""
    return reason in HOPELESS and not (reason == "refused" and provider.has_written)


def _reason(error: BaseException) -> FailureReason | None:
    """None where the end of the call says nothing of the provider."""
    if isinstance(error, WriterFailed):
        return error.reason
    if isinstance(error, TimeoutError):
        return "timeout"
    return "unexpected" if isinstance(error, Exception) else None
