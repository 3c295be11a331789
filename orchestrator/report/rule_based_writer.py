"""The report writer that needs no language model: sentences chosen by rules from the facts."""

from collections.abc import Sequence
from typing import Final

from orchestrator.domain import Finding, FocusMap, FocusShares, Language, Report, ReportRequest
from orchestrator.model_contract import CLASS_NAMES, LYMPHOCYTE, NEUTROPHIL
from orchestrator.report.base import MAX_WORDS
from orchestrator.report.morphology import MORPHOLOGY, Morphology, Structure
from orchestrator.report.plausibility import agreement, place_of
from orchestrator.report.wording import REASONS_BY_WEIGHT, WORDING, Confidence, Wording

CONFIDENCE_LEVELS: Final[tuple[tuple[float, Confidence], ...]] = (
    (0.95, "very high"),
    (0.85, "high"),
    (0.60, "moderate"),
    (0.0, "low"),
)
"""Least calibrated probability of each level, highest first."""

NOTABLE_SECOND: Final = 0.10
"""From this probability on, the second class is named even where nothing asks for a review."""


class RuleBasedWriter:
    """Says in up to four steps: the decision, where the heatmap lies, what that is worth, what is doubtful.

    It knows where the heatmap lies and not what the cell shows, and words it that way. It never fails.
    """

    name: Final = "rule-based"

    async def write(self, request: ReportRequest) -> Report:
        """At most 80 words; where there are many review reasons, the weightiest that fit."""
        text = compose(request.finding, request.focus, request.language)
        return Report(text, self.name, request.language)


def compose(finding: Finding, focus: FocusMap | None, language: Language) -> str:
    """The report's text."""
    wording = WORDING[language]
    codes = {reason.code for reason in finding.review_reasons}
    sentences = [_decision(finding, wording, language)]
    if focus is not None:
        sentences += [wording.place_unknown] if "no_cell" in codes else _explanation(finding, focus, language)
    sentences += _second_class(finding, codes, wording, language)
    reasons = _review_reasons(codes, wording)
    if not reasons:
        return " ".join(sentences)
    # With one reason, the longest report that the sentences can make has room: the tests try them all.
    candidates = (" ".join([*sentences, _review(reasons, n, wording)]) for n in range(len(reasons), 0, -1))
    return next(text for text in candidates if len(text.split()) <= MAX_WORDS)


def _decision(finding: Finding, wording: Wording, language: Language) -> str:
    first, second = (MORPHOLOGY[CLASS_NAMES[i]].label[language] for i in (LYMPHOCYTE, NEUTROPHIL))
    level = next(level for least, level in CONFIDENCE_LEVELS if finding.confidence >= least)
    match finding.decided_by:
        case "none":
            template = wording.decision
        case "prior":
            template = wording.decision_with_prior
        case "main" | "aux":
            template = wording.decision_between
    return template.format(
        first=first,
        second=second,
        label=MORPHOLOGY[finding.class_name].label[language],
        confidence=wording.confidence[level],
        percent=_percent(finding.confidence, wording),
    )


def _explanation(finding: Finding, focus: FocusMap, language: Language) -> list[str]:
    """Where the heatmap lies, and whether that is where this class is recognised."""
    wording, morphology, place = WORDING[language], MORPHOLOGY[finding.class_name], place_of(focus)
    if place == "nowhere":
        return [wording.place_nowhere]
    figures = _whole_percents(focus.shares, wording)
    if place == "background":
        return [wording.place_background.format(**figures)]
    if place == "spread":
        here: tuple[Structure, ...] = ()
        sentence = wording.place_spread.format(**figures)
    else:
        here = morphology.looked_for_in(place)
        where = (
            wording.where.format(structures=_list([s.there[language] for s in here], wording)) if here else ""
        )
        sentence = wording.place[place].format(**figures) + where + "."
    return [sentence, _verdict(morphology, focus.shares, here, language)]


def _verdict(
    morphology: Morphology, shares: FocusShares, here: tuple[Structure, ...], language: Language
) -> str:
    """``here`` are the structures that the sentence before has named."""
    wording = WORDING[language]
    match agreement(morphology, shares):
        case "agrees":
            template = wording.agrees if here else wording.agrees_with_structures
            structures = morphology.decisive
        case "partly":
            template = wording.partly_also if here else wording.partly
            structures = tuple(s for s in morphology.decisive if s not in here)
        case "disagrees":
            template, structures = wording.disagrees, morphology.decisive
    return template.format(structures=_list([s.full[language] for s in structures], wording))


def _second_class(finding: Finding, codes: set[str], wording: Wording, language: Language) -> list[str]:
    others = [i for i in range(len(CLASS_NAMES)) if i != finding.class_index]
    second = max(others, key=lambda i: finding.probabilities[i])
    probability = finding.probabilities[second]
    doubtful = bool(codes & {"close_call", "low_confidence"})
    if probability < (0.001 if doubtful else NOTABLE_SECOND):
        return []
    label = MORPHOLOGY[CLASS_NAMES[second]].label[language]
    return [wording.second_class.format(label=label, percent=_percent(probability, wording))]


def _review_reasons(codes: set[str], wording: Wording) -> list[str]:
    """The weightiest first; codes that are not known here share one phrase."""
    known = [wording.review_reasons[code] for code in REASONS_BY_WEIGHT if code in codes]
    return known + [wording.other_reason] * bool(codes - set(REASONS_BY_WEIGHT))


def _review(reasons: Sequence[str], shown: int, wording: Wording) -> str:
    more = [wording.more_reasons] if shown < len(reasons) else []
    return wording.review.format(reasons=_list([*reasons[:shown], *more], wording))


def _list(items: Sequence[str], wording: Wording) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *head, last = items
    return f"{', '.join(head)} {wording.conjunction} {last}" if head else last


def _percent(probability: float, wording: Wording) -> str:
    """One decimal; what is not certain never reads as 100."""
    number = f"{100 * probability:.1f}"
    return wording.percent("99.9" if number == "100.0" and probability < 1 else number)


def _whole_percents(shares: FocusShares, wording: Wording) -> dict[str, str]:
    """Whole percents that sum to 100, by largest remainder."""
    values = {"nucleus": shares.nucleus, "cytoplasm": shares.cytoplasm, "background": shares.background}
    exact = {name: 100 * value / sum(values.values()) for name, value in values.items()}
    whole = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: whole[name] - exact[name])
    for name in by_remainder[: 100 - sum(whole.values())]:
        whole[name] += 1
    return {name: wording.percent(str(value)) for name, value in whole.items()}
