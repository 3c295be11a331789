"""Steps on pixels in processes of their own."""

import asyncio
import contextvars
import logging
import os
import signal
import socket
import subprocess
import sys
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from queue import SimpleQueue
from threading import RLock
from typing import Final, ParamSpec, TypeVar

from orchestrator.common.deadline import remaining_s
from orchestrator.errors import ImageWorkersLost, UndecodableImage
from orchestrator.image_workers.channel import MEMORY_BYTES, Channel, Outcome
from orchestrator.observability.metrics import IMAGE_WORKERS_LOST
from orchestrator.observability.stages import stage_ended

P = ParamSpec("P")
R = TypeVar("R")

_LOGGER = logging.getLogger(__name__)

LONGEST_STEP_S: Final = 60.0
"""A step on an image of 25 million pixels takes 1.2 s; what takes so long does not end, unless a caller who
waits longer expects it to: a field of 100 million pixels with hundreds of cells may."""

_START_S: Final = 60.0
_ATTEMPTS: Final = 2
"""On an image by which a process ended itself."""

_LOSSES: Final = 10
"""Of processes that something else ended, or that do not come up, until the image is given back."""

_LOST_RETRY_S: Final = 1.0
_LAST_WORDS_S: Final = 5.0
"""How long a process that broke off its connection may take to end."""

_FROM_OUTSIDE: Final = frozenset(
    -number for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
)
"""Exit codes of a process that somebody ended: a person, an orchestrator, the kernel for want of memory."""


class ImageProcesses:
    """See :class:`~.base.ImageWorkers`. A thread for each process hands it its work and waits for it.

    Args:
        processes: how many; each costs 35 MB.
        longest_step_s: after so many seconds, or at the end of a caller's deadline that is longer, a process
            is ended, and another takes its place.
    """

    def __init__(self, processes: int, longest_step_s: float = LONGEST_STEP_S) -> None:
        self._longest_step_s = longest_step_s
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="image")
        self._idle = SimpleQueue[_Process]()
        self._processes = [_Process() for _ in range(processes)]
        for process in self._processes:
            self._idle.put(process)

    async def start(self) -> None:
        """Start all processes side by side.

        Raises ``RuntimeError`` where one does not come up.
        """
        await asyncio.gather(*(asyncio.to_thread(process.channel) for process in self._processes))

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run it in a process that is free; once more where it ends that process, and again within its
        deadline where something else does.

        Raises also ``ImageWorkersLost`` where that happens again and again, or no process can be started.
        """
        call = partial(contextvars.copy_context().run, self._outcome, (function, args, kwargs))
        outcome: Outcome = await asyncio.get_running_loop().run_in_executor(self._threads, call)
        if outcome.error is not None:
            raise outcome.error
        result: R = outcome.value
        return result

    async def close(self) -> None:
        """End the processes, when each has done what it does."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        for process in self._processes:
            process.end()

    def _outcome(self, call: object) -> Outcome:
        process = self._idle.get()  # never waits: there is a process for each thread
        guilty = lost = 0
        try:
            while guilty < _ATTEMPTS:
                try:
                    channel = process.channel()
                    channel.send(call)
                    outcome: Outcome = channel.receive(max(self._longest_step_s, remaining_s() or 0.0))
                except (EOFError, OSError, _NotStarted) as error:  # TimeoutError is an OSError
                    _LOGGER.warning("a process for images was lost (%s)", type(error).__name__)
                    IMAGE_WORKERS_LOST.inc()
                    if isinstance(error, TimeoutError):
                        process.end()
                        break  # it would take as long again
                    if process.ended_by_itself():
                        guilty += 1
                        continue
                    lost += 1
                    left_s = remaining_s()
                    if lost == _LOSSES or (left_s is not None and left_s <= 0):
                        raise ImageWorkersLost(
                            "The processes for images are lost, one after the other; nothing is said of the "
                            "image.",
                            _LOST_RETRY_S,
                        ) from error
                else:
                    for stage in outcome.stages:
                        stage_ended(stage)
                    return outcome
            raise UndecodableImage("The image cannot be processed: it ends the process that tries to.")
        finally:
            self._idle.put(process)


class _NotStarted(RuntimeError):
    """A process did not come up."""


class _Process:
    """A process, started when it is first needed and again when it was lost; it ends with this object."""

    def __init__(self) -> None:
        self._lock = RLock()  # it may be ended while it still comes up
        self._channel: Channel | None = None
        self._popen: subprocess.Popen[bytes] | None = None
        self._end: Callable[[], object] = lambda: None

    def channel(self) -> Channel:
        """The way to the process, which runs.

        Raises ``RuntimeError`` where it does not come up.
        """
        with self._lock:
            if self._channel is None:
                try:
                    self._popen, self._channel = _started()
                    self._end = weakref.finalize(self, _end, self._popen, self._channel)
                    self._channel.receive(_START_S)
                except (EOFError, OSError) as error:
                    self.end()
                    raise _NotStarted("a process for images did not start; stderr says why") from error
            return self._channel

    def ended_by_itself(self) -> bool:
        """End it; whether it had ended before, by its own fault. One that has not come up has none."""
        with self._lock:
            if self._popen is None:
                return False
            try:
                code = self._popen.wait(_LAST_WORDS_S)
            except subprocess.TimeoutExpired:
                code = 0
            self.end()
            return code != 0 and code not in _FROM_OUTSIDE

    def end(self) -> None:
        """End it at once."""
        with self._lock:
            self._end()
            self._channel = self._popen = None


def _end(popen: subprocess.Popen[bytes], channel: Channel) -> None:
    channel.close()
    popen.kill()
    popen.wait()


def _started() -> tuple[subprocess.Popen[bytes], Channel]:
    ours, theirs = socket.socketpair()
    memory = os.memfd_create("wbc-images")
    try:
        os.ftruncate(memory, MEMORY_BYTES)
        popen = subprocess.Popen(
            [sys.executable, "-m", "orchestrator.image_workers.worker", str(theirs.fileno()), str(memory)],
            pass_fds=(theirs.fileno(), memory),
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        return popen, Channel(Connection(ours.detach()), memory)
    finally:
        theirs.close()
        os.close(memory)
