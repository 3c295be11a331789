"""The report writer that needs no language model: sentences chosen by rules from the facts."""

from collections.abc import Sequence
from typing import Final

from orchestrator.domain import DEVICE_UNKNOWN, Finding, Focus, FocusShares, Language, Report, ReportRequest
from orchestrator.model_contract import CLASS_NAMES, LYMPHOCYTE, NEUTROPHIL
from orchestrator.report.base import MAX_WORDS
from orchestrator.report.facts import review_phrases, second_class
from orchestrator.report.figures import confidence_level, percent_figure, whole_percents
from orchestrator.report.morphology import MORPHOLOGY, Morphology, Structure
from orchestrator.report.plausibility import agreement, place_of
from orchestrator.report.wording import STEPS_BY_USE, WORDING, Wording


class RuleBasedWriter:
    """Says the decision, where the heatmap lies, what that is worth, what is doubtful and what to do then.

    It knows where the heatmap lies and not what the cell shows, and words it that way. It never fails.
    """

    name: Final = "rule-based"

    async def write(self, request: ReportRequest) -> Report:
        """At most 80 words; where there are many review reasons, the weightiest that fit."""
        text = compose(request.finding, request.focus, request.language)
        return Report(text, self.name, request.language)

    async def close(self) -> None:
        """There is nothing to close."""


def compose(finding: Finding, focus: Focus | None, language: Language) -> str:
    """The report's text."""
    wording = WORDING[language]
    codes = {reason.code for reason in finding.review_reasons}
    sentences = [_decision(finding, wording, language)]
    if focus is not None:
        sentences += [wording.place_unknown] if "no_cell" in codes else _explanation(finding, focus, language)
    second = _second_class(finding, wording, language)
    is_suggestion, reasons = DEVICE_UNKNOWN in codes, review_phrases(codes, wording)
    if not reasons:
        alone = [f"{wording.suggestion[0].upper()}{wording.suggestion[1:]}."] * is_suggestion
        return " ".join([*sentences, *second, *alone])
    # With one reason, no step and no second class the longest report has room: the tests try all.
    step = _next_step(codes, wording)
    review = wording.review_suggestion if is_suggestion else wording.review
    endings = [[_review(review, reasons, n, wording), step] for n in range(len(reasons), 0, -1)]
    shortest = endings[-1][:1]
    candidates = (
        " ".join([*sentences, *rest]) for rest in [*(second + end for end in [*endings, shortest]), shortest]
    )
    return next(text for text in candidates if len(text.split()) <= MAX_WORDS)


def _decision(finding: Finding, wording: Wording, language: Language) -> str:
    first, second = (MORPHOLOGY[CLASS_NAMES[i]].noun[language] for i in (LYMPHOCYTE, NEUTROPHIL))
    level = confidence_level(finding.confidence)
    match finding.decided_by:
        case "none":
            template = wording.decision_unsure if level == "low" else wording.decision
        case "prior":
            template = wording.decision_with_prior
        case "main" | "aux":
            template = wording.decision_between
    return template.format(
        first=first,
        second=second,
        noun=MORPHOLOGY[finding.class_name].noun[language],
        confidence=wording.confidence[level],
        percent=wording.percent(percent_figure(finding.confidence)),
    )


def _explanation(finding: Finding, focus: Focus, language: Language) -> list[str]:
    """Where the heatmap lies, and whether that is where this class is recognised."""
    wording, morphology, place = WORDING[language], MORPHOLOGY[finding.class_name], place_of(focus)
    if place == "nowhere":
        return [wording.place_nowhere]
    figures = {name: wording.percent(str(value)) for name, value in whole_percents(focus.shares).items()}
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


def _second_class(finding: Finding, wording: Wording, language: Language) -> list[str]:
    second = second_class(finding, language)
    if second is None:
        return []
    noun = MORPHOLOGY[second.class_name].noun[language]
    return [wording.second_class.format(noun=noun, percent=wording.percent(second.percent))]


def _review(template: str, reasons: Sequence[str], shown: int, wording: Wording) -> str:
    more = [wording.more_reasons] if shown < len(reasons) else []
    return template.format(reasons=_list([*reasons[:shown], *more], wording))


def _next_step(codes: set[str], wording: Wording) -> str:
    """One step, of the reason that a person should take on first."""
    return next((wording.next_step[code] for code in STEPS_BY_USE if code in codes), wording.other_step)


def _list(items: Sequence[str], wording: Wording) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    *head, last = items
    return f"{', '.join(head)} {wording.conjunction} {last}" if head else last
