"""What each step of the way is worth: the adaptation table and the table of preprocessing versions.

One model goes through both; only the way to it and the decision after it change. So the tables say what that
model gains or bears, not what another would reach that was trained on such input. Every row states all of
its settings, and what it presumes to be known: routing ``main`` and ``aux`` are the reference system's and
rest on knowing that a split holds only lymphocytes and neutrophils, which a product cannot know.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from orchestrator.errors import ConfigurationError
from orchestrator.profiles import Profile
from orchestrator.routing import RoutingPolicy
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.quality import GENERAL_LIMITS
from orchestrator.vision.stain import CALIBRATED_MACENKO, UNCALIBRATED_MACENKO
from orchestrator.vision.tta import CODES, TtaMode
from training.calibrate import fit_temperature
from training.cell_scores import CellScores, full_scores
from training.cells import SeenCell, averaged_views, judge, look, without_rare_classes
from training.datasets import Sample, read_split, validation_split
from training.evaluate import (
    UNSEEN_DEVICE_SPLIT,
    EvaluationSettings,
    adapted_profile,
    chosen_samples,
    prior_policy,
    reinhard_reference,
    training_shares,
)
from training.predictors import Predictor, open_predictor

ADAPTATION: Final = "adaptation"
PREPROCESSING: Final = "preprocessing"

VALIDATION_FRACTION: Final = 0.15
"""Share of the reference split whose images fit the temperature: `wbc-train train` holds the same out by
default, so that with its seed they are images that the model was not trained on."""

NOTHING: Final = "nothing"
_TWO_CLASSES: Final = f"that {UNSEEN_DEVICE_SPLIT} holds only lymphocytes and neutrophils"
_SPECIMEN: Final = "that the cells of a split are one specimen, and are all there before the first decision"


@dataclass(frozen=True, slots=True)
class Variant:
    """One row: its name, what it presumes to be known, and everything that is done to an image.

    ``policy`` decides; where ``only_on`` names a split, others take the most probable class. With
    ``estimate_prior`` the shares of the classes are estimated on each split, and weigh the answers.
    """

    table: str
    name: str
    presumes: str
    recipe: Recipe
    tta: TtaMode
    policy: RoutingPolicy
    only_on: str | None = None
    estimate_prior: bool = False
    adaptive_margin: float = 1.0

    def settings(self) -> dict[str, str]:
        """What is switched on, in words."""
        recipe = self.recipe
        macenko = ", Macenko as for H&E" if recipe.macenko == UNCALIBRATED_MACENKO else ", Macenko calibrated"
        routing = "prior, estimated" if self.estimate_prior else self.policy.mode
        return {
            "crop": "whole frame" if recipe.crop_scale is None else f"{recipe.crop_scale:g} cells",
            "mef": recipe.mef_version + (macenko if recipe.mef_version == "v4" else ""),
            "reinhard": "no" if recipe.reinhard is None else "yes",
            "tta": self.tta,
            "temperature": f"{self.policy.temperature:.3g}",
            "routing": routing + (f" ({self.only_on} only)" if self.only_on else ""),
        }

    def policy_on(self, split: str, cells: Sequence[SeenCell], shares: tuple[float, ...]) -> RoutingPolicy:
        """What decides on the cells of a split; ``shares`` of the classes are those in training."""
        if self.only_on not in (None, split):
            return replace(self.policy, mode="none")
        return prior_policy(cells, self.tta, self.policy, shares) if self.estimate_prior else self.policy


@dataclass(frozen=True, slots=True)
class AblationRow:
    """A variant's scores on one set of images."""

    variant: Variant
    split: str
    scores: CellScores


def adaptation_variants(
    profile: Profile, whole: Recipe, cropped: Recipe, temperature: float
) -> list[Variant]:
    """The rows of the adaptation table.

    ``whole`` and ``cropped`` are the whole frame and the cell-centred crop at MEF v1, each with the Reinhard
    reference of its own framing. First the reference system's steps, each on top of the one before, then this
    project's, again from nothing.
    """
    plain, crop = replace(whole, reinhard=None), replace(cropped, reinhard=None)
    none = replace(profile.routing, mode="none", temperature=1.0, prior=None, training_prior=None)
    warm = replace(none, temperature=temperature)
    main, aux = replace(none, mode="main"), replace(none, mode="aux")

    def row(
        name: str, recipe: Recipe, tta: TtaMode, policy: RoutingPolicy, *, knows_two_classes: bool = False
    ) -> Variant:
        presumes = _TWO_CLASSES if knows_two_classes else NOTHING
        only_on = UNSEEN_DEVICE_SPLIT if knows_two_classes else None
        return Variant(ADAPTATION, name, presumes, recipe, tta, policy, only_on)

    rows = [
        row("none", plain, "none", none),
        row("reference: + routing aux", plain, "none", aux, knows_two_classes=True),
        row("reference: + routing main (instead of aux)", plain, "none", main, knows_two_classes=True),
        row("reference: + Reinhard", whole, "none", main, knows_two_classes=True),
        row("reference: + TTA", whole, "light", main, knows_two_classes=True),
        row("ours: none + cell-centred crop", crop, "none", none),
    ]
    if profile.recipe.mef_version != "v1":
        crop = replace(crop, mef_version=profile.recipe.mef_version, macenko=profile.recipe.macenko)
        rows.append(row(f"ours: + MEF {crop.mef_version} (instead of v1)", crop, "none", none))
    by_prior = Variant(ADAPTATION, "ours: + prior", _SPECIMEN, crop, "light", warm, estimate_prior=True)
    served_presumes = "the shares of the classes that it names" if profile.routing.prior else NOTHING
    return [
        *rows,
        row("ours: + TTA", crop, "light", none),
        row("ours: + temperature", crop, "light", warm),
        by_prior,
        row(
            "ours: + Reinhard (without the prior)",
            replace(crop, reinhard=cropped.reinhard),
            "light",
            warm,
        ),
        Variant(
            ADAPTATION,
            f"profile {profile.name} as it is",
            served_presumes,
            profile.recipe,
            profile.tta,
            profile.routing,
            adaptive_margin=profile.adaptive_margin,
        ),
    ]


def preprocessing_variants(profile: Profile) -> list[Variant]:
    """The rows of the preprocessing table: the profile's way with each version of the filter in turn."""
    base = replace(profile.recipe, macenko=None)
    versions = {
        "v1": replace(base, mef_version="v1"),
        "v2": replace(base, mef_version="v2"),
        "v3": replace(base, mef_version="v3"),
        "v4, uncalibrated": replace(base, mef_version="v4", macenko=UNCALIBRATED_MACENKO),
        "v4, calibrated": replace(
            base, mef_version="v4", macenko=profile.recipe.macenko or CALIBRATED_MACENKO
        ),
        "v5": replace(base, mef_version="v5"),
    }
    served = profile.recipe.mef_version
    return [
        Variant(
            PREPROCESSING,
            f"{name} (the profile's)" if recipe.mef_version == served else name,
            NOTHING,
            recipe,
            profile.tta,
            profile.routing,
            adaptive_margin=profile.adaptive_margin,
        )
        for name, recipe in versions.items()
    ]


def run_ablation(settings: EvaluationSettings, temperature: float | None = None) -> list[AblationRow]:
    """Both tables on the settings' splits, in one run; a network pass for each distinct preprocessing.

    ``temperature`` is that of its row; where None it is fitted on the validation part of the reference split.

    Raises:
        ConfigurationError: the model, the profile or a split is missing, or a setting contradicts the tables.
    """
    contradicting = {
        "--tta": settings.tta,
        "--testb-binary-mode": settings.testb_binary_mode,
        "--color-normalization": settings.color_normalization,
        "--preprocessing": settings.preprocessing,
        "--crop-scale": settings.crop_scale,
        "--focus": settings.focus or None,
    }
    if asked := [option for option, value in contradicting.items() if value is not None]:
        raise ConfigurationError(f"--ablation switches these by itself: leave out {', '.join(asked)}")
    predict = open_predictor(settings.model_path, settings.runtime)
    profile = adapted_profile(settings)
    splits = chosen_samples(settings)

    crop_scale = profile.recipe.crop_scale or Recipe().crop_scale
    whole = Recipe(None, reinhard_reference(settings, None), "v1")
    cropped = Recipe(crop_scale, reinhard_reference(settings, crop_scale), "v1")
    if temperature is None:
        mef = replace(profile.recipe, crop_scale=crop_scale, reinhard=None)
        temperature = fitted_temperature(settings, predict, mef)
    variants = [
        *adaptation_variants(profile, whole, cropped, temperature),
        *preprocessing_variants(profile),
    ]
    return list(_rows(settings, variants, splits, predict))


def fitted_temperature(settings: EvaluationSettings, predict: Predictor, recipe: Recipe) -> float:
    """Of the validation part of the reference split (see :data:`VALIDATION_FRACTION`), with eight views.

    Raises :class:`ConfigurationError` where the split is missing.
    """
    samples = read_split(settings.data_root, settings.normalization_reference_split)
    _, held_out = validation_split(samples, VALIDATION_FRACTION, settings.seed)
    seen = look(
        predict,
        held_out,
        recipe,
        "light",
        "temperature",
        limits=GENERAL_LIMITS,
        batch_size=settings.batch_size,
    )
    answers = [averaged_views(cell, "light").probabilities for cell in seen]
    return fit_temperature(answers, [sample.class_index for sample in held_out])


def _rows(
    settings: EvaluationSettings,
    variants: Sequence[Variant],
    splits: Mapping[str, Sequence[Sample]],
    predict: Predictor,
) -> Iterator[AblationRow]:
    seen = _seen(settings, variants, splits, predict)
    shares = training_shares(settings)
    for variant in variants:
        for split in splits:
            cells = seen[variant.recipe][split]
            policy = variant.policy_on(split, cells, shares)
            judged = [judge(cell, variant.tta, policy, variant.adaptive_margin) for cell in cells]
            yield AblationRow(variant, split, full_scores(judged, settings.resamples))
            if common := without_rare_classes(split, judged):
                yield AblationRow(variant, common[0], full_scores(common[1], settings.resamples))


def _seen(
    settings: EvaluationSettings,
    variants: Sequence[Variant],
    splits: Mapping[str, Sequence[Sample]],
    predict: Predictor,
) -> dict[Recipe, dict[str, list[SeenCell]]]:
    """Every split by every recipe, once, with as many views as any variant of it needs."""
    modes: dict[Recipe, TtaMode] = {}
    for variant in variants:
        mode = modes.get(variant.recipe, variant.tta)
        modes[variant.recipe] = max(mode, variant.tta, key=lambda one: len(CODES[one]))
    return {
        recipe: {
            split: list(
                look(
                    predict,
                    samples,
                    recipe,
                    mode,
                    f"{number} of {len(modes)}: {recipe.mef_version}, {split}",
                    limits=GENERAL_LIMITS,
                    batch_size=settings.batch_size,
                )
            )
            for split, samples in splits.items()
        }
        for number, (recipe, mode) in enumerate(modes.items(), start=1)
    }
