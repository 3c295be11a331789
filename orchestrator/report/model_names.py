"""The names of models that the service knows by itself, and when they end: spelled nowhere else.

Read in November 2026 on the providers' pages of deprecations. ``tests/unit/report/test_model_names.py`` tells
of the end of a default for the 60 days before it, and fails from then on.
"""

from dataclasses import dataclass
from datetime import date
from typing import Final


@dataclass(frozen=True, slots=True)
class End:
    """``what`` ends on ``day``, and what to set then."""

    what: str
    day: date
    advice: str

    def told(self, today: date) -> str:
        """In one sentence."""
        return f"{self.what} {'ended' if self.day <= today else 'ends'} on {self.day}; {self.advice}"


GEMINI_DEFAULT: Final[str | None] = "gemini-3.5-flash-lite"
"""With GEMINI_API_KEY alone; None where no name lives, so that one has to be named. No end is announced."""

GITHUB_MODELS: Final = End(
    "GitHub Models, which GITHUB_TOKEN was for,",
    date(2026, 7, 30),
    "name another server and its model in WBC_WRITERS__ORDER, with its own key",
)
"""The reference system's first writer. No server took its place, so the token opens none."""

GITHUB_MODELS_HOST: Final = "models.github.ai"

_ENDS: Final = (
    End(
        "gemini-2.5-flash",
        date(2026, 12, 1),
        f"Google answers with another model then; name {GEMINI_DEFAULT}",
    ),
    End(
        "gemini-2.5-pro", date(2026, 12, 1), f"Google answers with another model then; name {GEMINI_DEFAULT}"
    ),
    End("gemini-3.1-flash-lite", date(2027, 5, 7), f"name {GEMINI_DEFAULT}"),
    End("gpt-4o", date(2027, 1, 14), "name another model"),
)


def end_of(model: str, host: str | None) -> End | None:
    """When the model there ends; None where nothing is known of an end."""
    if host == GITHUB_MODELS_HOST:
        return GITHUB_MODELS
    return next((end for end in _ENDS if end.what == model), None)
