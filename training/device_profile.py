"""A device profile proposed from images of a new microscope: what it changes, and what that rests on.

Unlabelled images give the scale, the colours, the shares of the classes, the limit of the energy, what
quality is usual, so that they must be good ones, and where the device's cells lie by the network's features,
by the classes that they are taken for. Only labels can say how sure the model may be (the temperature). What
has been seen to hurt on some devices, Reinhard normalisation, and what decides by an estimate, the prior, are
measured in any case and switched on only where asked for.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from orchestrator.cell_features import (
    MIN_FITTED,
    USUAL_SHARE,
    FeatureStatistics,
    Projection,
    device_statistics,
)
from orchestrator.domain import DISCLAIMER, CellViews, Finding, Prediction, UInt8Array, ViewBatch
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, NUM_CLASSES
from orchestrator.profiles import Profile
from orchestrator.routing import (
    AveragedPrediction,
    RoutingPolicy,
    average,
    calibrate,
    estimate_prior,
    route,
)
from orchestrator.views import rows_of
from orchestrator.vision import quality, tta
from orchestrator.vision.crop import CellLocation
from orchestrator.vision.decode import decode
from orchestrator.vision.preprocessing import Recipe, preprocess
from orchestrator.vision.quality import QualityLimits
from orchestrator.vision.stain import LabStatistics, lab_statistics
from training.calibrate import energy_limit, fit_temperature
from training.datasets import IMAGE_SUFFIXES
from training.metrics import accuracy, balanced_accuracy

_stderr = Console(stderr=True)

Predictor = Callable[[ViewBatch], Prediction]
ReinhardChoice = Literal["base", "off", "device", "training"]

MIN_LABELLED: Final = 20
"""Fewer labelled images than these say nothing about a temperature."""

MIN_FOR_LIMIT: Final = 30
"""Fewer images than these do not show the upper few percent of their energies."""

MIN_FOUND_SHARE: Final = 0.5
"""Where a cell is found in fewer images than this share, cropping to what is found would do harm."""

UNUSUAL_SHARE: Final = 0.01
"""Share of the device's own images that lie below each limit of their quality."""

LEAST_LIGHT: Final = 0.75
"""Light that is too little, over the least that is usual on the device: nothing is lost with a bit less."""

EQUAL_SHARES: Final = (1 / NUM_CLASSES,) * NUM_CLASSES


@dataclass(frozen=True, slots=True)
class DeviceImage:
    """An image file of the device; ``class_index`` is None where it has no label."""

    path: Path
    class_index: int | None = None

    def load(self) -> UInt8Array:
        """Decode the file to uint8 ``[H, W, 3]`` RGB by the very code that serves."""
        return decode(self.path.read_bytes()).rgb


@dataclass(frozen=True, slots=True)
class Choices:
    """What is switched on, and what the estimates start from.

    ``reinhard``: leave what the base profile has, switch it off, or map colours onto the mean of the device's
    own images or of the training images. ``use_prior``: decide by the shares of the classes.
    ``training_prior``: shares of the classes in training. ``review_share``: share of such images that the
    limit of the energy sends to review.
    """

    reinhard: ReinhardChoice = "base"
    use_prior: bool = False
    training_prior: tuple[float, ...] = EQUAL_SHARES
    review_share: float = 0.03


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the comparison: a setting, the base's value, the proposed one, and what it rests on."""

    setting: str
    base: str
    proposed: str
    reason: str


@dataclass(frozen=True, slots=True)
class Proposal:
    """A profile, what it changes, and what was measured and left switched off (None where it is on)."""

    profile: Profile
    changes: tuple[Change, ...]
    effects: tuple[Change, ...]
    unused_reinhard: LabStatistics | None
    unused_prior: tuple[float, ...] | None
    training_prior: tuple[float, ...]
    sources: str = field(default="")


def read_device_images(folder: Path, limit: int | None = None) -> list[DeviceImage]:
    """The images of a folder, in the order of their paths; labelled where it has a sub-folder per class.

    Of more than ``limit``, evenly spread ones are taken.

    Raises :class:`ConfigurationError` where there is no image.
    """
    if not folder.is_dir():
        raise ConfigurationError(f"expected a folder of images, received {folder}, which is none")
    images = [
        DeviceImage(path, index)
        for index, name in enumerate(CLASS_NAMES)
        for path in sorted((folder / name).glob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ] or [DeviceImage(path) for path in sorted(folder.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise ConfigurationError(f"expected images in {folder}, or in a sub-folder per class, found none")
    if limit is not None and len(images) > limit:
        images = [images[i] for i in np.linspace(0, len(images) - 1, limit).round().astype(int)]
    return images


def propose(
    name: str,
    images: Sequence[DeviceImage],
    base: Profile,
    predict: Predictor,
    choices: Choices = Choices(),
    *,
    training_images: Iterable[UInt8Array] = (),
    description: str | None = None,
    directions: Projection | None = None,
) -> Proposal:
    """Measure the images and propose the profile ``name``; nothing is written.

    ``training_images`` are decoded images, asked for only with ``reinhard="training"``. ``directions`` are
    those of the model that ``predict`` asks; without them the profile says nothing of its cells' features.

    Raises:
        ConfigurationError: a choice is wrong, or asks for images that are not given.
        InvalidImage: an image cannot be read.
    """
    seen = list(_look(images, base, base.recipe, predict))
    recipe, recipe_changes, unused_reinhard = _recipe(seen, base, choices, training_images)
    before = [look.answer for look in seen]
    seen_anew = seen if recipe == base.recipe else list(_look(images, base, recipe, predict))
    after = [look.answer for look in seen_anew]
    probabilities = np.array([answer.probabilities for answer in after])
    truth = [image.class_index for image in images if image.class_index is not None]

    temperature, why_temperature = _temperature(probabilities, truth, len(images))
    shares = smoothed_prior(calibrate(probabilities, temperature), choices.training_prior)
    limit, why_limit = _energy_limit(after, choices.review_share)
    routing = replace(base.routing, temperature=temperature, max_energy=limit)
    usual, why_usual = _quality(seen, base.quality)
    features, why_features = _features(seen_anew, routing, directions)
    if choices.use_prior:
        routing = replace(routing, mode="prior", prior=shares, training_prior=choices.training_prior)
    profile = Profile(
        name,
        description or f"Made from {len(images)} images by wbc-train profile.",
        recipe,
        base.tta,
        routing,
        base.adaptive_margin,
        quality=usual,
        features=features,
    )
    old = base.routing
    prior_state = "decides" if choices.use_prior else "measured, switched off"
    changes = (
        *recipe_changes,
        Change("temperature", f"{old.temperature:g}", f"{temperature:g}", why_temperature),
        Change("max_energy", _number(old.max_energy), _number(limit), why_limit),
        Change("quality", _limits(base.quality), _limits(usual), why_usual),
        Change("features", _features_text(base.features), _features_text(features), why_features),
        Change(
            "routing mode", old.mode, routing.mode, "as the base" if old.mode == routing.mode else "chosen"
        ),
        Change(
            "prior",
            "none" if old.prior is None else _shares(old.prior),
            _shares(shares),
            f"expectation-maximisation over {len(images)} answers; {prior_state}",
        ),
    )
    return Proposal(
        profile,
        changes,
        _effects(before, base, after, profile, truth),
        unused_reinhard,
        None if choices.use_prior else shares,
        choices.training_prior,
        f"{len(images)} images, {len(truth)} of them labelled; base profile {base.name}",
    )


def comparison_table(proposal: Proposal) -> Table:
    """What the profile changes, for the terminal."""
    title = f"profile {proposal.profile.name}: {proposal.sources}"
    table = Table("setting", "base", "proposed", "what it rests on", title=title, caption=DISCLAIMER)
    for change in proposal.changes:
        same = change.base == change.proposed
        table.add_row(
            change.setting, change.base, change.proposed, change.reason, style="dim" if same else ""
        )
    table.add_section()
    for change in proposal.effects:
        table.add_row(change.setting, change.base, change.proposed, change.reason)
    return table


@dataclass(frozen=True, slots=True)
class _Look:
    """One image: the colours of its crop, the cell and its size as a share of the frame's side, the answer of
    all views and of the first, and what its quality is told by (the sharpness is None where there is no
    cell)."""

    colours: LabStatistics
    cell: CellLocation | None
    cell_share: float | None
    answer: AveragedPrediction
    first: AveragedPrediction
    background: float
    sharpness: float | None


def _look(
    images: Sequence[DeviceImage], base: Profile, recipe: Recipe, predict: Predictor
) -> Iterator[_Look]:
    what = f"by the recipe of {base.name}" if recipe == base.recipe else "by the new recipe"
    for image in track(images, what, console=_stderr):
        rgb = image.load()
        prepared = preprocess(rgb, recipe)
        cell = prepared.cell
        said = predict(rows_of(CellViews(prepared.pixels, tta.CODES[base.tta], prepared.morphometry)))
        yield _Look(
            lab_statistics(prepared.crop),
            cell,
            None if cell is None else cell.size / min(rgb.shape[:2]),
            average(said),
            average(said.part(0, 1)),
            quality.background(rgb),
            None if cell is None else quality.sharpness(rgb, cell.size, (cell.row, cell.column)),
        )


def _recipe(
    seen: Sequence[_Look], base: Profile, choices: Choices, training_images: Iterable[UInt8Array]
) -> tuple[Recipe, list[Change], LabStatistics | None]:
    cell_shares = [look.cell_share for look in seen if look.cell_share is not None]
    scale, why_scale = _crop_scale(cell_shares, len(seen), base.recipe.crop_scale)
    device = _mean([look.colours for look in seen])
    old = base.recipe.reinhard
    match choices.reinhard:
        case "base":
            new, why = old, "as the base"
        case "off":
            new, why = None, "switched off"
        case "device":
            new, why = device, "mean of these images"
        case "training":
            trained = [lab_statistics(preprocess(rgb, base.recipe).crop) for rgb in training_images]
            if not trained:
                raise ConfigurationError("expected training images to take the Reinhard reference from")
            new, why = _mean(trained), f"mean of {len(trained)} training images"
    changes = [
        Change("crop_scale", _scale(base.recipe.crop_scale), _scale(scale), why_scale),
        Change("Reinhard", _lab(old), _lab(new), why),
        Change("colours (LAB)", "", _lab(device), "of these images; colours alone change nothing"),
    ]
    recipe = replace(base.recipe, crop_scale=scale, reinhard=new)
    return recipe, changes, None if new == device else device


def _crop_scale(
    cell_shares: Sequence[float], images: int, base_scale: float | None
) -> tuple[float | None, str]:
    """The base's scale, at which the model was trained, unless the device's frames rule it out."""
    found = f"a cell found in {len(cell_shares)} of {images} images"
    if len(cell_shares) < MIN_FOUND_SHARE * images:
        return None, f"{found}: too few to crop by"
    share = float(np.median(cell_shares))
    measured = f"{found}, filling {share:.0%} of the frame's side (median)"
    if base_scale is None or base_scale * share <= 1:
        return base_scale, measured
    # The window would reach beyond the frame, and mirrored smear would fill it.
    return max(1.0, np.floor(20 / share) / 20), f"{measured}: more than that is not in the frame"


def _quality(seen: Sequence[_Look], base: QualityLimits) -> tuple[QualityLimits, str]:
    """What is usual on the device; the base's limits where there are too few cells to say."""
    stains = [look.cell.stain for look in seen if look.cell is not None and look.cell.stain is not None]
    if len(stains) < MIN_FOR_LIMIT:
        return base, f"{len(stains)} cells are too few for limits (at least {MIN_FOR_LIMIT})"

    def lowest(values: Iterable[float]) -> float:
        return round(float(np.quantile(list(values), UNUSUAL_SHARE)), 3)

    limits = QualityLimits(
        min_sharpness=lowest(look.sharpness for look in seen if look.sharpness is not None),
        min_background=round(LEAST_LIGHT * lowest(look.background for look in seen), 3),
        min_nucleus_density=lowest(stain.density for stain in stains),
        min_nucleus_hue=lowest(stain.hue for stain in stains),
    )
    return limits, f"{UNUSUAL_SHARE:.0%} of these {len(stains)} cells lie below each, but for the light"


def _features(
    seen: Sequence[_Look], routing: RoutingPolicy, directions: Projection | None
) -> tuple[FeatureStatistics | None, str]:
    """Where the device's cells lie, by one view of each, as ``wbc-train features`` has it."""
    if directions is None:
        return None, "nothing is known of this model's features (wbc-train features)"
    answers = [look.first for look in seen if look.cell is not None]
    if len(answers) < MIN_FITTED:
        return None, f"{len(answers)} cells are too few (at least {MIN_FITTED})"
    classes = np.array([route(answer, routing).class_index for answer in answers])
    counts = ", ".join(f"{name} {np.sum(classes == index)}" for index, name in enumerate(CLASS_NAMES))
    return (
        device_statistics(
            directions.place(np.stack([answer.features for answer in answers])), classes, directions
        ),
        f"{USUAL_SHARE:.0%} of these {len(answers)} cells look like the device's; the classes are the "
        f"model's own answers, wrong ones too: {counts}",
    )


def _temperature(probabilities: np.ndarray, truth: Sequence[int], images: int) -> tuple[float, str]:
    if len(truth) < images:
        return 1.0, "the images have no labels, which alone can say how sure the model may be"
    if len(truth) < MIN_LABELLED:
        return 1.0, f"{len(truth)} labelled images are too few (at least {MIN_LABELLED})"
    return round(fit_temperature(probabilities, truth), 3), f"fitted on {len(truth)} labelled images"


def _energy_limit(answers: Sequence[AveragedPrediction], review_share: float) -> tuple[float | None, str]:
    if len(answers) < MIN_FOR_LIMIT:
        return None, f"{len(answers)} images are too few for a limit (at least {MIN_FOR_LIMIT})"
    limit = energy_limit([answer.energy for answer in answers], review_share)
    return round(limit, 3), f"sends {review_share:.0%} of these images to review"


def smoothed_prior(probabilities: np.ndarray, training_prior: Sequence[float]) -> tuple[float, ...]:
    """The shares of the classes among N cells, for routing ``prior``; ``probabilities`` are float ``[N, 5]``.

    As :func:`orchestrator.routing.estimate_prior` finds them, with one imagined cell of each class: no class
    is ruled out by a sample.
    """
    cells = len(probabilities)
    shares = (estimate_prior(probabilities, training_prior) * cells + 1) / (cells + NUM_CLASSES)
    return tuple(round(float(share), 4) for share in shares)


def _effects(
    before: Sequence[AveragedPrediction],
    base: Profile,
    after: Sequence[AveragedPrediction],
    profile: Profile,
    truth: Sequence[int],
) -> tuple[Change, ...]:
    """What becomes of these very images: fitted to them, so rather too good."""
    old = [route(answer, base.routing) for answer in before]
    new = [route(answer, profile.routing) for answer in after]
    changed = sum(a.class_index != b.class_index for a, b in zip(old, new, strict=True))
    effects = [
        Change("answers that change", "", f"{changed} of {len(new)}", "on these images"),
        Change("sent to review", _review_share(old), _review_share(new), "by confidence, margin and energy"),
    ]
    if len(truth) == len(new):
        for name, metric in (("balanced accuracy", balanced_accuracy), ("accuracy", accuracy)):
            was, is_now = (f"{metric(truth, [f.class_index for f in cells]):.3f}" for cells in (old, new))
            effects.append(Change(name, was, is_now, "on the images that the profile was made from"))
    return tuple(effects)


def _review_share(findings: Sequence[Finding]) -> str:
    return f"{np.mean([finding.needs_review for finding in findings]):.0%}"


def _mean(statistics: Sequence[LabStatistics]) -> LabStatistics:
    """Of the means and of the standard deviations, as Reinhard references are taken, to two decimals."""
    (l_mean, a_mean, b_mean), (l_std, a_std, b_std) = (
        [round(float(value), 2) for value in np.mean(values, axis=0)]
        for values in ([s.mean for s in statistics], [s.std for s in statistics])
    )
    return LabStatistics((l_mean, a_mean, b_mean), (l_std, a_std, b_std))


def _features_text(features: FeatureStatistics | None) -> str:
    if features is None:
        return "none"
    return f"model {features.model_version}, limits {' '.join(f'{limit:g}' for limit in features.limits)}"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:g}"


def _limits(limits: QualityLimits) -> str:
    density, hue = limits.min_nucleus_density, limits.min_nucleus_hue
    nucleus = "by red cells" if density is None or hue is None else f"{density:g}, hue {hue:g}"
    return f"sharpness {limits.min_sharpness:g}, light {limits.min_background:g}, nucleus {nucleus}"


def _scale(value: float | None) -> str:
    return "whole frame" if value is None else f"{value:g}"


def _lab(statistics: LabStatistics | None) -> str:
    if statistics is None:
        return "off"
    return " ".join(f"{m:.0f}±{s:.0f}" for m, s in zip(statistics.mean, statistics.std, strict=True))


def _shares(values: Sequence[float]) -> str:
    return " ".join(f"{name[:1]} {value:.0%}" for name, value in zip(CLASS_NAMES, values, strict=True))
