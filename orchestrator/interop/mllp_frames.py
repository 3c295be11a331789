"""Frames of MLLP, the minimal lower layer protocol of HL7 v2: ``VT message FS CR``.

HL7 "Transport Specification: MLLP, Release 1". No length is told, so that one is set: a sender that never
ends a message would fill the memory.
"""

from typing import Final

from orchestrator.errors import MalformedMessage

START: Final = b"\x0b"
END: Final = b"\x1c"
CARRIAGE_RETURN: Final = b"\r"

DEFAULT_MAX_BYTES: Final = 4 * 2**20


class FrameTooLarge(MalformedMessage):
    """A message is longer than it may be; where it ends is not known, so that the connection is of no use."""


def frame(message: bytes) -> bytes:
    """A message as it goes over the wire. Raises ``ValueError`` where it holds a mark of a frame."""
    if START in message or END in message:
        raise ValueError("expected a message without the bytes 0x0B and 0x1C")
    return START + message + END + CARRIAGE_RETURN


class Framer:
    """Finds messages in a stream, however it is cut into packets.

    What stands before a start is dropped, so that a stream in disorder comes into order with its next
    message. A start within a message begins a new one: its sender began anew. The carriage return after the
    end may be missing: some leave it out, and waiting for it would wait for ever. Where ``starts_may_lack``,
    what holds a segment MSH and has an end is a message, too.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES, *, starts_may_lack: bool = False) -> None:
        self._max_bytes = max_bytes
        self._starts_may_lack = starts_may_lack
        self._is_started = False
        self._message: bytearray | None = bytearray() if starts_may_lack else None

    @property
    def unfinished(self) -> bytes:
        """What came of a message whose end did not."""
        return bytes(self._message or b"")

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that end within ``data``.

        Raises :class:`FrameTooLarge`; what ended before in the same ``data`` is lost with it.
        """
        complete: list[bytes] = []
        position = 0
        while position < len(data):
            if self._message is None:
                begin = data.find(START, position)
                if begin < 0:
                    break
                self._begin()
                position = begin + 1
                continue
            end = data.find(END, position)
            again = data.find(START, position, end if end >= 0 else len(data))
            if again >= 0:
                self._begin()
                position = again + 1
                continue
            stop = end if end >= 0 else len(data)
            if len(self._message) + stop - position > self._max_bytes:
                self._message = None
                raise FrameTooLarge(f"A message is longer than {self._max_bytes} bytes.")
            self._message += data[position:stop]
            position = stop
            if end >= 0:
                if self._is_started or b"MSH" in self._message:
                    complete.append(bytes(self._message))
                self._is_started = False
                self._message = bytearray() if self._starts_may_lack else None
                position += 1
        return complete

    def _begin(self) -> None:
        self._is_started = True
        self._message = bytearray()
