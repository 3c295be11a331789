"""Labelled images, each seen by the network and then judged, by the very steps that serving takes.

Preprocessing, views, quality checks, averaging and routing are those of :mod:`orchestrator`; only the network
is asked here instead of through a model server. Seeing is what costs time: once seen, an image can be judged
by as many routing rules and temperatures as one likes.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeVar

from rich.console import Console
from rich.progress import track

from orchestrator.domain import CellViews, Finding, Focus, Prediction, ReviewReason
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import Profile
from orchestrator.routing import (
    AveragedPrediction,
    RoutingPolicy,
    average,
    is_clear,
    route,
    with_focus_reason,
)
from orchestrator.views import stacked
from orchestrator.vision import heatmap, quality, tta
from orchestrator.vision.crop import Window
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.tta import TtaMode
from training.datasets import Sample
from training.predictors import Predictor
from training.true_masks import window_masks

_stderr = Console(stderr=True)

MIN_CLASS_SIZE: Final = 5
"""A class with fewer images in a set moves a mean over classes without saying anything."""


@dataclass(frozen=True, slots=True)
class MeasuredFocus:
    """The focus ratio rho in [0, 1], and whose masks it was measured with: people's or this project's."""

    ratio: float
    masks: Literal["true", "own"]


@dataclass(frozen=True, slots=True)
class JudgedCell:
    """One labelled image and the decision about it; ``focus`` is None where it was not measured."""

    sample: Sample
    finding: Finding
    focus: MeasuredFocus | None


@dataclass(frozen=True, slots=True)
class ScoredCell(JudgedCell):
    """The same with what the network said over the views, before calibration and routing, and how many
    views these were."""

    averaged: AveragedPrediction
    views: int


AnyCell = TypeVar("AnyCell", bound=JudgedCell)


@dataclass(frozen=True, slots=True)
class Scene:
    """What measuring the focus of an image takes. ``true`` is None where nobody drew its masks."""

    own: CellMasks
    true: CellMasks | None
    window: Window
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SeenCell:
    """One labelled image, what its quality gives reason to, and the answers for its views, in their order.

    ``scene`` is None where the focus is not to be measured.
    """

    sample: Sample
    quality: tuple[ReviewReason, ...]
    prediction: Prediction
    scene: Scene | None


@dataclass(frozen=True, slots=True)
class _Prepared:
    sample: Sample
    quality: tuple[ReviewReason, ...]
    views: CellViews
    scene: Scene | None


def look(
    predict: Predictor,
    samples: Sequence[Sample],
    recipe: Recipe,
    mode: TtaMode,
    description: str,
    *,
    limits: quality.QualityLimits,
    batch_size: int = 1,
    mask_paths: Mapping[Path, Path] | None = None,
) -> Iterator[SeenCell]:
    """Ask the network about every sample, in the order given, with a progress bar.

    ``limits`` are those of the quality, of the device's profile. ``batch_size`` images go through the network
    at once; the next ones are prepared meanwhile.
    ``mask_paths`` (see :func:`training.true_masks.read_mask_paths`; may be empty) asks for what the focus
    takes; ``predict`` must then answer with ``cams``.

    Raises :class:`orchestrator.errors.InvalidImage` for a file that cannot be decoded.
    """

    def prepare(sample: Sample) -> _Prepared:
        rgb = sample.load()
        prepared = preprocess(rgb, recipe)
        reasons = quality.assess_located(rgb, prepared.cell, limits)
        scene = None
        if mask_paths is not None:
            drawn = mask_paths.get(sample.path)
            true = None if drawn is None else window_masks(drawn, prepared.window, rgb.shape)
            scene = Scene(prepared.masks, true, prepared.window, rgb.shape)
        return _Prepared(
            sample, reasons, CellViews(prepared.pixels, tta.CODES[mode], prepared.morphometry), scene
        )

    chunks = [samples[start : start + batch_size] for start in range(0, len(samples), batch_size)]
    with ThreadPoolExecutor() as pool:
        waiting: deque[list[Future[_Prepared]]] = deque()
        upcoming = iter(chunks)

        def prepare_next() -> None:
            if (chunk := next(upcoming, None)) is not None:
                waiting.append([pool.submit(prepare, sample) for sample in chunk])

        prepare_next()
        for _ in track(chunks, description, console=_stderr):
            prepare_next()  # while the network works on the chunk before it
            yield from _asked(predict, [future.result() for future in waiting.popleft()])


def _asked(predict: Predictor, chunk: Sequence[_Prepared]) -> Iterator[SeenCell]:
    answer = predict(stacked([one.views for one in chunk]))
    first = 0
    for one in chunk:
        last = first + len(one.views)
        yield SeenCell(one.sample, one.quality, answer.part(first, last), one.scene)
        first = last


def averaged_views(seen: SeenCell, mode: TtaMode) -> AveragedPrediction:
    """What the views of ``mode`` say together; the identity is the first of every mode's."""
    return average(seen.prediction.part(0, len(tta.CODES[mode])))


def judge(seen: SeenCell, mode: TtaMode, policy: RoutingPolicy, adaptive_margin: float = 1.0) -> ScoredCell:
    """Decide as the service does on an image seen with at least the views of ``mode``.

    ``adaptive_margin`` is that of the profile, for mode ``adaptive``: where the service would not have asked
    for the other views, their answers are left alone.

    Where the focus is measured, a heatmap beside the cell is a reason for a review, as it is in serving; that
    is told by this project's masks in any case.
    """
    if mode == "adaptive":
        first = judge(seen, "none", policy)
        return first if is_clear(first.finding, adaptive_margin) else judge(seen, "light", policy)
    averaged = averaged_views(seen, mode)
    finding = route(averaged, policy, seen.quality)
    if seen.scene is None or seen.prediction.cams is None:
        return ScoredCell(seen.sample, finding, None, averaged, len(tta.CODES[mode]))
    views = seen.prediction.part(0, len(tta.CODES[mode]))
    own = _focus(views, mode, finding, seen.scene, seen.scene.own)
    focus = MeasuredFocus(own.focus_ratio, "own")
    if seen.scene.true is not None:
        by_true = _focus(views, mode, finding, seen.scene, seen.scene.true)
        focus = MeasuredFocus(by_true.focus_ratio, "true")
    return ScoredCell(seen.sample, with_focus_reason(finding, own), focus, averaged, len(tta.CODES[mode]))


def _focus(views: Prediction, mode: TtaMode, finding: Finding, scene: Scene, masks: CellMasks) -> Focus:
    if views.cams is None:
        raise ValueError("expected an answer with class activation maps, received one without")
    return heatmap.assemble(views.cams[:, finding.class_index], mode, masks, scene.window, scene.shape)


def evaluate_cells(
    predict: Predictor,
    samples: Sequence[Sample],
    profile: Profile,
    description: str = "evaluating",
    *,
    batch_size: int = 1,
    mask_paths: Mapping[Path, Path] | None = None,
) -> list[ScoredCell]:
    """Run every sample through the profile's pipeline; see :func:`look`."""
    seen = look(
        predict,
        samples,
        profile.recipe,
        profile.tta,
        description,
        limits=profile.quality,
        batch_size=batch_size,
        mask_paths=mask_paths,
    )
    return [judge(cell, profile.tta, profile.routing, profile.adaptive_margin) for cell in seen]


def by_device(name: str, cells: Sequence[AnyCell]) -> Iterator[tuple[str, list[AnyCell]]]:
    """The whole set, then its part of each device where there are several."""
    yield name, list(cells)
    devices = sorted({cell.sample.device for cell in cells})
    if len(devices) > 1:
        for device in devices:
            yield f"{name} / {device}", [cell for cell in cells if cell.sample.device == device]


def parts(name: str, cells: Sequence[AnyCell]) -> Iterator[tuple[str, list[AnyCell]]]:
    """The whole set, its devices, and the set without the classes that it hardly holds."""
    yield from by_device(name, cells)
    if common := without_rare_classes(name, cells):
        yield common


def without_rare_classes(name: str, cells: Sequence[AnyCell]) -> tuple[str, list[AnyCell]] | None:
    """The set without its classes of under :data:`MIN_CLASS_SIZE` images, named so; None where all are."""
    sizes = Counter(cell.sample.class_index for cell in cells)
    rare = sorted(index for index, size in sizes.items() if size < MIN_CLASS_SIZE)
    if not rare or len(rare) == len(sizes):
        return None
    left_out = ", ".join(f"{sizes[index]} {CLASS_NAMES[index]}" for index in rare)
    rest = [cell for cell in cells if cell.sample.class_index not in rare]
    return f"{name} without its {left_out}", rest
