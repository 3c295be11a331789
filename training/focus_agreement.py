"""Whether the focus verdict of serving is right: against masks that people drew, and on planted shortcuts.

Serving judges a heatmap by the masks that it finds itself. Here each image's heatmap is judged twice, by
those masks and by the true ones, and the two verdicts are compared. As a good model looks at the cell, its
own heatmaps show few faults; so heatmaps are also planted where a shortcut would lie, and it is counted how
many are told.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import cv2
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from orchestrator.domain import DISCLAIMER, Float32Array, FocusJudgement
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CAM_SIZE
from orchestrator.profiles import Profile
from orchestrator.report.focus_verdict import judge_focus
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.heatmap import assemble
from orchestrator.vision.tta import TtaMode
from training.datasets import Sample
from training.predictors import Predictor
from training.serving_path import Served, served
from training.true_masks import window_masks

Heat = Literal["model", "nucleus", "background", "border"]
"""Where a heatmap comes from: the network, or planted on a region of the true masks, or along the border of
what the network sees."""

JUDGEMENTS: Final[tuple[FocusJudgement, ...]] = get_args(FocusJudgement)
HEATS: Final[tuple[Heat, ...]] = get_args(Heat)


@dataclass(frozen=True, slots=True)
class FocusCase:
    """One heatmap on one image: the verdicts and focus ratios by serving's masks and by the true ones."""

    heat: Heat
    served: FocusJudgement
    true: FocusJudgement
    served_ratio: float
    true_ratio: float


def judge_focus_of(samples: Sequence[Sample], profile: Profile, predict: Predictor) -> Iterator[FocusCase]:
    """Four cases of each image that has a true mask.

    Raises :class:`ConfigurationError` where no image has one.
    """
    masked = [sample for sample in samples if sample.mask is not None]
    if not masked:
        raise ConfigurationError("expected images with a true mask (column mask of manifest.csv), found none")
    for sample in track(masked, "focus", console=Console(stderr=True)):
        rgb = sample.load()
        found = served(rgb, profile, predict)
        assert sample.mask is not None
        truth = window_masks(sample.mask, found.prepared.window, rgb.shape)
        if found.prediction.cams is None:
            raise ConfigurationError("expected a model that explains its answers")
        views = found.prediction.cams[:, found.finding.class_index]
        yield _case("model", views, profile.tta, found, truth, rgb.shape)
        for heat in HEATS[1:]:
            yield _case(heat, planted(heat, truth)[np.newaxis], "none", found, truth, rgb.shape)


def planted(heat: Heat, masks: CellMasks) -> Float32Array:
    """A class activation map, float32 ``[7, 7]``, that looks at a region of the masks.

    ``nucleus`` and ``background``: the tile that holds most of it and its neighbours, as a bump.
    ``border``: the outermost tiles.
    """
    if heat == "border":
        cam = np.zeros((CAM_SIZE, CAM_SIZE), np.float32)
        cam[[0, -1]] = cam[:, [0, -1]] = 1
        return cam
    region = masks.nucleus.astype(np.float32) if heat == "nucleus" else 1 - masks.cell
    tiles = cv2.resize(np.asarray(region, np.float32), (CAM_SIZE, CAM_SIZE), interpolation=cv2.INTER_AREA)
    row, column = np.unravel_index(int(tiles.argmax()), tiles.shape)
    rows, columns = np.indices(tiles.shape)
    distance = (rows - row) ** 2 + (columns - column) ** 2
    return np.asarray(np.exp(-distance / 2) * (distance <= 2), np.float32)


def agreement_table(cases: Sequence[FocusCase]) -> Table:
    """A row for each kind of heatmap."""
    table = Table(
        "heatmap", "images", *(f"{one} by true masks" for one in JUDGEMENTS), "same verdict",
        "sound or not: same", "told (not sound)", "mean difference of rho",
        title="Focus verdict by the service's masks against true masks", caption=DISCLAIMER,
    )  # fmt: skip
    for heat in HEATS:
        table.add_row(*summary(heat, [case for case in cases if case.heat == heat]))
    return table


def summary(heat: Heat, cases: Sequence[FocusCase]) -> tuple[str, ...]:
    """One row; ``told`` is the share whose verdict by serving's masks is not ``sound``."""
    n = len(cases)
    same = sum(case.served == case.true for case in cases)
    flagged = [(case.served != "sound", case.true != "sound") for case in cases]
    difference = float(np.mean([abs(case.served_ratio - case.true_ratio) for case in cases]))
    return (
        "the network's" if heat == "model" else f"planted: {heat}",
        str(n),
        *(str(sum(case.true == one for case in cases)) for one in JUDGEMENTS),
        f"{same / n:.1%}",
        f"{sum(one == other for one, other in flagged) / n:.1%}",
        f"{sum(one for one, _ in flagged) / n:.1%}",
        f"{difference:.3f}",
    )


def _case(
    heat: Heat,
    views: Float32Array,
    mode: TtaMode,
    found: Served,
    truth: CellMasks,
    shape: tuple[int, ...],
) -> FocusCase:
    own, true = (
        assemble(views, mode, masks, found.prepared.window, shape) for masks in (found.prepared.masks, truth)
    )
    return FocusCase(
        heat,
        judge_focus(found.finding, own).judgement,
        judge_focus(found.finding, true).judgement,
        own.focus_ratio,
        true.focus_ratio,
    )
