"""The facts of one result, in the words of the report's language: all that a language model is ever told.

They are made from a :class:`~orchestrator.domain.ReportRequest` and from nothing else. No pixel, no file
name, no identifier, and no text that came with an image is part of it, so that none can leave the machine,
and no instruction hidden in an image can reach a model. Reasons for a review go by their code, never by
their message.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from orchestrator.domain import (
    DEVICE_UNKNOWN,
    Finding,
    Focus,
    FocusJudgement,
    Language,
    ReportRequest,
    RoutingMode,
)
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.report.figures import confidence_level, percent_figure, whole_percents
from orchestrator.report.focus_verdict import judge_focus
from orchestrator.report.morphology import MORPHOLOGY
from orchestrator.report.plausibility import Agreement, Place, agreement, place_of
from orchestrator.report.wording import REASONS_BY_WEIGHT, WORDING, Wording

NOTABLE_SECOND: Final = 0.10
"""From this probability on, the second class is named even where nothing asks for a review."""

LEAST_SECOND: Final = 0.001
"""Where there is doubt, from this one on."""

Region = Place | Literal["unknown", "none"]
"""Where the heatmap lies; ``unknown`` where no cell was found, ``none`` where no heatmap was asked for."""


@dataclass(frozen=True, slots=True)
class NamedClass:
    """A class by its name in the model contract and in the report's language; ``percent`` is a figure with a
    decimal point, such as ``97.3``."""

    class_name: str
    label: str
    percent: str


@dataclass(frozen=True, slots=True)
class HeatmapFacts:
    """Whole percents of the heatmap on each region, and what these are worth; see :mod:`.plausibility`."""

    nucleus: int
    cytoplasm: int
    background: int
    fits_the_class: Agreement
    measured_focus: FocusJudgement

    @property
    def on_cell(self) -> int:
        """Nucleus and cytoplasm together."""
        return 100 - self.background


@dataclass(frozen=True, slots=True)
class Facts:
    """One result, ready to be put into words."""

    language: Language
    decided: NamedClass
    confidence: str
    decided_by: RoutingMode
    second: NamedClass | None
    region: Region
    heatmap: HeatmapFacts | None
    looked_for: tuple[str, ...]
    review: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As a JSON object."""
        return asdict(self)

    def digest(self) -> str:
        """SHA-256 in hex; equal for equal facts."""
        return hashlib.sha256(json.dumps(self.document(), sort_keys=True).encode()).hexdigest()


def facts_of(request: ReportRequest) -> Facts:
    """The facts of a request."""
    finding, language = request.finding, request.language
    wording = WORDING[language]
    region = region_of(finding, request.focus)
    codes = {reason.code for reason in finding.review_reasons}
    return Facts(
        language=language,
        decided=_named(finding.class_index, finding, language),
        confidence=wording.confidence[confidence_level(finding.confidence)],
        decided_by=finding.decided_by,
        second=second_class(finding, language),
        region=region,
        heatmap=_heatmap(finding, request.focus, region),
        looked_for=tuple(s.full[language] for s in MORPHOLOGY[finding.class_name].structures),
        review=(*review_phrases(codes, wording), *[wording.suggestion] * (DEVICE_UNKNOWN in codes)),
    )


def region_of(finding: Finding, focus: Focus | None) -> Region:
    """Where the heatmap lies, as far as that is known."""
    if focus is None:
        return "none"
    if any(reason.code == "no_cell" for reason in finding.review_reasons):
        return "unknown"
    return place_of(focus)


def second_class(finding: Finding, language: Language) -> NamedClass | None:
    """The runner-up, where it is worth a word: there is doubt, or it has a notable probability."""
    others = [index for index in range(len(CLASS_NAMES)) if index != finding.class_index]
    index = max(others, key=lambda i: finding.probabilities[i])
    codes = {reason.code for reason in finding.review_reasons}
    doubtful = bool(codes & {"close_call", "low_confidence"})
    if finding.probabilities[index] < (LEAST_SECOND if doubtful else NOTABLE_SECOND):
        return None
    return _named(index, finding, language)


def review_phrases(codes: set[str], wording: Wording) -> list[str]:
    """The weightiest first; codes that are not known here share one phrase. Without the microscope's."""
    known = [wording.review_reasons[code] for code in REASONS_BY_WEIGHT if code in codes]
    return known + [wording.other_reason] * bool(codes - {*REASONS_BY_WEIGHT, DEVICE_UNKNOWN})


def _named(index: int, finding: Finding, language: Language) -> NamedClass:
    name = CLASS_NAMES[index]
    return NamedClass(name, MORPHOLOGY[name].label[language], percent_figure(finding.probabilities[index]))


def _heatmap(finding: Finding, focus: Focus | None, region: Region) -> HeatmapFacts | None:
    if focus is None or region in ("unknown", "nowhere", "none"):
        return None
    return HeatmapFacts(
        **whole_percents(focus.shares),
        fits_the_class=agreement(MORPHOLOGY[finding.class_name], focus.shares),
        measured_focus=judge_focus(finding, focus).judgement,
    )
