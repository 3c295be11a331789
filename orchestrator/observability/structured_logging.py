"""The log: lines of text for a person, or of JSON for whatever collects them, on standard error.

Neither holds an image, a file's name, or anything else that a caller sends but the name of their request. So
exceptions are written as their types and frames: the message of a foreign one may quote what it was given.
"""

import json
import logging
import os
import sys
import traceback
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Literal, TextIO

from orchestrator.errors import WbcError
from orchestrator.observability import tracing
from orchestrator.observability.metrics import REQUEST_LOGGER
from orchestrator.observability.request_context import current_request_id

LogFormat = Literal["text", "json"]

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

_FOREIGN: Final = {
    # At lower levels these write what they read: EXIF tags, bytes of forms, addresses and bodies of requests,
    # and every value that goes into a database.
    "PIL": logging.WARNING,
    "aiosqlite": logging.WARNING,
    "alembic": logging.WARNING,
    "asyncpg": logging.WARNING,
    "google_genai": logging.WARNING,
    "httpcore2": logging.WARNING,
    "httpx2": logging.WARNING,
    "openai": logging.WARNING,
    "psycopg": logging.WARNING,
    "pydicom": logging.WARNING,
    "python_multipart": logging.ERROR,
    "sqlalchemy": logging.WARNING,
}

_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class TextFormatter(logging.Formatter):
    """``time level logger: message``, and who asked where that is known."""

    def __init__(self) -> None:
        super().__init__(_TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        """Add the identities to the line."""
        line = super().formatMessage(record)
        return line + "".join(
            f" {name}={value}" for name, value in _identities().items() if value not in line
        )

    def formatException(self, ei: ExcInfo) -> str:  # noqa: N802 (logging's name)
        """Types and frames."""
        return described(ei[1])


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the identities and the exception if any."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **_identities(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            entry["exception"] = described(record.exc_info[1])
        return json.dumps(entry, ensure_ascii=False)


def configure_logging(log_format: LogFormat, *, requests: bool = False, stream: TextIO | None = None) -> None:
    """Send the log of this process to ``stream``, standard error where None.

    ``requests`` asks for a line at the end of each analysis.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name, level in _FOREIGN.items():
        logging.getLogger(name).setLevel(level)
    REQUEST_LOGGER.setLevel(logging.INFO if requests else logging.WARNING)
    # The core of gRPC reads this when it is first used. It would write to stderr past all of this, and repeat
    # the server name that a caller asks for, which may be anything.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def described(error: BaseException | None) -> str:
    """The chain of ``error``, outermost first: types, frames, and the messages of this project's own."""
    parts = []
    while error is not None:
        message = f": {error}" if isinstance(error, WbcError) else ""
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.append(f"{type(error).__qualname__}{message}\n{frames}".rstrip())
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\nfrom ".join(parts)


def _identities() -> dict[str, str]:
    known = {
        "request_id": current_request_id(),
        "trace_id": tracing.current_trace_id(),
        "span_id": tracing.current_span_id(),
    }
    return {name: value for name, value in known.items() if value}
