"""The name under which one request is spoken of: in its answer, in headers and in the log."""

import re
import uuid
from contextvars import ContextVar
from typing import Final

REQUEST_ID_HEADER: Final = "X-Request-ID"

# Anything else could break a log line, or smuggle a file's or a patient's name into one.
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")

_current: ContextVar[str] = ContextVar("request_id", default="")


def current_request_id() -> str:
    """The identity of the request that this code runs for; empty outside of one."""
    return _current.get()


def adopt_request_id(proposed: str | None) -> str:
    """Take the caller's identity where it is a sane token (1 to 64 letters, digits, ``.``, ``_``, ``-``),
    otherwise a new one, for the request that this code runs for."""
    request_id = proposed if proposed and _SANE.fullmatch(proposed) else str(uuid.uuid4())
    _current.set(request_id)
    return request_id
