"""What test-time augmentation is worth and costs: none, light and adaptive, on the same answers.

Every image is seen once with all eight views; each mode then decides by those answers that the service would
have asked for. The cost is counted in views, which are what the network is paid in.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.table import Table

from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import Profile
from orchestrator.vision.tta import TtaMode
from training.cell_scores import score_cells
from training.cells import ScoredCell, SeenCell, judge, look, without_rare_classes
from training.evaluate import EvaluationSettings, adapted_profile, chosen_samples
from training.metrics import Interval
from training.predictors import open_predictor

MODES: Final[tuple[TtaMode, ...]] = ("none", "light", "adaptive")

_HEADER: Final = (
    "Split", "TTA", "Images", "Balanced accuracy", "Against light, points", "Decided otherwise than light",
    "Stopped early", "Views per image", "For review",
)  # fmt: skip

_SHORT_HEADER: Final = (
    "split", "TTA", "n", "balanced accuracy", "points", "differ", "early", "views", "review",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TtaRow:
    """One mode on one set of ``n`` images.

    ``against_light`` is the difference of the balanced accuracies in points; ``differing`` counts images that
    are decided otherwise than by ``light``; ``stopped_early`` is the share that one view was enough for;
    ``views`` is the mean number of views an image; ``review_share`` the share marked for review.
    """

    split: str
    mode: TtaMode
    n: int
    balanced_accuracy: Interval
    against_light: float
    differing: int
    stopped_early: float
    views: float
    review_share: float

    def cells(self) -> tuple[str, ...]:
        """The row in words."""
        return (
            self.split,
            self.mode,
            str(self.n),
            str(self.balanced_accuracy),
            f"{self.against_light:+.2f}",
            str(self.differing),
            f"{self.stopped_early:.1%}",
            f"{self.views:.2f}",
            f"{self.review_share:.1%}",
        )


def compare_tta(settings: EvaluationSettings) -> list[TtaRow]:
    """All three modes on the settings' splits; one pass through the network.

    Raises:
        ConfigurationError: the model, the profile or a split is missing, or a setting contradicts the table.
    """
    contradicting = {"--tta": settings.tta, "--testb-binary-mode": settings.testb_binary_mode}
    if asked := [option for option, value in contradicting.items() if value is not None]:
        raise ConfigurationError(f"--compare-tta goes through the modes itself: leave out {', '.join(asked)}")
    predict = open_predictor(settings.model_path, settings.runtime)
    profile = adapted_profile(settings)
    rows: list[TtaRow] = []
    for split, samples in chosen_samples(settings).items():
        views = look(
            predict,
            samples,
            profile.recipe,
            "light",
            split,
            limits=profile.quality,
            batch_size=settings.batch_size,
        )
        seen = list(views)
        rows += tta_rows(split, seen, profile)
    return rows


def tta_rows(split: str, seen: Sequence[SeenCell], profile: Profile) -> list[TtaRow]:
    """The rows of a split whose cells were seen with all views, and of it without its rare classes."""
    judged = {
        mode: [judge(cell, mode, profile.routing, profile.adaptive_margin) for cell in seen] for mode in MODES
    }
    rows = list(_rows(split, judged))
    parts = {mode: without_rare_classes(split, cells) for mode, cells in judged.items()}
    common = {mode: part[1] for mode, part in parts.items() if part is not None}
    if common and (named := parts["none"]) is not None:
        rows += _rows(named[0], common)
    return rows


def _rows(split: str, judged: dict[TtaMode, list[ScoredCell]]) -> Iterator[TtaRow]:
    scores = {mode: score_cells(cells) for mode, cells in judged.items()}
    light = [cell.finding.class_index for cell in judged["light"]]
    for mode, cells in judged.items():
        found = scores[mode].balanced_accuracy
        views = np.array([cell.views for cell in cells])
        yield TtaRow(
            split=split,
            mode=mode,
            n=len(cells),
            balanced_accuracy=found,
            against_light=100 * (found.value - scores["light"].balanced_accuracy.value),
            differing=sum(
                cell.finding.class_index != other for cell, other in zip(cells, light, strict=True)
            ),
            stopped_early=float((views == 1).mean()),
            views=float(views.mean()),
            review_share=float(np.mean([cell.finding.needs_review for cell in cells])),
        )


def terminal_table(rows: Sequence[TtaRow]) -> Table:
    """The rows for the terminal."""
    table = Table(*_SHORT_HEADER, title="Test-time augmentation", caption=DISCLAIMER)
    for row in rows:
        table.add_row(*row.cells(), end_section=row.mode == MODES[-1])
    return table


def markdown(rows: Sequence[TtaRow], model: ModelIdentity, profile: str) -> str:
    """The rows as a Markdown table."""
    lines = [
        f"# Test-time augmentation of {model.name} version {model.version}",
        "",
        f"{DISCLAIMER} Model {model.sha256}, profile `{profile}`. In brackets: 95 % bootstrap intervals.",
        "",
        f"| {' | '.join(_HEADER)} |",
        f"|{' --- |' * len(_HEADER)}",
        *(f"| {' | '.join(row.cells())} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def write_csv(path: Path, rows: Sequence[TtaRow]) -> None:
    """The rows with every digit that counts, and the ends of the intervals."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            ["split", "tta", "n", "balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high",
             "against_light_points", "differing", "stopped_early", "views", "review_share"]
        )  # fmt: skip
        for row in rows:
            interval = row.balanced_accuracy
            figures = (interval.value, interval.low, interval.high, row.against_light)
            writer.writerow(
                [row.split, row.mode, row.n, *(f"{value:.6f}" for value in figures), row.differing,
                 f"{row.stopped_early:.6f}", f"{row.views:.6f}", f"{row.review_share:.6f}"]
            )  # fmt: skip
