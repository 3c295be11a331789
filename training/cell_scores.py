"""What a set of judged cells is worth, in figures with 95 % intervals.

Beside the figures of :mod:`training.metrics`: how honest the probabilities are, what reviewing the doubtful
cells is worth, and how much of the heatmaps lies on the cells.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.table import Table

from orchestrator.domain import DISCLAIMER
from training.calibrate import expected_calibration_error, negative_log_likelihood
from training.cells import JudgedCell
from training.metrics import (
    Interval,
    SplitScores,
    accuracy,
    balanced_accuracy,
    class_resamples,
    macro_f1,
    score,
)

RESAMPLES: Final = 2000


@dataclass(frozen=True, slots=True)
class CellScores(SplitScores):
    """Figures over ``n`` images.

    ``ece`` (in [0, 1]) and ``nll`` (nats; a true class of probability 0 counts as 1e-12) are of the
    probabilities as decided on, so after calibration and routing. ``review_share`` is the share marked for
    review, ``accuracy_of_the_rest`` the accuracy of those not marked (None where all are). ``focus_ratio`` is
    the mean rho (None where not measured), ``focus_masks`` how many were measured by whose masks.
    """

    ece: Interval
    nll: Interval
    review_share: Interval
    accuracy_of_the_rest: Interval | None
    focus_ratio: Interval | None
    focus_masks: Mapping[str, int]


Figure = Callable[[NDArray[np.intp]], float]
"""A figure of the cells with these indices."""


def score_cells(cells: Sequence[JudgedCell]) -> SplitScores:
    """The figures of merit of a set of evaluated cells, with bootstrap intervals."""
    return score([cell.sample.class_index for cell in cells], [cell.finding.class_index for cell in cells])


def full_scores(cells: Sequence[JudgedCell], resamples: int = RESAMPLES) -> CellScores:
    """Every figure of a set of evaluated cells, with bootstrap intervals as in :mod:`training.metrics`.

    Raises ``ValueError`` for no cell.
    """
    if not cells:
        raise ValueError("expected at least one cell to score, received none")
    truth = np.array([cell.sample.class_index for cell in cells])
    answers = np.array([cell.finding.class_index for cell in cells])
    probabilities = np.array([cell.finding.probabilities for cell in cells])
    review = np.array([cell.finding.needs_review for cell in cells])
    focus = [cell.focus for cell in cells if cell.focus is not None]
    figures: dict[str, Figure] = {
        "balanced_accuracy": lambda rows: balanced_accuracy(truth[rows], answers[rows]),
        "macro_f1": lambda rows: macro_f1(truth[rows], answers[rows]),
        "accuracy": lambda rows: accuracy(truth[rows], answers[rows]),
        "ece": lambda rows: expected_calibration_error(probabilities[rows], truth[rows]),
        "nll": lambda rows: negative_log_likelihood(probabilities[rows], truth[rows]),
        "review_share": lambda rows: float(review[rows].mean()),
    }
    if not review.all():
        figures["accuracy_of_the_rest"] = lambda rows: _accuracy_of_the_rest(truth, answers, review, rows)
    if len(focus) == len(cells):
        ratios = np.array([one.ratio for one in focus])
        figures["focus_ratio"] = lambda rows: float(ratios[rows].mean())
    found = _intervals(figures, truth, resamples)
    return CellScores(
        n=len(cells),
        balanced_accuracy=found["balanced_accuracy"],
        macro_f1=found["macro_f1"],
        accuracy=found["accuracy"],
        ece=found["ece"],
        nll=found["nll"],
        review_share=found["review_share"],
        accuracy_of_the_rest=found.get("accuracy_of_the_rest"),
        focus_ratio=found.get("focus_ratio"),
        focus_masks=dict(Counter(one.masks for one in focus)),
    )


def _intervals(figures: Mapping[str, Figure], truth: NDArray[np.intp], resamples: int) -> dict[str, Interval]:
    """Each figure with the 2.5th and 97.5th percentile of the same resamples."""
    drawn = [[figure(rows) for figure in figures.values()] for rows in class_resamples(truth, resamples)]
    lows, highs = np.nanpercentile(np.array(drawn, np.float64), [2.5, 97.5], axis=0)
    everything = np.arange(len(truth))
    return {
        name: Interval(figure(everything), float(low), float(high))
        for (name, figure), low, high in zip(figures.items(), lows, highs, strict=True)
    }


def _accuracy_of_the_rest(
    truth: NDArray[np.intp], answers: NDArray[np.intp], review: NDArray[np.bool_], rows: NDArray[np.intp]
) -> float:
    """NaN where a resample sends every cell to review."""
    kept = rows[~review[rows]]
    return float((truth[kept] == answers[kept]).mean()) if len(kept) else float("nan")


def scores_table(scores: Mapping[str, SplitScores], title: str) -> Table:
    """The figures of merit, for the terminal."""
    table = Table("split", "n", "balanced accuracy", "macro-F1", "accuracy", title=title, caption=DISCLAIMER)
    for name, row in scores.items():
        table.add_row(name, str(row.n), str(row.balanced_accuracy), str(row.macro_f1), str(row.accuracy))
    return table


def trust_table(scores: Mapping[str, CellScores]) -> Table:
    """Calibration, review and focus, for the terminal."""
    table = Table("split", "ECE", "NLL", "sent to review", "accuracy of the rest", "focus ρ (masks)")
    for name, row in scores.items():
        rest = "none is left" if row.accuracy_of_the_rest is None else str(row.accuracy_of_the_rest)
        masks = ", ".join(f"{count} {whose}" for whose, count in row.focus_masks.items())
        focus = "not measured" if row.focus_ratio is None else f"{row.focus_ratio} ({masks})"
        table.add_row(name, str(row.ece), str(row.nll), str(row.review_share), rest, focus)
    return table
