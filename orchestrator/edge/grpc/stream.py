"""A stream of images, bounded at both ends: it reads no more than it can hold, and holds what is not read."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from orchestrator.edge.grpc.calls import Call
from orchestrator.edge.request_identity import adopt_request_id
from orchestrator.errors import DeadlineExceeded, ModelServerUnavailable
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb

StreamCall = Call[pb.AnalyzeStreamRequest, pb.AnalyzeStreamResponse]
Outcome = Callable[[pb.AnalyzeStreamRequest, StreamCall], Awaitable[pb.AnalyzeStreamResponse]]

_NAME_CHARACTERS: Final = 57
"""Of a stream's name that the names of its images begin with; a hyphen and a number follow."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """What streams of images may hold at a time.

    Args:
        max_streams: streams at a time.
        window: images of one stream that are under way, from the reading of one until its answer is sent.
        idle_s: how long a caller may send nothing while nothing is under way, or not read an answer.
    """

    max_streams: int = 4
    window: int = 8
    idle_s: float = 120.0


class ImageStream:
    """One stream. Once ``leaving`` is set it reads no more, answers what it has read, and ends."""

    def __init__(self, call: StreamCall, limits: StreamLimits, leaving: asyncio.Event) -> None:
        self._call = call
        self._limits = limits
        self._leaving = leaving
        self._window = asyncio.Semaphore(limits.window)
        self._writing = asyncio.Lock()
        self._under_way = 0

    async def run(self, outcome: Outcome) -> None:
        """Answer every image by ``outcome``, in the order in which they are ready.

        Raises:
            ModelServerUnavailable: this process stops; what has no answer is to be sent to another one.
            DeadlineExceeded: the caller says nothing, or does not read.
            MalformedUpload: a message cannot be read. What came before it is answered first.
        """
        number, broken = 0, None
        try:
            async with asyncio.TaskGroup() as answering:
                while True:
                    await self._window.acquire()
                    try:
                        request = await self._next()
                    except Exception as error:
                        broken = error
                        break
                    if request is None:
                        break
                    number += 1
                    self._under_way += 1
                    answering.create_task(self._answer(request, number, outcome))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        if broken is not None:
            raise broken

    async def _next(self) -> pb.AnalyzeStreamRequest | None:
        """The next image; None where the caller has sent all."""
        reading = asyncio.create_task(self._call.receive())
        stopping = asyncio.create_task(self._leaving.wait())
        try:
            while True:
                first_ended = asyncio.FIRST_COMPLETED
                await asyncio.wait({reading, stopping}, timeout=self._limits.idle_s, return_when=first_ended)
                if reading.done():
                    return reading.result()
                if stopping.done():
                    raise ModelServerUnavailable("This process is about to stop.")
                if not self._under_way:
                    raise DeadlineExceeded(f"No image came for {self._limits.idle_s:g} seconds.")
        finally:
            reading.cancel()
            stopping.cancel()

    async def _answer(self, request: pb.AnalyzeStreamRequest, number: int, outcome: Outcome) -> None:
        adopt_request_id(f"{self._call.request_id[:_NAME_CHARACTERS]}-{number}")
        response = await outcome(request, self._call)
        del request  # an image that is answered need not wait in memory for its answer to be read
        try:
            async with self._writing, asyncio.timeout(self._limits.idle_s):
                await self._call.send(response)
        except TimeoutError as error:
            raise DeadlineExceeded(f"No answer was read for {self._limits.idle_s:g} seconds.") from error
        self._under_way -= 1
        self._window.release()
