"""Images on their way through a stream, for programs on an event loop."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import Generic

from ..protos.wbc.v1 import wbc_pb2 as pb
from .messages import stream_result, unanswered
from .resending import Resending
from .results import Key, StreamResult


class Feeder(Generic[Key]):
    """Reads images in a task, and hands them to one call after another until they are answered."""

    def __init__(
        self,
        images: Iterable[tuple[Key, bytes]] | AsyncIterable[tuple[Key, bytes]],
        options: pb.AnalysisOptions,
        window: int,
    ) -> None:
        self._options = options
        self._resending = Resending(window)
        self._keys: dict[int, Key] = {}
        self._changed = asyncio.Condition()
        self._connection = 0
        self._read = False
        self._failure: Exception | None = None
        self._pulling = asyncio.create_task(self._pull(images), name="wbc images")

    async def _pull(self, images: Iterable[tuple[Key, bytes]] | AsyncIterable[tuple[Key, bytes]]) -> None:
        try:
            if isinstance(images, AsyncIterable):
                async for key, image in images:
                    await self._add(key, image)
            else:
                for key, image in images:
                    await self._add(key, image)
        except Exception as error:  # the caller's own, and for them: raised where they wait for answers
            self._failure = error
        async with self._changed:
            self._read = True
            self._changed.notify_all()

    async def _add(self, key: Key, image: bytes) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: not self._resending.full)
            self._keys[self._resending.add(image)] = key
            self._changed.notify_all()

    async def requests(self) -> AsyncIterator[pb.AnalyzeStreamRequest]:
        """What one call is to send, from what has no answer yet."""
        connection = self._connection
        while True:
            async with self._changed:
                while True:
                    if connection != self._connection:
                        return
                    if (taken := self._resending.take_unsent()) is not None:
                        break
                    if self._read:
                        return
                    await self._changed.wait()
            number, image = taken
            yield pb.AnalyzeStreamRequest(correlation_id=str(number), image=image, options=self._options)

    async def answered(self, response: pb.AnalyzeStreamResponse) -> StreamResult[Key] | None:
        """The result under its key; None where nobody waits for it."""
        async with self._changed:
            result = stream_result(response, self._keys, self._resending)
            self._changed.notify_all()
        return result

    async def begin_again(self) -> None:
        """Let the requests of the call so far end; the next ones begin with what has no answer."""
        async with self._changed:
            self._connection += 1
            self._resending.begin_again()
            self._changed.notify_all()

    async def check(self) -> None:
        """Raise what the images raised, or an error where answers are missing."""
        if self._failure is not None:
            raise self._failure
        if self._resending:
            raise unanswered(len(self._resending))

    async def close(self) -> None:
        """Read no more."""
        self._pulling.cancel()
        await asyncio.gather(self._pulling, return_exceptions=True)
