"""How the images of a run are prepared: its recipe, with the colours of its own training images.

It is written down beside the run's models, so that they can be evaluated by it.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import cell_window, extract
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.stain import LabStatistics, fit_reinhard_reference
from training.images import LoadedImage
from training.run_config import TrainingConfig
from training.run_folder import RunFolder

RECIPE: Final = "recipe"
"""The key of the manifest that has it."""


def run_recipe(config: TrainingConfig, images: Sequence[LoadedImage]) -> Recipe:
    """The recipe of the configuration; with ``reinhard``, mapped onto the mean of the training ``images``."""
    if config.color_normalization == "none":
        return config.recipe
    count = config.normalization_reference_samples
    reference = training_colours(images, config.recipe.crop_scale, count, config.seed)
    return replace(config.recipe, reinhard=reference)


def training_colours(
    images: Sequence[LoadedImage], crop_scale: float | None, count: int, seed: int
) -> LabStatistics:
    """Mean LAB statistics of the crops of at most ``count`` images, chosen by ``seed``."""
    chosen = np.random.default_rng(seed).choice(len(images), min(count, len(images)), replace=False)
    return fit_reinhard_reference(
        extract(image.rgb, cell_window(image.cell, crop_scale, image.rgb.shape), IMAGE_SIZE)
        for image in (images[index] for index in sorted(chosen))
    )


def copied_manifest(model_path: Path) -> Path:
    """Where the manifest of a run lies beside a copy of its model: ``x.run.json`` for ``x.keras``."""
    return model_path.with_suffix(".run.json")


def recipe_beside(model_path: Path) -> Recipe | None:
    """The recipe that a model (``.keras``) was trained by; None where no manifest beside it says so."""
    if model_path.suffix != ".keras":
        return None
    for manifest in (copied_manifest(model_path), RunFolder(model_path.parent).manifest):
        if manifest.is_file() and (recipe := json.loads(manifest.read_text(encoding="utf-8")).get(RECIPE)):
            colours = recipe["reinhard"]
            reinhard = colours and LabStatistics(tuple(colours["mean"]), tuple(colours["std"]))
            return Recipe(recipe["crop_scale"], reinhard, recipe["mef_version"])
    return None
