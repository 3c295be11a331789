"""``stage()``: measuring frames a step in one line and never enters it.

Apart from :mod:`orchestrator.observability.metrics`, which listens, since a process that only works on pixels
counts nothing itself and need not load what counts.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Final, NamedTuple

from orchestrator.observability import tracing


class StageTime(NamedTuple):
    """A stage that ended: when it began (:func:`time.time_ns`), how long it took in seconds, and the type of
    the error that it ended with, if any."""

    name: str
    began_ns: int
    seconds: float
    error_type: str | None


_listeners: Final[list[Callable[[StageTime], None]]] = []
_recorded: ContextVar[list[StageTime] | None] = ContextVar("recorded stages", default=None)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Time a step of an analysis, whether it succeeds or not; in a trace it is a span."""
    began_ns, started = time.time_ns(), time.perf_counter()
    error_type = None
    try:
        with tracing.span(name):
            yield
    except BaseException as error:
        error_type = type(error).__qualname__
        raise
    finally:
        _tell(StageTime(name, began_ns, time.perf_counter() - started, error_type))


def stage_ended(took: StageTime) -> None:
    """Take note of a stage that ran in another process, as :func:`stage` does here."""
    tracing.past_span(took.name, took.began_ns, took.seconds, took.error_type)
    _tell(took)


@contextmanager
def recorded_stages() -> Iterator[list[StageTime]]:
    """Collect the stages that run within; also in worker threads that were given a copy of the context, as
    ``asyncio.to_thread`` does."""
    stages: list[StageTime] = []
    token = _recorded.set(stages)
    try:
        yield stages
    finally:
        _recorded.reset(token)


def milliseconds(stages: Sequence[StageTime]) -> dict[str, float]:
    """Time by the name of the stage; of those that ran several times, the sum."""
    timings: dict[str, float] = {}
    for took in stages:
        timings[took.name] = timings.get(took.name, 0.0) + took.seconds * 1000
    return timings


def listen(listener: Callable[[StageTime], None]) -> None:
    """From now on ``listener`` is told of every stage that ends in this process."""
    _listeners.append(listener)


def _tell(took: StageTime) -> None:
    for listener in _listeners:
        listener(took)
    if (stages := _recorded.get()) is not None:
        stages.append(took)
