"""An evaluation: whole splits judged, in this process or by a running service, and written down.

The steps of one cell are in :mod:`training.cells`, the figures in :mod:`training.cell_scores`, the files in
:mod:`training.evaluation_files`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from orchestrator.domain import MefVersion, RoutingMode, UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import IMAGE_SIZE, NUM_CLASSES
from orchestrator.profiles import Profile, load_profiles
from orchestrator.routing import RoutingPolicy, calibrate
from orchestrator.vision.crop import cell_window, extract, locate_cell
from orchestrator.vision.stain import LabStatistics, fit_reinhard_reference
from orchestrator.vision.tta import TtaMode
from training.cell_scores import RESAMPLES, CellScores, full_scores, score_cells, scores_table, trust_table
from training.cells import (
    JudgedCell,
    ScoredCell,
    SeenCell,
    averaged_views,
    by_device,
    evaluate_cells,
    judge,
    look,
)
from training.datasets import Sample, read_device, read_split
from training.device_profile import EQUAL_SHARES, smoothed_prior
from training.endpoint import Endpoint
from training.evaluation_files import write_evaluation
from training.predictors import (
    Predictor,
    Runtime,
    is_keras_file,
    model_identity,
    open_predictor,
    saved_model_predictor,
)
from training.run_recipe import recipe_beside
from training.true_masks import read_mask_paths

__all__ = [  # what publishing a model needs stands here, wherever it is written
    "EvaluationSettings",
    "Predictor",
    "ScoredCell",
    "by_device",
    "chosen_profile",
    "evaluate_cells",
    "evaluate_splits",
    "evaluate_through",
    "full_scores",
    "saved_model_predictor",
    "score_cells",
    "scores_table",
    "trust_table",
]

COMBINED: Final = "combined"
UNSEEN_DEVICE_SPLIT: Final = "TestB"
"""The split that ``testb_binary_mode`` is about."""


@dataclass(frozen=True, slots=True)
class EvaluationSettings:
    """What is evaluated and how; None leaves the profile's own.

    ``more_devices`` are folders of further devices (:func:`training.datasets.read_device`), judged as splits
    of their names. A ``model_path`` that is a ``.keras`` file is shown the pixels of its own run in place of
    the profile's, where its manifest lies beside it. ``crop_scale`` is 0 for the whole frame. ``limit``
    images of a split are drawn by ``seed``, as are the images of the Reinhard reference. ``resamples`` of the
    cells make the intervals. ``testb_binary_mode`` is the routing of the split TestB alone. ``batch_size``
    counts images.
    """

    data_root: Path
    output_dir: Path
    splits: tuple[str, ...] = ("TestA", "TestB")
    model_path: Path = Path("model_repository/wbc/9")
    runtime: Runtime = "embedded"
    profile: str = "default"
    profiles_dir: Path | None = None
    batch_size: int = 4
    limit: int | None = None
    tta: TtaMode | None = None
    testb_binary_mode: RoutingMode | None = None
    color_normalization: Literal["none", "reinhard"] | None = None
    normalization_reference_split: str = "Train"
    normalization_reference_samples: int = 1200
    preprocessing: MefVersion | None = None
    crop_scale: float | None = None
    seed: int = 42
    focus: bool = False
    resamples: int = RESAMPLES
    more_devices: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class JudgedSplits:
    """The cells of each split, the profile that judged them, and the routing of each split."""

    cells: dict[str, list[ScoredCell]]
    profile: Profile
    routings: dict[str, RoutingPolicy]


def evaluate_splits(settings: EvaluationSettings) -> dict[str, CellScores]:
    """Judge whole splits in this process; write a folder for each, and one for all together.

    Raises as :func:`judge_splits`.
    """
    judged = judge_splits(settings)
    evaluated = {
        "way": "in this process, runtime "
        + ("keras" if is_keras_file(settings.model_path) else settings.runtime),
        "model": asdict(model_identity(settings.model_path)),
        "profile": judged.profile.name,
        "preprocessing": asdict(judged.profile.recipe),
        "tta": judged.profile.tta,
        "routing": {split: asdict(policy) for split, policy in judged.routings.items()},
    }
    return _write(settings, judged.cells, evaluated)


def judge_splits(settings: EvaluationSettings) -> JudgedSplits:
    """Judge whole splits in this process; nothing is written.

    Raises:
        ConfigurationError: the model, the profile or a split is missing.
        InvalidImage: an image cannot be decoded.
        ModelServerError: the runtime cannot read the model, or finds another one than the contract's.
    """
    predict = open_predictor(settings.model_path, settings.runtime, explain=settings.focus)
    profile = adapted_profile(settings)
    masks = read_mask_paths(settings.data_root) if settings.focus else None
    judged = JudgedSplits({}, profile, {})
    for split, samples in chosen_samples(settings).items():
        seen = list(
            look(
                predict,
                samples,
                profile.recipe,
                profile.tta,
                split,
                limits=profile.quality,
                batch_size=settings.batch_size,
                mask_paths=masks,
            )
        )
        policy = _routing(settings, profile, split, seen)
        judged.routings[split] = policy
        judged.cells[split] = [judge(cell, profile.tta, policy, profile.adaptive_margin) for cell in seen]
    return judged


def evaluate_through(endpoint: Endpoint, settings: EvaluationSettings) -> dict[str, CellScores]:
    """The same through a running service, whose own profile decides; see :class:`Endpoint` for errors.

    Raises :class:`ConfigurationError` besides where a setting asks for what a caller of the service cannot
    choose.
    """
    not_a_callers = {
        "--tta": settings.tta,
        "--testb-binary-mode": settings.testb_binary_mode,
        "--color-normalization": settings.color_normalization,
        "--preprocessing": settings.preprocessing,
        "--crop-scale": settings.crop_scale,
        "--profiles-dir": settings.profiles_dir,
    }
    if asked := [option for option, value in not_a_callers.items() if value is not None]:
        raise ConfigurationError(
            f"--endpoint: the profile of the service decides, so leave out {', '.join(asked)}; start the "
            "service with another profile (WBC_PROFILES_DIR) and name it with --profile"
        )
    judged, models = {}, set()
    for split, samples in chosen_samples(settings).items():
        answered = endpoint.evaluate(samples, settings.profile, split, focus=settings.focus)
        judged[split] = answered.cells
        models.add(answered.model)
    if len(models) != 1:
        raise ConfigurationError(
            f"expected one model for all splits, {endpoint.url} answered with {len(models)}"
        )
    evaluated = {
        "way": f"POST {endpoint.url}/v1/analyses",
        "model": asdict(models.pop()),
        "profile": settings.profile,
    }
    return _write(settings, judged, evaluated)


def _write(
    settings: EvaluationSettings, judged: Mapping[str, Sequence[JudgedCell]], evaluated: Mapping[str, Any]
) -> dict[str, CellScores]:
    sets = dict(judged)
    if len(judged) > 1:
        sets[COMBINED] = [cell for cells in judged.values() for cell in cells]
    about = {
        **evaluated,
        "splits": list(judged),
        "limit": settings.limit,
        "seed": settings.seed,
        "review": "by quality of the image, energy, confidence and margin"
        + (", and where the heatmap lies" if settings.focus else "; the heatmap was not asked for"),
    }
    scores: dict[str, CellScores] = {}
    for name, cells in sets.items():
        scores |= write_evaluation(settings.output_dir / name, name, cells, about, settings.resamples)
    return scores


def chosen_samples(settings: EvaluationSettings) -> dict[str, list[Sample]]:
    """The samples of each split, at most ``limit`` of them.

    Raises :class:`ConfigurationError` where a split is missing.
    """
    chosen = {}
    for split in settings.splits:
        samples = read_split(settings.data_root, split)
        chosen[split] = _drawn(samples, settings.limit, settings.seed)
    for folder in settings.more_devices:
        chosen[folder.name] = _drawn(read_device(folder), settings.limit, settings.seed)
    return chosen


def _drawn(samples: Sequence[Sample], limit: int | None, seed: int) -> list[Sample]:
    """``limit`` samples drawn by ``seed``, in their order; samples lie by class, so that the first few would
    be of one class."""
    if limit is None or len(samples) <= limit:
        return list(samples)
    indices = np.random.default_rng(seed).choice(len(samples), limit, replace=False)
    return [samples[index] for index in sorted(indices)]


def chosen_profile(name: str, tta_mode: TtaMode | None = None, profiles_dir: Path | None = None) -> Profile:
    """A built-in profile or one of ``profiles_dir``, with another test-time augmentation where one is named.

    Raises :class:`ConfigurationError` where there is no such profile.
    """
    profiles = load_profiles(profiles_dir)
    if name not in profiles:
        raise ConfigurationError(f"no profile {name!r}; there are {', '.join(profiles)}")
    profile = profiles[name]
    return profile if tta_mode is None else replace(profile, tta=tta_mode)


def adapted_profile(settings: EvaluationSettings) -> Profile:
    """The profile with what the settings change of it, routing apart.

    Raises :class:`ConfigurationError` where the profile or the split of the Reinhard reference is missing.
    """
    profile = chosen_profile(settings.profile, settings.tta, settings.profiles_dir)
    recipe = recipe_beside(settings.model_path) or profile.recipe
    if settings.crop_scale is not None:
        recipe = replace(recipe, crop_scale=settings.crop_scale or None)
    if settings.preprocessing is not None and settings.preprocessing != recipe.mef_version:
        recipe = replace(recipe, mef_version=settings.preprocessing, macenko=None)
    if settings.color_normalization == "none":
        recipe = replace(recipe, reinhard=None)
    elif settings.color_normalization == "reinhard":
        recipe = replace(recipe, reinhard=reinhard_reference(settings, recipe.crop_scale))
    return replace(profile, recipe=recipe)


def reinhard_reference(settings: EvaluationSettings, crop_scale: float | None) -> LabStatistics:
    """Mean LAB statistics of the reference split's images, cut out as the model's input is."""

    def crops() -> Iterator[UInt8Array]:
        samples = read_split(settings.data_root, settings.normalization_reference_split)
        for sample in _drawn(samples, settings.normalization_reference_samples, settings.seed):
            rgb = sample.load()
            yield extract(rgb, cell_window(locate_cell(rgb), crop_scale, rgb.shape), IMAGE_SIZE)

    return fit_reinhard_reference(crops())


def training_shares(settings: EvaluationSettings) -> tuple[float, ...]:
    """Shares of the classes in the reference split, which the model was trained on; equal ones without it."""
    if not (settings.data_root / settings.normalization_reference_split).is_dir():
        return EQUAL_SHARES
    samples = read_split(settings.data_root, settings.normalization_reference_split)
    counts = Counter(sample.class_index for sample in samples)
    if len(counts) < NUM_CLASSES:
        return EQUAL_SHARES
    return tuple(counts[index] / len(samples) for index in range(NUM_CLASSES))


def prior_policy(
    seen: Sequence[SeenCell], mode: TtaMode, policy: RoutingPolicy, training_prior: tuple[float, ...]
) -> RoutingPolicy:
    """The policy with routing ``prior``, by the shares of the classes among these very cells, without labels.

    Saerens et al. 2002 (see :mod:`orchestrator.routing`). The cells count as one specimen.
    """
    answers = np.array([averaged_views(cell, mode).probabilities for cell in seen])
    shares = smoothed_prior(calibrate(answers, policy.temperature), training_prior)
    return replace(policy, mode="prior", prior=shares, training_prior=training_prior)


def _routing(
    settings: EvaluationSettings, profile: Profile, split: str, seen: Sequence[SeenCell]
) -> RoutingPolicy:
    mode = settings.testb_binary_mode
    if mode is None or split != UNSEEN_DEVICE_SPLIT:
        return profile.routing
    if mode == "prior":
        return prior_policy(seen, profile.tta, profile.routing, training_shares(settings))
    return replace(profile.routing, mode=mode, prior=None, training_prior=None)
