"""Many files, of which one at a time is in memory: the rest lie in one temporary file without a name."""

import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from tempfile import SpooledTemporaryFile
from threading import Lock
from typing import BinaryIO, Final, NamedTuple, overload

from orchestrator.errors import StoreUnavailable

MEMORY_BYTES: Final = 2 * 2**20
"""Up to which nothing of an order touches the disk."""


class Span(NamedTuple):
    """A place in a spool, in bytes."""

    start: int
    size: int


class Spool:
    """Bytes in the order in which they came, in memory up to ``memory_bytes`` (0: without end), then on the
    disk, in the folder for temporary files. They go when nobody holds this any more."""

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        self.in_memory = not memory_bytes
        self._file = SpooledTemporaryFile[bytes](max_size=memory_bytes)
        self._size = 0
        self._lock = Lock()

    def append(self, data: bytes) -> Span:
        """Where they are now. Raises ``StoreUnavailable`` where the disk is full."""
        with self._lock:
            span = Span(self._size, len(data))
            try:
                self._file.seek(span.start)
                self._file.write(data)
                self._file.flush()  # or a full disk would be noticed by whoever reads
            except OSError as error:
                raise StoreUnavailable(
                    "There is no room for an order on the disk of the temporary files: make some, or set "
                    "TMPDIR to a folder that has it."
                ) from error
            self._size += span.size
            return span

    def read(self, span: Span) -> bytes:
        """What is there."""
        with self._lock:
            self._file.seek(span.start)
            return self._file.read(span.size)

    def __del__(self) -> None:
        self._file.close()


@dataclass
class Growing:
    """A file of a spool while it is written, before which nothing else may be."""

    spool: Spool = field(repr=False)
    span: Span | None = None

    def write(self, data: bytes) -> None:
        """At its end."""
        added = self.spool.append(data)
        self.span = added if self.span is None else Span(self.span.start, self.span.size + added.size)

    @property
    def size(self) -> int:
        """In bytes."""
        return 0 if self.span is None else self.span.size


class Spooled(Sequence[bytes]):
    """Files of a spool; each is read anew, and held by nobody but who asked for it."""

    def __init__(self, files: Sequence[Growing]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> "Spooled": ...
    def __getitem__(self, index: int | slice) -> "bytes | Spooled":
        if isinstance(index, slice):
            return Spooled(self._files[index])
        file = self._files[index]
        return b"" if file.span is None else file.spool.read(file.span)

    def sizes(self) -> list[int]:
        """In bytes."""
        return [file.size for file in self._files]

    def start(self, index: int, size: int) -> bytes:
        """The first bytes of one."""
        file = self._files[index]
        return b"" if file.span is None else file.spool.read(Span(file.span.start, min(size, file.size)))

    def opened(self, index: int) -> BinaryIO:
        """One, to be read in pieces and in any order."""
        return io.BufferedReader(_Opened(self._files[index]))


class _Opened(io.RawIOBase):
    def __init__(self, file: Growing) -> None:
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._at = base + offset
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # only BufferedReader calls it
        size = max(0, min(len(buffer), self._file.size - self._at))
        if self._file.span is None or not size:
            return 0
        buffer[:size] = self._file.spool.read(Span(self._file.span.start + self._at, size))
        self._at += size
        return size
