"""A circuit breaker: what fails all the time is left alone for a while.

It stands before the model server and before each provider of reports. Whoever waits for a dead server holds
a place that another could use, and learns after their whole deadline what was known. Nygard, "Release It!",
2nd ed., 2018, chapter 5.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum, IntEnum, auto
from typing import Final


class BreakerState(IntEnum):
    """The value is that of the metric."""

    CLOSED = 0
    """Calls go through."""
    HALF_OPEN = 1
    """One call goes through; its end decides."""
    OPEN = 2
    """No call goes through."""


class Verdict(Enum):
    """What the end of a call says about the server."""

    ALIVE = auto()
    FAILED = auto()
    NOTHING = auto()
    """For example that the caller went away."""


WINDOW: Final = 20
"""Calls that are looked back on."""


class CircuitBreaker:
    """Opens where half of the latest calls failed, and lets one call through after a while to see.

    Used on one event loop, so that it needs no lock.

    Args:
        refusal: makes the error that a call ends in which may not be made.
        min_calls: the least number of ended calls to judge by; at most ``WINDOW``.
        failure_share: opens where at least this share of the latest calls failed.
        memory_s: how long an ended call counts, in seconds.
        open_s: how long it stays open, in seconds.
        clock: seconds on a clock that only runs forward.
        observe: told of each state that it takes.
    """

    def __init__(
        self,
        refusal: Callable[[], Exception],
        *,
        min_calls: int = 10,
        failure_share: float = 0.5,
        memory_s: float = 30.0,
        open_s: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
        observe: Callable[[BreakerState], None] = lambda _: None,
    ) -> None:
        if not 1 <= min_calls <= WINDOW:
            raise ValueError(f"min_calls: expected 1 to {WINDOW}, received {min_calls}")
        self._refusal = refusal
        self._min_calls = min_calls
        self._failure_share = failure_share
        self._memory_s = memory_s
        self._open_s = open_s
        self._clock = clock
        self._observe = observe
        self._state = BreakerState.CLOSED
        self._opened_at_s = 0.0
        self._probing = False
        self._period = 0  # how often the state changed; a call that began in an earlier one says nothing
        self._ended: deque[tuple[float, bool]] = deque(maxlen=WINDOW)  # when, and whether it failed
        observe(self._state)

    @property
    def state(self) -> BreakerState:
        """The state now; the time alone half-opens it."""
        if self._state is BreakerState.OPEN and self._clock() - self._opened_at_s >= self._open_s:
            self._enter(BreakerState.HALF_OPEN)
        return self._state

    @contextmanager
    def guarding(self, judge: Callable[[BaseException], Verdict]) -> Iterator[None]:
        """Frame one call; ``judge`` says what an exception that ends it says about the server.

        Raises:
            Exception: what ``refusal`` makes, where the call may not be made.
        """
        if self.state is BreakerState.OPEN or (self._state is BreakerState.HALF_OPEN and self._probing):
            raise self._refusal()
        period = self._period
        self._probing = self._state is BreakerState.HALF_OPEN
        try:
            yield
        except BaseException as error:
            self._end(period, judge(error))
            raise
        self._end(period, Verdict.ALIVE)

    def _end(self, period: int, verdict: Verdict) -> None:
        if period != self._period:
            return
        self._probing = False
        if verdict is Verdict.NOTHING:
            return
        failed = verdict is Verdict.FAILED
        if self._state is BreakerState.HALF_OPEN:
            self._enter(BreakerState.OPEN if failed else BreakerState.CLOSED)
            return
        now_s = self._clock()
        self._ended.append((now_s, failed))
        while self._ended[0][0] < now_s - self._memory_s:
            self._ended.popleft()
        failures = sum(failed for _, failed in self._ended)
        if len(self._ended) >= self._min_calls and failures >= self._failure_share * len(self._ended):
            self._enter(BreakerState.OPEN)

    def _enter(self, state: BreakerState) -> None:
        self._state = state
        self._period += 1
        self._probing = False
        self._ended.clear()
        if state is BreakerState.OPEN:
            self._opened_at_s = self._clock()
        self._observe(state)
