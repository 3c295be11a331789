"""Dynamic batching as TensorFlow Serving does it, for the stand-in.

Each key (there: the exact input and output tensors, so that each signature is one) has a queue of batches; a
few threads take batches from all queues in turn. A queue that may hold no more batches refuses.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from orchestrator.model_contract import ALLOWED_BATCH_SIZES, MAX_BATCH_SIZE

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class BatchingParameters:
    """The fields of the server's message of this name; the defaults are those of batching.config."""

    max_batch_size: int = MAX_BATCH_SIZE
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 2
    num_batch_threads: int = 2
    allowed_batch_sizes: tuple[int, ...] = ALLOWED_BATCH_SIZES


class QueueFull(Exception):
    pass


class TaskTooLarge(Exception):
    pass


@dataclass
class _Task:
    inputs: Arrays
    rows: int
    ends_at_s: float
    answer: Future[Arrays]
    enqueued_s: float = field(default_factory=time.monotonic)


@dataclass
class _Batch:
    tasks: list[_Task] = field(default_factory=list)
    opened_s: float = field(default_factory=time.monotonic)

    @property
    def rows(self) -> int:
        return sum(task.rows for task in self.tasks)


class BatchScheduler:
    """``run(key, inputs)`` answers for one batch; ``observe(name, value, size)`` is told what is measured."""

    def __init__(
        self,
        parameters: BatchingParameters,
        run: Callable[[Hashable, Arrays], Arrays],
        observe: Callable[[str, float, int], None],
    ) -> None:
        assert parameters.allowed_batch_sizes[-1] == parameters.max_batch_size
        self._parameters = parameters
        self._run = run
        self._observe = observe
        self._queues: dict[Hashable, deque[_Batch]] = {}
        self._changed = threading.Condition()
        self._closing = False
        self._threads = [
            threading.Thread(target=self._serve, name=f"batch_threads_{index}", daemon=True)
            for index in range(parameters.num_batch_threads)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, key: Hashable, inputs: Arrays, ends_at_s: float) -> Future[Arrays]:
        parameters = self._parameters
        task = _Task(inputs, len(next(iter(inputs.values()))), ends_at_s, Future())
        if task.rows > parameters.max_batch_size:
            raise TaskTooLarge(
                f"Task size {task.rows} is larger than maximum input batch size {parameters.max_batch_size}"
            )
        with self._changed:
            batches = self._queues.setdefault(key, deque())
            if not batches or batches[-1].rows + task.rows > parameters.max_batch_size:
                if len(batches) >= parameters.max_enqueued_batches:
                    raise QueueFull(
                        "The batch scheduling queue to which this task was submitted is full; currently "
                        f"{len(batches)} batches enqueued and max_enqueued_batches is "
                        f"{parameters.max_enqueued_batches}"
                    )
                batches.append(_Batch())
            batches[-1].tasks.append(task)
            self._changed.notify()
        return task.answer

    def close(self) -> None:
        """Answer what was accepted, then end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _serve(self) -> None:
        while taken := self._take():
            self._execute(*taken)

    def _take(self) -> tuple[Hashable, _Batch] | None:
        timeout_s = self._parameters.batch_timeout_micros / 1e6
        with self._changed:
            while True:
                now_s = time.monotonic()
                waits_s = []
                for key, batches in list(self._queues.items()):
                    if not batches:
                        continue
                    wait_s = batches[0].opened_s + timeout_s - now_s
                    if len(batches) > 1 or wait_s <= 0 or self._closing:
                        # To the end of the row: the queues are served in turn.
                        self._queues[key] = self._queues.pop(key)
                        return key, batches.popleft()
                    waits_s.append(wait_s)
                if self._closing:
                    return None
                self._changed.wait(min(waits_s, default=None))

    def _execute(self, key: Hashable, batch: _Batch) -> None:
        now_s = time.monotonic()
        if all(task.ends_at_s <= now_s for task in batch.tasks):
            for task in batch.tasks:
                task.answer.set_exception(TimeoutError("all tasks of the batch have expired"))
            return
        size = next(size for size in self._parameters.allowed_batch_sizes if size >= batch.rows)
        for task in batch.tasks:
            self._observe("queuing_latency", (now_s - task.enqueued_s) * 1e6, size)
            self._observe("input_batch_size", task.rows, size)
        self._observe("processed_batch_size", size, size)
        self._observe("padding_size", size - batch.rows, size)
        try:
            answers = self._run(
                key,
                {
                    name: _padded(np.concatenate([task.inputs[name] for task in batch.tasks]), size)
                    for name in batch.tasks[0].inputs
                },
            )
        except Exception as error:
            for task in batch.tasks:
                task.answer.set_exception(error)
            return
        first = 0
        for task in batch.tasks:
            task.answer.set_result(
                {name: array[first : first + task.rows] for name, array in answers.items()}
            )
            first += task.rows


def _padded(rows: NDArray[Any], size: int) -> NDArray[Any]:
    return np.concatenate([rows, np.repeat(rows[:1], size - len(rows), axis=0)])
