"""The deadline of a request: set once at the edge, seen by everything that works for it.

A context variable, so that tasks and worker threads that a request starts (``asyncio.create_task``,
``asyncio.to_thread``) have its deadline too, and nothing has to hand it down.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

Clock = Callable[[], float]
"""Seconds on a clock that only runs forward."""


@dataclass(frozen=True, slots=True)
class _Deadline:
    ends_s: float
    clock: Clock

    def remaining_s(self) -> float:
        return self.ends_s - self.clock()


_current: ContextVar[_Deadline | None] = ContextVar("deadline", default=None)


@contextmanager
def deadline(seconds: float, *, clock: Clock = time.monotonic) -> Iterator[None]:
    """Let what runs within end at most ``seconds`` from now; a deadline around it that ends earlier stays.

    Nothing is interrupted: whoever waits asks :func:`remaining_s` how long they may.
    """
    outer = _current.get()
    left = seconds if outer is None else min(seconds, outer.remaining_s())
    token = _current.set(_Deadline(clock() + left, clock))
    try:
        yield
    finally:
        _current.reset(token)


def remaining_s() -> float | None:
    """Return the seconds until the deadline, zero or less where it is over; None where there is none."""
    current = _current.get()
    return None if current is None else current.remaining_s()
