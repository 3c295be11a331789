"""The shortcut guard at inference: does the decision rest on the cell?

A network that has learned the background (a slide's colour, a camera's corner) gives the right class for the
wrong reason, and fails on the next microscope. Its heatmap shows that. Three witnesses are heard: the focus
ratio rho; the shares of the heatmap on nucleus, cytoplasm and background, against the regions in which the
class is recognised (:mod:`orchestrator.report.plausibility`); and the opinion of the report's writer where it
has one. The first two are measured, and decide alone where no language model writes. The third can raise a
doubt, never take one away: it has seen no more than the figures of the first two.
"""

from collections.abc import Iterator
from typing import Final

from orchestrator.domain import (
    MIN_FOCUS_RATIO,
    Finding,
    Focus,
    FocusJudgement,
    FocusReason,
    FocusVerdict,
)
from orchestrator.report.morphology import MORPHOLOGY
from orchestrator.report.plausibility import agreement

SOUND_FOCUS_RATIO: Final = 0.78
"""Least focus ratio of a sound heatmap. Of the right decisions on Train's validation part and on TestA one
in a hundred lies below (their 1 % quantiles are 0.794 and 0.797, by the service's own masks); TestB chose
nothing."""

_Ground = tuple[FocusJudgement, FocusReason]

_SEVERITY: Final[tuple[FocusJudgement, ...]] = ("sound", "doubtful", "background")


def judge_focus(finding: Finding, focus: Focus, opinion: FocusJudgement | None = None) -> FocusVerdict:
    """The gravest of the grounds decides, and every ground as grave is a reason.

    ``opinion`` is the writer's (:attr:`orchestrator.domain.Report.focus_opinion`).
    """
    grounds = list(_grounds(finding, focus))
    if opinion not in (None, "sound"):
        grounds.append(
            ("doubtful", FocusReason("writer_doubts", "The writer of the report doubts the heatmap."))
        )
    gravest = max((judgement for judgement, _ in grounds), key=_SEVERITY.index)
    return FocusVerdict(gravest, tuple(reason for judgement, reason in grounds if judgement == gravest))


def _grounds(finding: Finding, focus: Focus) -> Iterator[_Ground]:
    shares = focus.shares
    if any(reason.code == "no_cell" for reason in finding.review_reasons):
        yield "doubtful", FocusReason("no_cell", "No cell was found that the heatmap could lie on.")
        return
    if shares.nucleus + shares.cytoplasm + shares.background <= 0:
        yield "doubtful", FocusReason("empty_heatmap", "The heatmap is empty.")
        return
    on_cell = f"{focus.focus_ratio:.0%} of the heatmap lies on the cell"
    if focus.focus_ratio < MIN_FOCUS_RATIO:
        yield "background", FocusReason("off_cell", f"Only {on_cell}.")
    elif focus.focus_ratio < SOUND_FOCUS_RATIO:
        yield "doubtful", FocusReason("partly_off_cell", f"No more than {on_cell}.")
    else:
        yield "sound", FocusReason("on_cell", f"{on_cell}.")
    morphology = MORPHOLOGY[finding.class_name]
    noun = morphology.noun["en"]
    match agreement(morphology, shares):
        case "disagrees":
            yield (
                "doubtful",
                FocusReason("elsewhere", f"It does not lie where {noun} is recognised."),
            )
        case "partly":
            yield (
                "sound",
                FocusReason("partly_where_recognised", f"It lies in part where {noun} is recognised."),
            )
        case "agrees":
            yield "sound", FocusReason("where_recognised", f"It lies where {noun} is recognised.")
