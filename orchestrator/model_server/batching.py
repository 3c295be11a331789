"""Dynamic batching: rows that wait at the same time go through the network together.

The rows of all requests wait in one bounded queue, in the order of their arrival. The network has lanes that
work side by side; a free lane takes its share of what waits at once, which may be a part of a request or the
parts of several, so that a lone request is spread over all lanes and many small ones fill one. No lane waits
for another. Nothing is computed that nobody waits for any more: a cancelled or expired request leaves the
queue, and one that would expire in it does not enter it. Everything but the network itself runs on the event
loop, so there are no locks.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol

from orchestrator.common.deadline import remaining_s
from orchestrator.domain import Prediction, Question, joined
from orchestrator.errors import ModelServerError, ModelServerTimeout, ModelServerUnavailable, Overloaded

_LOGGER = logging.getLogger(__name__)

_SMOOTHING: Final = 0.2
"""Weight of the newest batch in the running mean of seconds per row."""

_SHORTEST_RETRY_S: Final = 0.1


class BatchObserver(Protocol):
    """What watches the batching, for metrics. Called on the event loop; must be quick."""

    def batch_executed(self, rows: int, seconds: float) -> None:
        """Note that a batch of ``rows`` rows took the network ``seconds`` seconds."""

    def queue_depth(self, rows: int) -> None:
        """Note that ``rows`` rows wait."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A request: its question, of whose rows the first ``taken`` have left the queue; and the answers that
    have come, by the first row of each."""

    question: Question
    answer: asyncio.Future[Prediction]
    ends_at_s: float
    taken: int = 0
    parts: dict[int, Prediction] = field(default_factory=dict)

    @property
    def rows_left(self) -> int:
        return len(self.question) - self.taken

    def came(self, first: int, prediction: Prediction) -> None:
        self.parts[first] = prediction
        rows = sum(len(part.main_out) for part in self.parts.values())
        if rows == len(self.question) and not self.answer.done():
            self.answer.set_result(joined(*(self.parts[row] for row in sorted(self.parts))))

    def failed(self, error: Exception) -> None:
        if not self.answer.done():
            failure = ModelServerError("the network failed on this request")
            failure.__cause__ = error
            self.answer.set_exception(failure)


class _Part(NamedTuple):
    """Some rows of a request, on their way through the network."""

    of: _Waiting
    first: int
    last: int

    @property
    def question(self) -> Question:
        return self.of.question.part(self.first, self.last)


class Batcher:
    """Gathers rows of requests into batches and gives each request the answers to its own.

    Args:
        predict: the network; called in worker threads, in ``lanes`` of them at once, with parts of questions.
            What it returns are the answers for their rows, one after the other.
        lanes: how many batches the network works on at once.
        max_batch_rows: most rows in one batch.
        max_queue_rows: most rows that wait; a request that finds nobody waiting is always taken.
        seconds_per_row: a first estimate of a lane's, for the advice on when to come back.
        observer: told of every batch and of the length of the queue.
    """

    def __init__(
        self,
        predict: Callable[[Sequence[Question]], Prediction],
        *,
        lanes: int,
        max_batch_rows: int,
        max_queue_rows: int,
        seconds_per_row: float,
        observer: BatchObserver | None = None,
    ) -> None:
        self._predict = predict
        self._max_batch_rows = max_batch_rows
        self._max_queue_rows = max_queue_rows
        self._seconds_per_row = seconds_per_row
        self._observer = observer
        self._queue: deque[_Waiting] = deque()
        self._queued_rows = 0
        self._running_rows = 0
        self._busy_lanes = 0
        self._closing = False
        self._awake = asyncio.Event()  # something waits, or the end has come
        self._executor = ThreadPoolExecutor(lanes, thread_name_prefix="network")
        self._lanes = [asyncio.create_task(self._serve(), name=f"network {i}") for i in range(lanes)]

    async def submit(self, question: Question) -> Prediction:
        """Return the network's answer for ``question``; cancelling a waiting request takes it out of the
        queue.

        Raises:
            Overloaded: too many rows wait, or so many that the answer would come after the deadline.
            ModelServerTimeout: it did not come before the deadline (:mod:`orchestrator.common.deadline`).
            ModelServerUnavailable: :meth:`close` was called.
            ModelServerError: the network failed on the batch with these rows.
        """
        if self._closing:
            raise ModelServerUnavailable("the model server is shutting down")
        left_s = remaining_s()
        if left_s is not None and left_s <= 0:
            raise ModelServerTimeout("the deadline had passed before the network was asked")
        self._refuse_what_cannot_be_answered(len(question), math.inf if left_s is None else left_s)
        ends_at_s = math.inf if left_s is None else time.monotonic() + left_s
        waiting = _Waiting(question, asyncio.get_running_loop().create_future(), ends_at_s)
        self._queue.append(waiting)
        self._queue_changed(len(question))
        try:
            async with asyncio.timeout(left_s):
                return await waiting.answer
        except TimeoutError as error:
            raise ModelServerTimeout("the network did not answer before the deadline") from error
        finally:
            if waiting.answer.cancelled():
                self._forget(waiting)

    def _refuse_what_cannot_be_answered(self, rows: int, left_s: float) -> None:
        if self._queue and self._queued_rows + rows > self._max_queue_rows:
            why = f"{self._queued_rows} of {self._max_queue_rows} rows wait for the network"
        elif (
            # Never where the network is idle: only its answers can mend a wrong estimate.
            (ahead := self._queued_rows + self._running_rows)
            and (expected_s := self._seconds_for(ahead + rows)) > left_s
        ):
            why = f"the network would answer in {expected_s:.1f} s, after the deadline"
        else:
            return
        raise Overloaded(why, max(self._seconds_for(self._queued_rows), _SHORTEST_RETRY_S))

    def _seconds_for(self, rows: int) -> float:
        return max(rows / len(self._lanes), 1) * self._seconds_per_row

    async def close(self) -> None:
        """Refuse new requests, answer those that wait, then end the worker threads."""
        self._closing = True
        self._awake.set()
        await asyncio.gather(*self._lanes)
        self._executor.shutdown(wait=False)

    def _queue_changed(self, rows: int) -> None:
        self._queued_rows += rows
        if self._queue:
            self._awake.set()
        elif not self._closing:
            self._awake.clear()
        if self._observer:
            self._observer.queue_depth(self._queued_rows)

    def _forget(self, waiting: _Waiting) -> None:
        """Take what is left of a request out of the queue; the network may have some or all of it already."""
        with suppress(ValueError):
            self._queue.remove(waiting)
            self._queue_changed(-waiting.rows_left)

    async def _serve(self) -> None:
        """One lane."""
        while True:
            await self._awake.wait()
            while batch := self._take():
                await self._execute(batch)
            if self._closing:
                return

    def _take(self) -> list[_Part]:
        """A lane's share of the rows that wait, in their order; drop the requests that have expired."""
        free_lanes = len(self._lanes) - self._busy_lanes  # this one among them
        share = min(math.ceil(self._queued_rows / free_lanes), self._max_batch_rows)
        batch: list[_Part] = []
        rows = expired_rows = 0
        now_s = time.monotonic()
        while self._queue and rows < share:
            waiting = self._queue[0]
            if waiting.ends_at_s <= now_s:  # who asked for it is about to learn so
                expired_rows += waiting.rows_left
                self._queue.popleft()
                continue
            first = waiting.taken
            waiting.taken = min(first + share - rows, len(waiting.question))
            if not waiting.rows_left:
                self._queue.popleft()
            batch.append(_Part(waiting, first, waiting.taken))
            rows += waiting.taken - first
        if batch or expired_rows:
            self._queue_changed(-rows - expired_rows)
        return batch

    async def _execute(self, batch: list[_Part]) -> None:
        questions = [part.question for part in batch]
        rows = sum(map(len, questions))
        self._running_rows += rows
        self._busy_lanes += 1
        started_s = time.perf_counter()
        try:
            loop = asyncio.get_running_loop()
            prediction = await loop.run_in_executor(self._executor, self._predict, questions)
        except Exception as error:
            _LOGGER.exception("the network failed on a batch of %d rows", rows)
            for part in batch:
                part.of.failed(error)
                self._forget(part.of)
            return
        finally:
            self._running_rows -= rows
            self._busy_lanes -= 1
        seconds = time.perf_counter() - started_s
        self._seconds_per_row += _SMOOTHING * (seconds / rows - self._seconds_per_row)
        if self._observer:
            self._observer.batch_executed(rows, seconds)
        row = 0
        for waiting, first, last in batch:
            waiting.came(first, prediction.part(row, row + last - first))
            row += last - first
