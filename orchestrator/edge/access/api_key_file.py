"""The file that API keys are kept in: JSON, so small that no database is needed.

It is replaced as a whole, under a lock, and readable by its owner alone; a service that runs sees the change
within a second. As a Kubernetes Secret it may be read by a group, too: it holds hashes of secrets that nobody
can guess. What it must not be is readable by everybody, or writable by others, who could write themselves a
key; where its mode becomes so while it is in use, nobody is let in any more.
"""

import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from orchestrator.common.deadline import Clock
from orchestrator.common.whole_file import FileState, locked, state_of, write_whole
from orchestrator.edge.access.api_keys import KeyRing
from orchestrator.edge.access.security import AuthenticationUnavailable, Principal
from orchestrator.errors import ConfigurationError

MAX_FILE_BYTES: Final = 2**20

CHECK_EVERY_S: Final = 1.0
"""How often a file that is in use is looked at for a change."""

_OPEN_TO_OTHERS: Final = stat.S_IWGRP | stat.S_IWOTH | stat.S_IROTH

T = TypeVar("T")

_logger = logging.getLogger(__name__)


class ApiKeyFile:
    """The keys in ``path``, as they are there now.

    While the file is away or cannot be read, nobody is let in by it: a service that went on with what it
    remembers would let in whoever has been taken out of it.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._path = path
        self._clock = clock
        self._now = now
        self._ring: KeyRing | None = None
        self._state: FileState | None = None
        self._look_at_s = float("-inf")
        self._told: str | None = None

    async def verify(self, credential: str) -> Principal:
        """See :class:`~orchestrator.edge.access.security.CredentialVerifier`."""
        self._refresh()
        if self._ring is None:
            raise AuthenticationUnavailable("The API keys cannot be read at the moment.")
        return self._ring.principal(credential, self._now())

    def _refresh(self) -> None:
        """Read the file again where it has changed.

        On the event loop: a look costs microseconds, a second, and a change is rare and small.
        """
        if self._clock() < self._look_at_s:
            return
        self._look_at_s = self._clock() + CHECK_EVERY_S
        try:
            if state_of(self._path.stat()) != self._state:
                self._ring, self._state = read_keys(self._path)
                _logger.info("API keys: %d read", len(self._ring.keys))
            self._told = None
        except (OSError, ConfigurationError) as error:
            self._ring = self._state = None
            why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
            if why != self._told:  # once, and not each second
                _logger.error("API keys: nobody is let in, %s", why)
            self._told = why


def read_keys(path: Path) -> tuple[KeyRing, FileState]:
    """The keys, and what tells this state of the file from another.

    Raises:
        OSError: it cannot be read.
        ConfigurationError: it is not a file of keys, or others may read or write it.
    """
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        if sys.platform != "win32" and (open_to := status.st_mode & _OPEN_TO_OTHERS):
            what = "read" if open_to == stat.S_IROTH else "written"
            raise ConfigurationError(f"the file of API keys can be {what} by others; chmod 600 it")
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ConfigurationError(f"the file of API keys is larger than {MAX_FILE_BYTES} bytes")
    try:
        return KeyRing.model_validate_json(content), state_of(status)
    except ValidationError as error:  # without its input: somebody may have pasted a key into it
        places = sorted({".".join(map(str, found["loc"])) or "the whole" for found in error.errors()})
        raise ConfigurationError(f"the file of API keys is not one: {', '.join(places)[:200]}") from None


def change_keys(path: Path, change: Callable[[KeyRing], tuple[KeyRing, T]]) -> T:
    """Replace the keys by what ``change`` makes of them, and return what it says beside; one at a time.

    Raises:
        OSError: the file or its folder cannot be read or written.
        ConfigurationError: as :func:`read_keys`, and what ``change`` raises; then nothing is written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        ring, said = change(keys_or_none(path))
        write_whole(path, ring.model_dump_json(indent=2) + "\n")
    return said


def keys_or_none(path: Path) -> KeyRing:
    """The keys of the file; none where there is no file yet.

    Raises as :func:`read_keys`.
    """
    return read_keys(path)[0] if path.exists() else KeyRing()
