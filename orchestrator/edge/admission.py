"""Which requests are begun: so many at once, some that wait for a short time, and no more.

Work that is begun is work that is finished in time. A queue without a bound does the opposite: everybody in
it waits until nobody wants the answer any more, and the service works at full power for nothing. So a request
that cannot be answered in time is refused at once, which costs next to nothing, and told when to come back.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Literal

from orchestrator.common.deadline import remaining_s
from orchestrator.errors import Overloaded, ProblemType, kind_of
from orchestrator.observability.metrics import ADMISSION_REFUSED, ADMISSION_WAITING, IN_FLIGHT, request_ended

Reason = Literal["queue_full", "too_late", "waited_too_long"]

_SMOOTHING: Final = 0.1
"""Weight of the newest analysis in the running mean of how long one takes."""

BUSY_RETRY_S: Final = 5.0
"""After which to come back where there was no place for an order or a stream."""

_FIRST_GUESS_S: Final = 0.5
"""How long an analysis takes, before one has been seen."""

PLACE_PIXELS: Final = 2**21
"""Pixels of an image for which it takes a place. Decoded, they are three bytes each, here and in the process
that works on them, which holds several such arrays; an ordinary photograph of a cell has a tenth of it."""


class Admission:
    """Lets in at most ``max_in_flight`` analyses at a time; used on one event loop, so that it needs no lock.

    An image of many pixels takes as many places as it has times :data:`PLACE_PIXELS`, but never more than
    there are: so many of them are under way as memory and processors bear, and the next ones wait their turn
    or are refused at once.

    Args:
        max_in_flight: places. Each may hold an upload and a decoded image, so that this bounds memory, and
            with the speed of the model server the time that an analysis takes.
        max_waiting: requests that wait for a place, in the order of their arrival.
        max_wait_s: how long one may wait.
    """

    def __init__(self, max_in_flight: int = 32, max_waiting: int = 32, max_wait_s: float = 2.0) -> None:
        if max_in_flight < 1:
            raise ValueError(f"max_in_flight: expected at least 1, received {max_in_flight}")
        self._max_in_flight = max_in_flight
        self._max_waiting = max_waiting
        self._max_wait_s = max_wait_s
        self._taken = 0
        self._requests = 0
        self._waiting: deque[_Waiting] = deque()
        self._seconds_each = _FIRST_GUESS_S
        self._seconds_a_place = _FIRST_GUESS_S / 4  # of a large image, whose places wait for one processor

    @property
    def in_flight(self) -> int:
        """Analyses under way."""
        return self._requests

    @property
    def places(self) -> int:
        """Analyses that may be under way."""
        return self._max_in_flight

    @asynccontextmanager
    async def admitted(self, pixels: int = 0) -> AsyncIterator[None]:
        """Wait for the places of an image of so many pixels, and leave them at the end.

        Raises:
            Overloaded: too many wait, or the place would come, or did come, too late.
        """
        places = min(max(1, math.ceil(pixels / PLACE_PIXELS)), self._max_in_flight)
        if self._waiting or self._taken + places > self._max_in_flight:
            await self._wait(places)  # those who left have passed their places on
        else:
            self._taken += places
        self._requests += 1
        IN_FLIGHT.inc()
        begun_s = time.monotonic()
        complete = False
        try:
            yield
            complete = True
        finally:
            more_s = time.monotonic() - begun_s - self._own_s(places)
            if complete or more_s > 0:  # a file that is refused early says nothing of how long a cell takes
                if places == 1:
                    self._seconds_each += _SMOOTHING * more_s
                else:
                    self._seconds_a_place += _SMOOTHING * more_s / places
            IN_FLIGHT.dec()
            self._requests -= 1
            self._leave(places)

    def refuse_if_full(self) -> None:
        """Refuse a request that would not be let in now, before anything of it is read.

        Raises:
            Overloaded: too many wait, or the place would come too late.
        """
        if self._taken >= self._max_in_flight:
            self._refuse_in_vain(1)

    def _refuse_in_vain(self, places: int) -> None:
        """Refuse who would wait in vain."""
        expected_s = self._expected_wait_s(places)
        if len(self._waiting) >= self._max_waiting:
            raise self._refusal("queue_full", f"{len(self._waiting)} more wait")
        left_s = remaining_s()
        # A place that comes when its holder has no time left to use it is of no use to anybody.
        if expected_s > self._max_wait_s or (
            left_s is not None and expected_s + self._own_s(places) > left_s
        ):
            raise self._refusal("too_late", f"a place is expected in {expected_s:.1f} s, which is too late")

    async def _wait(self, places: int) -> None:
        self._refuse_in_vain(places)
        left_s = remaining_s()
        longest_s = self._max_wait_s if left_s is None else min(self._max_wait_s, left_s)
        mine = _Waiting(places)
        self._waiting.append(mine)
        ADMISSION_WAITING.set(len(self._waiting))
        try:
            async with asyncio.timeout(longest_s):
                await mine.turn
        except BaseException as error:
            if mine.turn.done() and not mine.turn.cancelled():
                self._leave(places)  # it came in the very moment in which its holder gave up
            else:
                with suppress(ValueError):  # the one who left before has passed it over already
                    self._waiting.remove(mine)
                self._let_in()  # behind who wanted many, one who wants few may have waited
            if isinstance(error, TimeoutError):
                raise self._refusal("waited_too_long", f"none ended within {longest_s:.1f} s") from error
            raise

    def _leave(self, places: int) -> None:
        self._taken -= places
        self._let_in()

    def _let_in(self) -> None:
        """Give those who have waited longest the places that are free."""
        while self._waiting:
            first = self._waiting[0]
            if not first.turn.done():  # whoever waits for it has not given up
                if self._taken + first.places > self._max_in_flight:
                    break
                self._taken += first.places
                first.turn.set_result(None)
            self._waiting.popleft()
        ADMISSION_WAITING.set(len(self._waiting))

    def _own_s(self, places: int) -> float:
        """How long an analysis takes that has so many places."""
        return self._seconds_each if places == 1 else places * self._seconds_a_place

    def _expected_wait_s(self, places: int = 0) -> float:
        """Until one who comes now and wants so many places has them: with all places taken one is left, on
        average, each time that an analysis takes divided by the number of places."""
        ahead = [*(one.places for one in self._waiting), *([places] if places else [])]
        return sum(number * self._own_s(number) for number in ahead) / self._max_in_flight

    def _refusal(self, reason: Reason, why: str) -> Overloaded:
        ADMISSION_REFUSED.labels(reason).inc()
        return Overloaded(
            f"{self._requests} analyses are under way and {why}; no more are taken.",
            # By then all that are here now have gone, and there is room for as many again.
            retry_after_s=self._expected_wait_s() + self._seconds_each,
        )


@dataclass(eq=False)
class _Waiting:
    """One who waits for so many places."""

    places: int
    turn: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Places:
    """So many at a time, and no more.

    Args:
        most: how many.
        what: they are, and what happens to them; for who is refused.
    """

    def __init__(self, most: int, what: str) -> None:
        self._most = most
        self._what = what
        self._taken = 0

    @contextmanager
    def taken(self) -> Iterator[None]:
        """With a place.

        Raises:
            Overloaded: there is none left.
        """
        if self._taken >= self._most:
            raise Overloaded(f"{self._taken} {self._what}; no more are taken.", BUSY_RETRY_S)
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1


@contextmanager
def counted(endpoint: str, kind_of: Callable[[Exception], ProblemType] = kind_of) -> Iterator[None]:
    """Count one request by its outcome: ``ok``, or the name of the kind of error that it ends in."""
    outcome = "cancelled"
    begun_s = time.monotonic()
    try:
        yield
        outcome = "ok"
    except Exception as error:
        outcome = kind_of(error).name
        raise
    finally:
        request_ended(endpoint, outcome, time.monotonic() - begun_s)
