"""A process that runs steps on pixels, one at a time, for the process that started it.

    python -m orchestrator.image_workers.worker CONNECTION MEMORY    (numbers of open file descriptors)

It ends when the other one does, however that came about, and not before: a signal to a whole group of
processes (Ctrl-C, a service manager's SIGTERM) must not end it while the service still answers what it has
begun.
"""

import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import cv2

import orchestrator.image_steps  # noqa: F401 - before the first image needs it
from orchestrator.common.allocator import keep_image_memory
from orchestrator.image_workers.channel import READY, Channel, Outcome
from orchestrator.observability.stages import recorded_stages


def main(arguments: Sequence[str]) -> None:
    """Answer until the other end is gone."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    cv2.setNumThreads(1)
    keep_image_memory()
    connection, memory = (int(argument) for argument in arguments)
    channel = Channel(Connection(connection), memory)
    with suppress(EOFError, OSError):
        channel.send(READY)
        while True:
            channel.send(outcome(*channel.receive()))


def outcome(function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Outcome:
    """Run ``function`` and tell how it went."""
    with recorded_stages() as stages:
        try:
            return Outcome(function(*args, **kwargs), None, stages)
        except Exception as error:
            if error.__traceback__:  # a pickle has none
                error.add_note("".join(traceback.format_tb(error.__traceback__)))
            return Outcome(None, error, stages)


if __name__ == "__main__":
    main(sys.argv[1:])
