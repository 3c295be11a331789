"""Heads of the audit trail kept elsewhere: who writes the whole chain anew cannot write those anew too.

A head is one line, ``wbc-audit-head NUMBER HASH TIME``: of the last row of the trail at that moment.
"""

import logging
import os
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from logging.handlers import SYSLOG_UDP_PORT, SysLogHandler
from pathlib import Path
from typing import Final, Protocol

from orchestrator.errors import ConfigurationError

_LINE: Final = re.compile(r"\bwbc-audit-head ([1-9]\d{0,17}) ([0-9a-f]{64})\b")


class Anchor(Protocol):
    """A place that heads are kept in. Raises ``OSError`` where it does not take one; may take its time."""

    def keep(self, line: str) -> None: ...


def head_line(number: int, row_hash: str) -> str:
    """The line that tells of a head now."""
    return f"wbc-audit-head {number} {row_hash} {datetime.now(UTC).isoformat(timespec='seconds')}"


def heads_in(lines: Iterable[str]) -> dict[int, str]:
    """Hashes by the number of their row, wherever they stand in the lines (a log puts its own words before
    them). Of a row that is noted twice the first counts: the second may be of a chain written anew."""
    heads: dict[int, str] = {}
    for line in lines:
        if (found := _LINE.search(line)) is not None:
            heads.setdefault(int(found[1]), found[2])
    return heads


class FileAnchor:
    """Appends to a file, which belongs on another machine or in another's hands."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, line: str) -> None:
        # One write to a file open for appending: lines of several processes do not mix.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        try:
            os.write(descriptor, f"{line}\n".encode("ascii"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class SyslogAnchor:
    """Sends to a syslog by RFC 3164, facility ``authpriv``: ``host:port`` over UDP, or the path of a socket.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the address is neither.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if address.startswith("/"):
            self._address: str | tuple[str, int] = address
        elif host and port.isascii() and port.isdecimal() and 0 < int(port) < 2**16:
            self._address = (host.strip("[]"), int(port))
        elif address and ":" not in address:
            self._address = (address, SYSLOG_UDP_PORT)
        else:
            raise ConfigurationError("WBC_STORE__ANCHOR_SYSLOG: expected host, host:port or /dev/log")

    def keep(self, line: str) -> None:
        handler = _Raising(self._address, SysLogHandler.LOG_AUTHPRIV)
        try:
            handler.emit(logging.LogRecord("wbc", logging.INFO, "", 0, f"wbc: {line}", (), None))
        finally:
            handler.close()


class _Raising(SysLogHandler):
    """The library's own prints what went wrong and goes on, and ends a line with a null byte."""

    append_nul = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (the library's name)
        del record
        raise  # it is called while the error is handled
