"""Objects with large arrays between two processes of one machine: the arrays through memory that both see.

Pickle's protocol 5 (PEP 574) takes the arrays out of an object; they are copied into the shared memory and
out of it, and the pipe tells only their sizes. What is larger than that memory goes through the pipe.
"""

import mmap
import pickle
from collections.abc import Sequence
from itertools import accumulate, pairwise
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

from orchestrator.observability.stages import StageTime

MEMORY_BYTES: Final = 8 * 2**20
"""A decoded photograph, its masks and eight views are 3 MB. Only pages that were used take memory."""

READY: Final = "ready"
"""The first thing that a worker says."""


class Outcome(NamedTuple):
    """What a worker says then: what a function returned, or else raised; and its stages."""

    value: Any
    error: Exception | None
    stages: list[StageTime]


class Channel:
    """One end; the two take turns, since both write to the same memory.

    What arrives is trusted, as pickles are: the other end is a process of this very program.
    """

    def __init__(self, connection: Connection, memory_fd: int) -> None:
        self._connection = connection
        self._memory = mmap.mmap(memory_fd, MEMORY_BYTES)

    def send(self, content: object) -> None:
        """Give ``content`` to the other end.

        Raises ``OSError`` where there is none.
        """
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(content, protocol=5, buffer_callback=buffers.append)
        pieces = [memoryview(pickled), *(buffer.raw() for buffer in buffers)]
        sizes = [len(piece) for piece in pieces]
        shared = sum(sizes) <= MEMORY_BYTES
        if shared:
            for piece, (first, last) in zip(pieces, _bounds(sizes), strict=True):
                self._memory[first:last] = piece
        self._connection.send((sizes, shared))
        if not shared:
            for piece in pieces:
                self._connection.send_bytes(piece)

    def receive(self, timeout_s: float | None = None) -> Any:
        """Return what the other end gave.

        Raises:
            EOFError, OSError: there is no other end.
            TimeoutError: it gave nothing for ``timeout_s`` seconds.
        """
        if not self._connection.poll(timeout_s):
            raise TimeoutError
        sizes, shared = self._connection.recv()
        if shared:
            pieces = [bytearray(self._memory[first:last]) for first, last in _bounds(sizes)]
        else:
            pieces = [bytearray(self._connection.recv_bytes()) for _ in sizes]
        return pickle.loads(pieces[0], buffers=pieces[1:])

    def close(self) -> None:
        """Close this end; the other one learns it when it reads."""
        self._connection.close()
        self._memory.close()


def _bounds(sizes: Sequence[int]) -> list[tuple[int, int]]:
    return list(pairwise(accumulate(sizes, initial=0)))
