"""Trying again: rarely, at random moments, and only a share of all requests.

A server that is overloaded answers as one that is gone, and clients who all try again bring it down for good.
So retries are paid for from a budget that requests fill (Finagle's retry budget): in quiet times each failure
may be tried again, and in bad times the load grows by no more than the budget's share.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

from orchestrator.common.deadline import remaining_s

Answer = TypeVar("Answer")

RetryOutcome = Literal["answered", "failed", "no_budget", "no_time"]
"""What became of a retry: made and answered, made and failed, or not made."""


class RetryBudget:
    """A token bucket: each request puts ``share`` of a token in, each retry or hedge takes one out.

    Args:
        share: retries per request in the long run, in [0, 1].
        reserve: most tokens that it holds; it begins full.
    """

    def __init__(self, share: float, reserve: float) -> None:
        self._share = share
        self._reserve = reserve
        self._tokens = reserve

    def note_request(self) -> None:
        """Put in the share of one request."""
        self._tokens = min(self._tokens + self._share, self._reserve)

    def take(self) -> bool:
        """Take a token out, and say whether there was one."""
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait before a retry: a random time up to a limit that doubles ("full jitter").

    Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog 2015: waiting at random spreads the
    retries of many clients that failed in the same moment best.
    """

    first_s: float = 0.05
    longest_s: float = 1.0

    def delay_s(self, retry: int, drawn: float) -> float:
        """Return the seconds before retry number ``retry`` (from 0), for ``drawn`` at random from [0, 1)."""
        return drawn * min(self.first_s * 2.0 ** min(retry, 30), self.longest_s)


@dataclass(frozen=True, slots=True)
class Retrying:
    """Asks again where an error says that this may help.

    Args:
        max_attempts: the first one counted.
        budget: shared with everything else that adds load.
        may_help: which errors are worth another attempt.
        observe: told what became of each retry.
        sleep, draw: waiting, and random numbers from [0, 1).
    """

    max_attempts: int
    budget: RetryBudget
    may_help: Callable[[Exception], bool]
    observe: Callable[[RetryOutcome], None]
    backoff: Backoff = Backoff()
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random

    async def ask(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Return the first answer of ``attempt``, or raise what the last one raised."""
        self.budget.note_request()
        retry = -1
        while True:
            try:
                answer = await attempt()
            except Exception as error:
                if retry >= 0:
                    self.observe("failed")
                retry += 1
                if retry + 1 >= self.max_attempts or not self.may_help(error):
                    raise
                delay_s = self.backoff.delay_s(retry, self.draw())
                left_s = remaining_s()
                if left_s is not None and delay_s >= left_s:
                    self.observe("no_time")
                    raise
                if not self.budget.take():
                    self.observe("no_budget")
                    raise
            else:
                if retry >= 0:
                    self.observe("answered")
                return answer
            await self.sleep(delay_s)
