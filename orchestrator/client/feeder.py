"""Images on their way through a stream, for programs with threads."""

import threading
from collections.abc import Iterable, Iterator
from typing import Generic

from ..protos.wbc.v1 import wbc_pb2 as pb
from .messages import stream_result, unanswered
from .resending import Resending
from .results import Key, StreamResult


class Feeder(Generic[Key]):
    """Reads images in a thread, and hands them to one call after another until they are answered."""

    def __init__(self, images: Iterable[tuple[Key, bytes]], options: pb.AnalysisOptions, window: int) -> None:
        self._options = options
        self._resending = Resending(window)
        self._keys: dict[int, Key] = {}
        self._changed = threading.Condition()
        self._connection = 0
        self._read = self._closed = False
        self._failure: Exception | None = None
        threading.Thread(target=self._pull, args=(images,), name="wbc images", daemon=True).start()

    def _pull(self, images: Iterable[tuple[Key, bytes]]) -> None:
        try:
            for key, image in images:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or not self._resending.full)
                    if self._closed:
                        return
                    self._keys[self._resending.add(image)] = key
                    self._changed.notify_all()
        except Exception as error:  # the caller's own, and for them: raised where they wait for answers
            self._failure = error
        finally:
            with self._changed:
                self._read = True
                self._changed.notify_all()

    def requests(self) -> Iterator[pb.AnalyzeStreamRequest]:
        """What one call is to send, from what has no answer yet."""
        connection = self._connection
        while True:
            with self._changed:
                while True:
                    if self._closed or connection != self._connection:
                        return
                    if (taken := self._resending.take_unsent()) is not None:
                        break
                    if self._read:
                        return
                    self._changed.wait()
            number, image = taken
            yield pb.AnalyzeStreamRequest(correlation_id=str(number), image=image, options=self._options)

    def answered(self, response: pb.AnalyzeStreamResponse) -> StreamResult[Key] | None:
        """The result under its key; None where nobody waits for it."""
        with self._changed:
            result = stream_result(response, self._keys, self._resending)
            self._changed.notify_all()
        return result

    def begin_again(self) -> None:
        """Let the requests of the call so far end; the next ones begin with what has no answer."""
        with self._changed:
            self._connection += 1
            self._resending.begin_again()
            self._changed.notify_all()

    def check(self) -> None:
        """Raise what the images raised, or an error where answers are missing."""
        if self._failure is not None:
            raise self._failure
        if self._resending:
            raise unanswered(len(self._resending))

    def close(self) -> None:
        """Read no more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
