"""Why a provider of reports did not write one, in words that are few enough for a metric's label."""

import math
import re
import time
from email.utils import parsedate_to_datetime
from typing import Final, Literal, get_args

from orchestrator.errors import ReportWriterError
from orchestrator.report.grounding import Fault
from orchestrator.report.server_words import said_in

FailureReason = Literal[
    "timeout",
    "unreachable",
    "server_error",
    "unauthorised",
    "not_found",
    "gone",
    "refused",
    "quota",
    "rate_limited",
    "declined",
    "empty",
    "malformed",
    "contradiction",
    "unexpected",
    Fault,
]
"""``refused`` is any other status of 300 to 499. ``quota`` is what was paid for, and is used up. ``declined``
is what the server will not write about this image, and says nothing of others. From ``empty`` to
``contradiction`` an answer came that could not be used: nothing, no such JSON as was asked for, or fields
that contradict the facts. A :data:`Fault` is what is wrong with its text."""

FAILURE_REASONS: Final[tuple[FailureReason, ...]] = get_args(FailureReason)

HOPELESS: Final[frozenset[FailureReason]] = frozenset(
    {"unauthorised", "not_found", "gone", "refused", "quota"}
)
"""Another try soon would end the same way: a wrong key, a model or a service that is no more."""

PASSING: Final[frozenset[FailureReason]] = frozenset({"unreachable", "server_error", "rate_limited"})
"""Another try may help, within the same report if there is time."""

ADVICE: Final[dict[FailureReason, str]] = {
    "timeout": "give it more time: timeout_s of the writer and WBC_WRITERS__DEADLINE_S",
    "unreachable": "check its base_url, and the way there",
    "unauthorised": "check its key: api_key, api_key_file, or GEMINI_API_KEY",
    "not_found": "check model and base_url",
    "gone": "name another model or server in WBC_WRITERS__ORDER",
    "refused": "check model and base_url; what is asked for is described in docs/reports.md",
    "quota": "look at the account there, or name another writer in WBC_WRITERS__ORDER",
    "rate_limited": "ask less, or look at the account there",
    "empty": "raise max_output_tokens, or lower reasoning_effort",
    "malformed": "check that base_url is an API, and that the model can write JSON",
}
"""What whoever runs the service can do; nothing where that is to choose another model."""

MAX_RETRY_AFTER_S: Final = 3600.0
"""A provider that asks for more than that is asked again after this time."""


MAX_SAID: Final = 4000
"""Characters that are kept of a provider's words."""


class WriterFailed(ReportWriterError):
    """A provider did not write; ``retry_after_s`` is when to ask it again, in seconds, where it said so.

    ``faults`` are all that is wrong with the text of an answer; none where no text could be read. ``said``
    are the words of the provider, which may repeat what they were sent and are told to nobody; ``words`` is
    what may be told of them (see :mod:`~.server_words`). ``of_the_manner`` is whether it may be how it was
    asked that the provider refuses; see :mod:`~.learning_model`.
    """

    def __init__(
        self,
        reason: FailureReason,
        retry_after_s: float | None = None,
        *,
        faults: frozenset[Fault] = frozenset(),
        said: str = "",
        of_the_manner: bool = False,
    ) -> None:
        super().__init__(f"The writer did not write: {reason}.")
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.faults = faults
        self.said = said[:MAX_SAID]
        self.words = ""
        self.of_the_manner = of_the_manner

    def __str__(self) -> str:
        """The reason, and the provider's words."""
        return f"{self.reason}: {self.words}" if self.words else self.reason


_SPENT: Final = re.compile(r"insufficient_quota|insufficient balance|billing|credits?\b", re.IGNORECASE)
_OF_THIS_PROMPT: Final = re.compile(
    r"content.?(filter|management|policy)|responsible.?ai|moderation|flagged|prohibited", re.IGNORECASE
)
_KEY: Final = re.compile(r"api.?key", re.IGNORECASE)
_NO_SUCH_MODEL: Final = re.compile(
    r"model_not_found|model\b.{0,80}\b(not found|not exist|unknown)|(unknown|no such|invalid) model",
    re.IGNORECASE,
)
_IN_WORDS: Final = tuple(
    (status, re.compile(words, re.IGNORECASE))
    for status, words in (
        (429, "insufficient_quota|rate.?limit|too many requests"),
        (503, "server_?error|overloaded|unavailable"),
    )
)


def failure_of_text(text: str) -> WriterFailed:
    """What an answer means that is no JSON: a stream though none was asked for, or a page to sign in at."""
    if text.lstrip().startswith(("data:", "event:", ":")):
        return WriterFailed("refused", said="the answer is a stream", of_the_manner=True)
    return WriterFailed("malformed", said=said_in(text))


def failure_of_error(error: object) -> WriterFailed:
    """What an error means that has no status of its own: in an answer 200, or amidst a stream. Its code, or
    else its words, stand for the status that it would have had."""
    said = said_in(error)
    if not said:
        return WriterFailed("malformed")
    code = error.get("code") if isinstance(error, dict) else None
    if isinstance(code, int | str) and re.fullmatch("[45][0-9]{2}", str(code)):
        return failure_of_status(int(code), body=error)
    return failure_of_status(next((status for status, w in _IN_WORDS if w.search(said)), 400), body=error)


def failure_of_status(
    status: int, retry_after: str | float | None = None, body: object = None
) -> WriterFailed:
    """What an HTTP status of a provider means. ``retry_after`` is its header's value, or seconds; ``body``,
    as JSON or text, tells apart what shares a status."""
    said = said_in(body)
    # Redirects are not followed: facts and key go nowhere but to the host of the settings.
    after_s = retry_after_seconds(retry_after)
    reason: FailureReason
    match status:
        case 401 | 403:
            reason = "unauthorised"
        case 402:
            reason = "quota"
        case 404:
            reason = "not_found"
        case 410:
            reason = "gone"
        case 408 | 504:
            reason = "timeout"
        case 429:
            # Google speaks of billing in every 429, also in those that say when to come back.
            spent = "insufficient_quota" in said or (after_s is None and _SPENT.search(said))
            reason = "quota" if spent else "rate_limited"
        case _ if not 300 <= status < 500:
            reason = "server_error"
        case _ if _OF_THIS_PROMPT.search(said):
            reason = "declined"
        case _ if _KEY.search(said):
            reason = "unauthorised"
        case _ if _NO_SUCH_MODEL.search(said):
            reason = "not_found"
        case _:
            reason = "refused"
    of_the_manner = reason == "refused" and status in (400, 422)
    return WriterFailed(reason, after_s, said=said, of_the_manner=of_the_manner)


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
