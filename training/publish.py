"""``wbc-train export``: a run's best model into the repository, measured as it will be served.

Export, calibration and the figures of the model card belong together: the temperature comes from the
validation part of the run, the figures from the very files that were written.
"""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from rich.console import Console

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import Profile
from training.calibrate import expected_calibration_error, fit_temperature
from training.datasets import data_fingerprint, read_split, validation_split
from training.evaluate import (
    ScoredCell,
    by_device,
    chosen_profile,
    evaluate_cells,
    saved_model_predictor,
    score_cells,
    scores_table,
)
from training.export import export_model
from training.metrics import SplitScores
from training.model_card import ModelCardFacts, write_model_card

console = Console()

_TESTS: Final = ("TestA", "TestB")


def publish(
    run_dir: Path,
    data_root: Path,
    repository: Path,
    version: int,
    profile_name: str = "default",
    *,
    force: bool = False,
) -> Path:
    """Export the best checkpoint of a run, measure the export, write its card; return the version's folder.

    Raises:
        ConfigurationError: the run, the data or the profile is missing, or the data is not the run's.
        FileExistsError: the version exists and ``force`` is not set.
        ContractViolation: the export does not answer as the checkpoint does.
    """
    checkpoint, manifest_path = run_dir / "best.keras", run_dir / "run.json"
    if not (checkpoint.is_file() and manifest_path.is_file()):
        raise ConfigurationError(f"expected best.keras and run.json in {run_dir}; train first")
    manifest: dict[str, Any] = json.loads(manifest_path.read_text(encoding="utf-8"))
    config = manifest["config"]
    samples = [
        sample
        for sample in read_split(data_root, config["train_split"])
        if not config["devices"] or sample.device in config["devices"]
    ]
    if data_fingerprint(samples) != manifest["data_sha256"]:
        raise ConfigurationError(
            f"{data_root}/{config['train_split']} is not the data that the run was trained on"
        )
    _, validation = validation_split(samples, config["val_fraction"], config["seed"])
    profile = chosen_profile(profile_name)

    version_dir = export_model(keras.models.load_model(checkpoint), repository, version, force=force)
    predict = saved_model_predictor(version_dir)

    held_out = evaluate_cells(predict, validation, profile, "validation")
    temperature = fit_temperature(*_probabilities_and_truth(held_out))
    tested = {
        split: evaluate_cells(predict, read_split(data_root, split), profile, split) for split in _TESTS
    }
    without_tta = {
        split: evaluate_cells(predict, read_split(data_root, split), replace(profile, tta="none"), split)
        for split in _TESTS
    }

    results = dict(_rows("validation part of Train", held_out))
    for split, cells in tested.items():
        results |= dict(_rows(split, cells))
    for split, cells in without_tta.items():
        results |= dict(_rows(f"{split}, without TTA", cells))
    facts = ModelCardFacts(
        training={key: value for key, value in config.items() if key not in ("data_root", "run_dir")},
        results=results,
        environment=manifest["versions"],
        procedure=_procedure(manifest, len(samples) - len(validation), len(validation)),
        notes=_notes(profile, temperature, tested),
    )
    card = write_model_card(version_dir, facts)
    console.print(scores_table(results, f"{version_dir}, profile {profile.name}"))
    console.print(f"temperature {temperature:.3f}: for the profiles of the devices trained on; card: {card}")
    return version_dir


MIN_CLASS_SIZE: Final = 5
"""A class with fewer images in a split moves a mean over classes without saying anything."""


def _rows(name: str, cells: list[ScoredCell]) -> list[tuple[str, SplitScores]]:
    """The scores of a split, of its devices, and without the classes that it hardly holds."""
    rows = [(part_name, score_cells(part)) for part_name, part in by_device(name, cells)]
    sizes = Counter(cell.sample.class_index for cell in cells)
    rare = sorted(index for index, size in sizes.items() if size < MIN_CLASS_SIZE)
    if rare and len(rare) < len(sizes):
        rest = [cell for cell in cells if cell.sample.class_index not in rare]
        left_out = ", ".join(f"{sizes[index]} {CLASS_NAMES[index]}" for index in rare)
        rows.append((f"{name} without its {left_out}", score_cells(rest)))
    return rows


def _probabilities_and_truth(cells: list[ScoredCell]) -> tuple[Any, Any]:
    """Uncalibrated, averaged over the views: float64 ``[N, 5]``, and the true classes ``[N]``."""
    return (
        np.array([cell.averaged.probabilities for cell in cells]),
        np.array([cell.sample.class_index for cell in cells]),
    )


def _procedure(manifest: dict[str, Any], n_training: int, n_validation: int) -> str:
    config = manifest["config"]
    phases = []
    if config["progressive_epochs"]:
        phases.append(f"{config['progressive_epochs']} epochs at {config['progressive_img_size']} px")
    phases.append(f"{config['phase2_epochs']} epochs at {config['img_size']} px")
    start = {"none": "random initialisation", "imagenet": "ImageNet weights"}.get(
        config["backbone_weights"], "given weights"
    )
    return (
        f"{config['backbone']} with attention and MedSwish from {start}, trained on {n_training} images of "
        f"{config['train_split']} ({', then '.join(phases)}); {n_validation} images, no slide of which was "
        "trained on, chose the checkpoint of the last phase by balanced accuracy and fitted the temperature. "
        "TestA and TestB chose nothing."
    )


def _notes(profile: Profile, temperature: float, tested: dict[str, list[ScoredCell]]) -> list[str]:
    notes = [
        f"Measured by TensorFlow on the exported files through the whole pipeline of profile "
        f"`{profile.name}` (crop scale {profile.recipe.crop_scale}, MEF {profile.recipe.mef_version}, TTA "
        f"{profile.tta}, routing {profile.routing.mode}).",
        f"Temperature {temperature:.3f}, fitted on the validation part, for profiles of the devices in it; "
        f"profile `{profile.name}` has {profile.routing.temperature}.",
    ]
    for split, cells in tested.items():
        probabilities = [cell.finding.probabilities for cell in cells]
        error = expected_calibration_error(probabilities, [cell.sample.class_index for cell in cells])
        accepted = [cell for cell in cells if not cell.finding.needs_review]
        right = sum(cell.finding.class_index == cell.sample.class_index for cell in accepted)
        share = 1 - len(accepted) / len(cells)
        notes.append(
            f"{split}: expected calibration error {error:.3f}; {share:.0%} sent to review by confidence and "
            f"margin, accuracy of the rest {right / max(1, len(accepted)):.3f}."
        )
    return notes
