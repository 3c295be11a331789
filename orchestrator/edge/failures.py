"""What is told and what is logged of an error: the same for every edge."""

import logging
import traceback
from http import HTTPStatus

from orchestrator.errors import INTERNAL, Overloaded, ProblemType, WbcError
from orchestrator.observability.request_context import current_request_id

_logger = logging.getLogger(__name__)


def detail_of(error: Exception, kind: ProblemType) -> str:
    """What a caller is told: nothing of what is inside."""
    if isinstance(error, WbcError) and kind is not INTERNAL:
        return str(error) or kind.title  # written for the person who can do something about it
    return kind.example


def log_failure(error: Exception, kind: ProblemType) -> None:
    """Log what a caller cannot mend, but for an overload, which the metrics tell of.

    Of our own errors the message; not of a foreign one, which may quote what was in the image or in the form.
    """
    # A refusal costs next to nothing, and so it stays: in an overload a line for each would be the log.
    if kind.status < HTTPStatus.INTERNAL_SERVER_ERROR or isinstance(error, Overloaded):
        return
    if kind is not INTERNAL:
        _logger.warning("request %s: %s: %s", current_request_id(), kind.name, error)
        return
    chain = []
    seen: BaseException | None = error
    frames = "".join(traceback.format_tb(error.__traceback__))
    while seen is not None:
        chain.append(type(seen).__qualname__)
        seen = seen.__cause__ or seen.__context__
    _logger.error("request %s: unexpected %s\n%s", current_request_id(), " from ".join(chain), frames)
