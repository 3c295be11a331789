"""Who names a request: the caller, where the name is a sane one, else this service."""

import re
import uuid
from typing import Final

from orchestrator.observability.request_context import set_request_id

REQUEST_ID_HEADER: Final = "X-Request-ID"

# Anything else could break a log line, or smuggle a file's or a patient's name into one.
_SANE: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


def adopt_request_id(proposed: str | None) -> str:
    """Take the caller's identity where it is a sane token (1 to 64 letters, digits, ``.``, ``_``, ``-``),
    otherwise a new one, for the request that this code runs for."""
    request_id = proposed if proposed and _SANE.fullmatch(proposed) else str(uuid.uuid4())
    set_request_id(request_id)
    return request_id
