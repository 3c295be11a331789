"""Chooses the language of an answer from an ``Accept-Language`` header (RFC 9110, section 12.5.4)."""

from typing import Final, get_args

from orchestrator.domain import Language
from orchestrator.edge.http.quality_values import weight

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


def preferred_language(accept_language: str | None) -> Language | None:
    """The language that the header weighs most among those that reports are written in; None where it
    names none of them. Regions do not matter: ``tr-TR`` is ``tr``."""
    weights: dict[Language, float] = {}
    for entry in (accept_language or "").split(","):
        tag, _, parameter = entry.partition(";")
        for language in LANGUAGES:
            if tag.strip().lower().split("-")[0] == language:
                weights[language] = max(weights.get(language, 0.0), weight(parameter))
    accepted = [(found, language) for language, found in weights.items() if found > 0]
    return max(accepted, key=lambda pair: pair[0])[1] if accepted else None
