"""Why a provider of reports did not write one, in words that are few enough for a metric's label."""

import math
import time
from email.utils import parsedate_to_datetime
from typing import Final, Literal, get_args

from orchestrator.errors import ReportWriterError
from orchestrator.report.grounding import Fault

FailureReason = Literal[
    "timeout",
    "unreachable",
    "server_error",
    "unauthorised",
    "not_found",
    "gone",
    "refused",
    "rate_limited",
    "empty",
    "malformed",
    "contradiction",
    "unexpected",
    Fault,
]
"""``refused`` is any other status of 300 to 499. From ``empty`` to ``contradiction`` an answer came that
could not be used: nothing, no such JSON as was asked for, or fields that contradict the facts. A
:data:`Fault` is what is wrong with its text."""

FAILURE_REASONS: Final[tuple[FailureReason, ...]] = get_args(FailureReason)

HOPELESS: Final[frozenset[FailureReason]] = frozenset({"unauthorised", "not_found", "gone", "refused"})
"""Another try soon would end the same way: a wrong key, a model or a service that is no more."""

PASSING: Final[frozenset[FailureReason]] = frozenset({"unreachable", "server_error", "rate_limited"})
"""Another try may help, within the same report if there is time."""

MAX_RETRY_AFTER_S: Final = 3600.0
"""A provider that asks for more than that is asked again after this time."""


class WriterFailed(ReportWriterError):
    """A provider did not write; ``retry_after_s`` is when to ask it again, in seconds, where it said so.

    ``faults`` are all that is wrong with the text of an answer; none where no text could be read. The words
    of a provider stay in ``__cause__``, since they may repeat what they were sent.
    """

    def __init__(
        self,
        reason: FailureReason,
        retry_after_s: float | None = None,
        *,
        faults: frozenset[Fault] = frozenset(),
    ) -> None:
        super().__init__(f"The writer did not write: {reason}.")
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.faults = faults


def failure_of_status(status: int, retry_after: str | float | None = None) -> WriterFailed:
    """What an HTTP status of a provider means. ``retry_after`` is its header's value, or seconds."""
    # Redirects are not followed: facts and key go nowhere but to the host of the settings.
    match status:
        case 401 | 403:
            return WriterFailed("unauthorised")
        case 404:
            return WriterFailed("not_found")
        case 410:
            return WriterFailed("gone")
        case 408 | 504:
            return WriterFailed("timeout")
        case 429:
            return WriterFailed("rate_limited", retry_after_seconds(retry_after))
        case _ if 300 <= status < 500:
            return WriterFailed("refused")
        case _:
            return WriterFailed("server_error", retry_after_seconds(retry_after))


def retry_after_seconds(value: str | float | None) -> float | None:
    """Seconds of a ``Retry-After`` (RFC 9110, 10.2.3: seconds, or a date), from 0 to
    :data:`MAX_RETRY_AFTER_S`; None where there is none or it says nothing."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(str(value)).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return None if math.isnan(seconds) else min(max(seconds, 0.0), MAX_RETRY_AFTER_S)
