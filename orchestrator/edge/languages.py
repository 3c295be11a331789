"""Chooses the language of an answer from an ``Accept-Language`` header (RFC 9110, section 12.5.4)."""

from typing import Final, get_args

from orchestrator.domain import Language

LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)


def preferred_language(accept_language: str | None) -> Language | None:
    """The language that the header weighs most among those that reports are written in; None where it
    names none of them. Regions do not matter: ``tr-TR`` is ``tr``."""
    weights: dict[Language, float] = {}
    for entry in (accept_language or "").split(","):
        tag, _, parameter = entry.partition(";")
        for language in LANGUAGES:
            if tag.strip().lower().split("-")[0] == language:
                weights[language] = max(weights.get(language, 0.0), _weight(parameter))
    accepted = [(weight, language) for language, weight in weights.items() if weight > 0]
    return max(accepted, key=lambda pair: pair[0])[1] if accepted else None


def _weight(parameter: str) -> float:
    """Of ``q=0.8``; 1 where there is none and 0, "not acceptable", where it is no number from 0 to 1."""
    name, _, value = parameter.strip().partition("=")
    if not name:
        return 1.0
    try:
        weight = float(value)
    except ValueError:
        return 0.0
    return weight if name.strip().lower() == "q" and 0 <= weight <= 1 else 0.0
