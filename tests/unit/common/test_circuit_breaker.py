import asyncio
from contextlib import suppress

import pytest

from orchestrator.common.circuit_breaker import BreakerState, CircuitBreaker, Verdict


class LeftAlone(Exception):
    pass


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Guarded:
    """A breaker, its clock and what it told."""

    def __init__(self, min_calls: int = 4) -> None:
        self.clock = Clock()
        self.states: list[BreakerState] = []
        self.breaker = CircuitBreaker(
            LeftAlone,
            min_calls=min_calls,
            open_s=2.0,
            memory_s=30.0,
            clock=self.clock,
            observe=self.states.append,
        )

    def judge(self, error: BaseException) -> Verdict:
        if isinstance(error, ConnectionError):
            return Verdict.FAILED
        return Verdict.NOTHING if isinstance(error, asyncio.CancelledError) else Verdict.ALIVE

    def call(self, error: BaseException | None = None) -> None:
        with suppress(ConnectionError, asyncio.CancelledError, ValueError), self.breaker.guarding(self.judge):
            if error:
                raise error

    def fail(self, times: int) -> None:
        for _ in range(times):
            self.call(ConnectionError())


def test_it_begins_closed_and_says_so():
    guarded = Guarded()
    assert guarded.breaker.state is BreakerState.CLOSED
    assert guarded.states == [BreakerState.CLOSED]


def test_few_failures_do_not_open_it():
    guarded = Guarded()
    guarded.fail(3)
    assert guarded.breaker.state is BreakerState.CLOSED


def test_half_of_the_latest_calls_opens_it_and_calls_are_refused():
    guarded = Guarded()
    for _ in range(2):
        guarded.call()
    guarded.fail(2)
    assert guarded.states == [BreakerState.CLOSED, BreakerState.OPEN]
    with pytest.raises(LeftAlone), guarded.breaker.guarding(guarded.judge):
        pytest.fail("the call was made")


def test_one_of_three_servers_that_fails_does_not_open_it():
    guarded = Guarded()
    for _ in range(50):
        guarded.call()
        guarded.call()
        guarded.fail(1)
    assert guarded.breaker.state is BreakerState.CLOSED


def test_the_error_of_a_call_reaches_the_caller():
    guarded = Guarded()
    with pytest.raises(ConnectionError, match="gone"), guarded.breaker.guarding(guarded.judge):
        raise ConnectionError("gone")


@pytest.mark.parametrize("error", [ValueError(), asyncio.CancelledError()], ids=["answered", "gave up"])
def test_errors_that_are_no_failures_do_not_open_it(error: BaseException):
    guarded = Guarded()
    for _ in range(20):
        guarded.call(error)
    assert guarded.breaker.state is BreakerState.CLOSED


def test_old_failures_are_forgotten():
    guarded = Guarded()
    guarded.fail(3)
    guarded.clock.now_s += 31
    guarded.fail(3)
    assert guarded.breaker.state is BreakerState.CLOSED
    guarded.fail(1)
    assert guarded.breaker.state is BreakerState.OPEN


def test_after_a_while_one_call_goes_through_and_its_success_closes_it():
    guarded = Guarded()
    guarded.fail(4)
    guarded.clock.now_s += 2.0
    assert guarded.breaker.state is BreakerState.HALF_OPEN
    with guarded.breaker.guarding(guarded.judge):
        second = guarded.breaker.guarding(guarded.judge)
        with pytest.raises(LeftAlone):
            second.__enter__()
    assert guarded.breaker.state is BreakerState.CLOSED
    assert guarded.states == [
        BreakerState.CLOSED,
        BreakerState.OPEN,
        BreakerState.HALF_OPEN,
        BreakerState.CLOSED,
    ]
    guarded.fail(3)  # what came before is forgotten
    assert guarded.breaker.state is BreakerState.CLOSED


def test_a_failure_of_that_call_opens_it_for_as_long_again():
    guarded = Guarded()
    guarded.fail(4)
    guarded.clock.now_s += 2.0
    guarded.fail(1)
    assert guarded.breaker.state is BreakerState.OPEN
    guarded.clock.now_s += 1.9
    assert guarded.breaker.state is BreakerState.OPEN
    guarded.clock.now_s += 0.1
    assert guarded.breaker.state is BreakerState.HALF_OPEN


def test_a_caller_who_gives_up_leaves_the_probe_to_the_next():
    guarded = Guarded()
    guarded.fail(4)
    guarded.clock.now_s += 2.0
    guarded.call(asyncio.CancelledError())
    assert guarded.breaker.state is BreakerState.HALF_OPEN
    guarded.call()
    assert guarded.breaker.state is BreakerState.CLOSED


def test_calls_that_began_before_it_opened_do_not_decide_later():
    guarded = Guarded()
    late = guarded.breaker.guarding(guarded.judge)
    late.__enter__()
    guarded.fail(4)
    guarded.clock.now_s += 2.0
    assert guarded.breaker.state is BreakerState.HALF_OPEN
    error = ConnectionError()
    with suppress(ConnectionError):
        late.__exit__(ConnectionError, error, None)
    assert guarded.breaker.state is BreakerState.HALF_OPEN


@pytest.mark.parametrize("min_calls", [0, 21])
def test_it_cannot_judge_by_no_call_or_by_more_than_it_remembers(min_calls: int):
    with pytest.raises(ValueError, match=f"expected 1 to 20, received {min_calls}"):
        CircuitBreaker(LeftAlone, min_calls=min_calls)
