"""Dynamic batching: requests that arrive together go through the network together.

Requests wait in one bounded queue, in the order of their arrival. While the network works on a batch,
the next one gathers; an idle network waits a short window for company first. Nothing is computed that nobody
waits for any more: a cancelled or expired request leaves the queue, and one that would expire in it does not
enter it. Everything but the network itself runs on the event loop, so there are no locks.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from orchestrator.deadline import remaining_s
from orchestrator.domain import Prediction, ViewBatch
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
    views: ViewBatch
    answer: asyncio.Future[Prediction]
    ends_at_s: float


class Batcher:
    """Gathers requests into batches and hands each its rows of the answer.

    Args:
        predict: the network; called in one worker thread, one batch at a time. Row i of what it returns
            belongs to row i of what it gets.
        max_batch_rows: most rows in one batch.
        max_queue_rows: most rows that wait; a request that finds nobody waiting is always taken.
        window_s: how long an idle network waits for company, in seconds.
        seconds_per_row: a first estimate, for the advice on when to come back.
        observer: told of every batch and of the length of the queue.
    """

    def __init__(
        self,
        predict: Callable[[ViewBatch], Prediction],
        *,
        max_batch_rows: int,
        max_queue_rows: int,
        window_s: float,
        seconds_per_row: float,
        observer: BatchObserver | None = None,
    ) -> None:
        self._predict = predict
        self._max_batch_rows = max_batch_rows
        self._max_queue_rows = max_queue_rows
        self._window_s = window_s
        self._seconds_per_row = seconds_per_row
        self._observer = observer
        self._queue: deque[_Waiting] = deque()
        self._queued_rows = 0
        self._running_rows = 0
        self._closing = False
        self._awake = asyncio.Event()  # something waits, or the end has come
        self._full = asyncio.Event()  # a whole batch waits, or the end has come
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._task = asyncio.create_task(self._serve(), name="batching")

    async def submit(self, views: ViewBatch) -> Prediction:
        """Return the network's answer for ``views``; cancelling a waiting request takes it out of the queue.

        Raises:
            Overloaded: too many rows wait, or so many that the answer would come after the deadline.
            ModelServerTimeout: it did not come before the deadline (:mod:`orchestrator.deadline`).
            ModelServerUnavailable: :meth:`close` was called.
            ModelServerError: the network failed on the batch with these rows.
        """
        if self._closing:
            raise ModelServerUnavailable("the model server is shutting down")
        left_s = remaining_s()
        if left_s is not None and left_s <= 0:
            raise ModelServerTimeout("the deadline had passed before the network was asked")
        self._refuse_what_cannot_be_answered(len(views), math.inf if left_s is None else left_s)
        ends_at_s = math.inf if left_s is None else time.monotonic() + left_s
        waiting = _Waiting(views, asyncio.get_running_loop().create_future(), ends_at_s)
        self._queue.append(waiting)
        self._queue_changed(len(views))
        try:
            async with asyncio.timeout(left_s):
                return await waiting.answer
        except TimeoutError as error:
            raise ModelServerTimeout("the network did not answer before the deadline") from error
        finally:
            if waiting.answer.cancelled():
                with suppress(ValueError):  # it may be with the network already
                    self._queue.remove(waiting)
                    self._queue_changed(-len(views))

    def _refuse_what_cannot_be_answered(self, rows: int, left_s: float) -> None:
        if self._queue and self._queued_rows + rows > self._max_queue_rows:
            why = f"{self._queued_rows} of {self._max_queue_rows} rows wait for the network"
        elif (
            # Never where the network is idle: only its answers can mend a wrong estimate.
            (ahead := self._queued_rows + self._running_rows)
            and (expected_s := (ahead + rows) * self._seconds_per_row) > left_s
        ):
            why = f"the network would answer in {expected_s:.1f} s, after the deadline"
        else:
            return
        retry_after_s = max(self._queued_rows * self._seconds_per_row, _SHORTEST_RETRY_S)
        raise Overloaded(why, retry_after_s)

    async def close(self) -> None:
        """Refuse new requests, answer those that wait, then end the worker thread."""
        self._closing = True
        self._awake.set()
        self._full.set()
        await self._task
        self._executor.shutdown(wait=False)

    def _queue_changed(self, rows: int) -> None:
        self._queued_rows += rows
        if self._queue:
            self._awake.set()
        elif not self._closing:
            self._awake.clear()
        if self._queued_rows >= self._max_batch_rows:
            self._full.set()
        elif not self._closing:
            self._full.clear()
        if self._observer:
            self._observer.queue_depth(self._queued_rows)

    async def _serve(self) -> None:
        while True:
            await self._awake.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._window_s):
                    await self._full.wait()
            # Batches follow one another without a pause while somebody waits: the time that the network
            # takes is the window of the next batch.
            while batch := self._take():
                await self._execute(batch)
            if self._closing:
                return

    def _take(self) -> list[_Waiting]:
        """Take the first requests that fit into one batch, in their order; drop those that have expired."""
        batch: list[_Waiting] = []
        rows = expired_rows = 0
        now_s = time.monotonic()
        while self._queue and (not batch or rows + len(self._queue[0].views) <= self._max_batch_rows):
            waiting = self._queue.popleft()
            if waiting.ends_at_s <= now_s:  # who asked for it is about to learn so
                expired_rows += len(waiting.views)
                continue
            batch.append(waiting)
            rows += len(waiting.views)
        if batch or expired_rows:
            self._queue_changed(-rows - expired_rows)
        return batch

    async def _execute(self, batch: list[_Waiting]) -> None:
        views = _joined([waiting.views for waiting in batch])
        self._running_rows = len(views)
        started_s = time.perf_counter()
        try:
            loop = asyncio.get_running_loop()
            prediction = await loop.run_in_executor(self._executor, self._predict, views)
        except Exception as error:
            _LOGGER.exception("the network failed on a batch of %d rows", len(views))
            for waiting in batch:
                if not waiting.answer.done():
                    failure = ModelServerError("the network failed on this request")
                    failure.__cause__ = error
                    waiting.answer.set_exception(failure)
            return
        finally:
            self._running_rows = 0
        seconds = time.perf_counter() - started_s
        self._seconds_per_row += _SMOOTHING * (seconds / len(views) - self._seconds_per_row)
        if self._observer:
            self._observer.batch_executed(len(views), seconds)
        first = 0
        for waiting in batch:
            last = first + len(waiting.views)
            if not waiting.answer.done():
                waiting.answer.set_result(_rows(prediction, first, last))
            first = last


def _joined(requests: list[ViewBatch]) -> ViewBatch:
    if len(requests) == 1:
        return requests[0]
    return ViewBatch(
        np.concatenate([views.images for views in requests]),
        np.concatenate([views.gain for views in requests]),
    )


def _rows(prediction: Prediction, first: int, last: int) -> Prediction:
    cams = prediction.cams
    return Prediction(
        prediction.main_out[first:last],
        prediction.aux_out[first:last],
        prediction.logits[first:last],
        None if cams is None else cams[first:last],
        prediction.model,
    )
