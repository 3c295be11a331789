"""Small files that are replaced as a whole, under a lock: a reader sees the old content or the new."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

OWNER_ALONE: Final = 0o600

FileState = tuple[int, int, int, int]
"""What tells one content of a file from another, and who may read it: time of change, size, inode and
mode."""


def state_of(status: os.stat_result) -> FileState:
    """See :data:`FileState`."""
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_mode


def write_whole(path: Path, text: str, mode: int = OWNER_ALONE) -> None:
    """Replace the file, readable as ``mode`` says: all or nothing, also when the power fails.

    Raises ``OSError`` where it cannot be written.
    """
    with NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", encoding="utf-8", newline="", delete=False
    ) as file:
        temporary = Path(file.name)
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of ``path``, a file beside it.

    Raises ``OSError`` where it cannot be made; ``BlockingIOError`` where another process holds it and nobody
    is to ``wait``.
    """
    descriptor = os.open(path.with_name(f".{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)
