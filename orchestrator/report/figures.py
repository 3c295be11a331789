"""How figures are written in a report: one way for every writer, so that any two name the same numbers."""

from typing import Final

from orchestrator.domain import FocusShares
from orchestrator.report.wording import Confidence

CONFIDENCE_LEVELS: Final[tuple[tuple[float, Confidence], ...]] = (
    (0.95, "very high"),
    (0.85, "high"),
    (0.60, "moderate"),
    (0.0, "low"),
)
"""Least calibrated probability of each level, highest first."""


def confidence_level(confidence: float) -> Confidence:
    """The word for a probability in [0, 1]."""
    return next(level for least, level in CONFIDENCE_LEVELS if confidence >= least)


def percent_figure(probability: float) -> str:
    """In percent with one decimal, ``97.3``; what is not certain never reads as 100."""
    number = f"{100 * probability:.1f}"
    return "99.9" if number == "100.0" and probability < 1 else number


def whole_percents(shares: FocusShares) -> dict[str, int]:
    """``nucleus``, ``cytoplasm`` and ``background`` in whole percents that sum to 100, by largest remainder.

    Raises ``ZeroDivisionError`` for an empty heatmap, whose shares are all 0.
    """
    values = {"nucleus": shares.nucleus, "cytoplasm": shares.cytoplasm, "background": shares.background}
    exact = {name: 100 * value / sum(values.values()) for name, value in values.items()}
    whole = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: 100 - sum(whole.values())]:
        whole[name] += 1
    return whole
