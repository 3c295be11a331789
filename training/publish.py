"""``wbc-train export``: a run's best model into the repository, measured as it will be served.

Export, calibration and the figures of the model card belong together: the size's evidence comes from the
training part of the run, the temperature of known devices from its validation part, the figures from the very
files that were written.
"""

import json
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from rich.console import Console
from rich.progress import track

from orchestrator.errors import ConfigurationError
from orchestrator.profiles import Profile
from orchestrator.routing import calibrate
from training.calibrate import energy_limit, expected_calibration_error, fit_temperature
from training.cell_scores import full_scores, score_cells, scores_table
from training.cells import ScoredCell, evaluate_cells, parts
from training.datasets import data_fingerprint, read_negatives, read_run_samples, read_split, split_parts
from training.evaluate import chosen_profile
from training.export import export_model
from training.metrics import SplitScores
from training.model_card import ModelCardFacts, write_model_card
from training.morphometric_evidence import fit_evidence, morphometry_of
from training.negatives import (
    Negative,
    has_boxes,
    painted_negatives,
    photograph_windows,
    real_negatives,
    review_rates,
)
from training.predictors import saved_model_predictor
from training.review import ReviewRanking, accuracy_of_the_rest, fit_review_ranking
from training.run_config import PLACES
from training.run_folder import RunFolder
from training.serving_path import served_finding
from training.true_masks import read_mask_paths

console = Console()

EXPERIMENTS: Final = Path(__file__).parent / "experiments.md"
"""What led to the shipped settings; a section of every card."""

_TESTS: Final = ("TestA", "TestB")

REVIEW_SHARE: Final = 0.1
"""Share of a split that goes to a person where the accuracy of the rest is told."""

ENERGY_REVIEW_SHARE: Final = 0.05
"""Share of the validation images that the limit of the energy would send to review."""


def publish(
    run_dir: Path,
    data_root: Path,
    repository: Path,
    version: int,
    profile_name: str = "default",
    *,
    force: bool = False,
    negatives_per_kind: int = 60,
) -> Path:
    """Export the best checkpoint of a run, measure the export, write its card; return the version's folder.

    ``negatives_per_kind`` images without a white cell, of each kind, are sent the whole way of serving.

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
    validate_device = config.get("validate_device")
    more = [Path(folder) for folder in config.get("more_devices", ())]
    samples = read_run_samples(data_root, config["train_split"], config["devices"], validate_device, more)
    if data_fingerprint(samples) != manifest["data_sha256"]:
        raise ConfigurationError(
            f"{data_root}/{config['train_split']} is not the data that the run was trained on"
        )
    training, validation = split_parts(samples, config["val_fraction"], config["seed"], validate_device)
    profile = chosen_profile(profile_name)
    trained_on = config.get("crop_scale") or None, config.get("preprocessing")
    shown = profile.recipe.crop_scale, profile.recipe.mef_version
    if "preprocessing" in config and trained_on != shown:
        console.print(
            f"[bold yellow]other pixels:[/] trained on crop scale and MEF {trained_on}, while the profile "
            f"{profile_name}, which measures and would serve, has {shown}"
        )

    evidence = fit_evidence(training, morphometry_of(training, console))
    for name, table in evidence._asdict().items():
        if not table.any():
            console.print(f"measured in too few cells: {name} is no evidence in this export")
    version_dir = export_model(
        keras.models.load_model(checkpoint), repository, version, force=force, evidence=evidence
    )
    predict = saved_model_predictor(version_dir)

    held_out = evaluate_cells(predict, validation, profile, "validation")
    temperature = fit_temperature(*_probabilities_and_truth(held_out))
    max_energy = energy_limit([cell.averaged.energy for cell in held_out], ENERGY_REVIEW_SHARE)
    ranking = fit_review_ranking(*_doubts(held_out), _right(held_out))
    # Test images are explained as well: where the heatmap lies is a reason for a review, and a figure.
    explain = saved_model_predictor(version_dir, explain=True)
    masks = read_mask_paths(data_root)
    tested = {
        split: evaluate_cells(explain, read_split(data_root, split), profile, split, mask_paths=masks)
        for split in _TESTS
    }
    without_tta = {
        split: evaluate_cells(predict, read_split(data_root, split), replace(profile, tta="none"), split)
        for split in _TESTS
    }

    results = dict(_rows("validation part of Train", held_out))
    trained_slides = {(sample.device, sample.slide) for sample in training if sample.slide}
    for split, cells in tested.items():
        results |= dict(_rows(split, cells))
        apart = [c for c in cells if (c.sample.device, c.sample.slide) not in trained_slides]
        if len(apart) < len(cells):
            results[f"{split}, without slides that trained"] = score_cells(apart)
    for split, cells in without_tta.items():
        results |= dict(_rows(f"{split}, without TTA", cells))
    facts = ModelCardFacts(
        training={key: value for key, value in config.items() if key not in PLACES},
        results=results,
        environment=manifest["versions"],
        procedure=_procedure(manifest, _epochs_run(run_dir), len(samples) - len(validation), len(validation)),
        experiments=EXPERIMENTS.read_text(encoding="utf-8"),
        notes=[
            *_notes(profile, temperature, tested),
            *_review_notes(ranking, tested),
            *_negative_notes(version_dir, data_root, profile, max_energy, negatives_per_kind),
            *_escape_notes(version_dir, [Path(folder) for folder in config.get("negatives", ())], max_energy),
        ],
    )
    card = write_model_card(version_dir, facts)
    console.print(scores_table(results, f"{version_dir}, profile {profile.name}"))
    console.print(
        f"temperature {temperature:.3f}: for the profiles of the devices trained on; "
        f"max_energy {max_energy:.3f}: for every profile; card: {card}"
    )
    return version_dir


def _rows(name: str, cells: list[ScoredCell]) -> list[tuple[str, SplitScores]]:
    """The scores of a split, of its devices, and without the classes that it hardly holds."""
    return [(part_name, score_cells(part)) for part_name, part in parts(name, cells)]


def _probabilities_and_truth(cells: list[ScoredCell]) -> tuple[Any, Any]:
    """Uncalibrated, averaged over the views: float64 ``[N, 5]``, and the true classes ``[N]``."""
    return (
        np.array([cell.averaged.probabilities for cell in cells]),
        np.array([cell.sample.class_index for cell in cells]),
    )


def _epochs_run(run_dir: Path) -> Counter[str]:
    """How many epochs of each phase were run: fewer than were planned where the run was cut off."""
    return Counter(row["phase"] for row in RunFolder(run_dir).history_rows())


def _procedure(manifest: dict[str, Any], epochs: Counter[str], n_training: int, n_validation: int) -> str:
    config = manifest["config"]
    phases = [
        f"{_of_planned(epochs[phase['name']], phase['epochs'])} epochs at {phase['image_size']} px"
        + ("" if phase["train_backbone"] else ", backbone frozen")
        for phase in manifest["phases"]
    ]
    painted = manifest["parts"]["painted"]
    mixed = (
        f", mixed with {painted} painted images (`wbc-train synthesize`; {config['painted_share']:.0%} of "
        "each batch)"
        if painted
        else ""
    )
    if negatives := manifest["parts"].get("negatives", 0):
        mixed += f", and on {negatives} images of none of the five classes"
    if teachers := len(config.get("teachers", ())):
        mixed += f", taught by {teachers} other networks as well"
    more = [Path(folder).name for folder in config.get("more_devices", ())]
    averaged = len(manifest.get("averaged_data_seeds", ()))
    kept = (
        f"{n_validation} held-out images of the same devices"
        + (
            " chose the checkpoint of the last phase by balanced accuracy and fitted the temperature of "
            "known devices: it is fitted on what chose."
            if config.get("checkpoint", "best") == "best"
            else " chose no checkpoint, the last one is kept; they fitted the temperature of known devices."
        )
        + (
            f" The weights are the mean of {averaged} runs that differ in the order of images."
            if averaged
            else ""
        )
    )
    start = {"none": "random initialisation", "imagenet": "ImageNet weights"}.get(
        config["backbone_weights"], "given weights"
    )
    return (
        f"{config['backbone']} with attention from {start}, trained on {n_training} images of "
        f"{', '.join([config['train_split'], *more])}{mixed} ({', then '.join(phases)}). {kept} TestA "
        "and TestB chose nothing."
    )


def _of_planned(run: int, planned: int) -> str:
    return f"{run} of {planned}" if 0 < run < planned else f"{planned}"


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
            f"{split}: expected calibration error {error:.3f}, with the fitted temperature "
            f"{_calibrated_error(cells, temperature):.3f}; {share:.0%} marked for review, for any reason, "
            f"accuracy of the rest {right / max(1, len(accepted)):.3f}."
        )
        focus = full_scores(cells).focus_ratio
        if focus is not None:
            whose = {cell.focus.masks for cell in cells if cell.focus is not None}
            notes.append(f"{split}: mean focus ratio {focus}, by {' and '.join(sorted(whose))} masks.")
    return notes


def _calibrated_error(cells: list[ScoredCell], temperature: float) -> float:
    probabilities, truth = _probabilities_and_truth(cells)
    return expected_calibration_error(calibrate(probabilities, temperature), truth)


def _doubts(cells: list[ScoredCell]) -> tuple[list[float], list[float]]:
    """Confidences and energies."""
    return [cell.finding.confidence for cell in cells], [cell.averaged.energy for cell in cells]


def _right(cells: list[ScoredCell]) -> list[bool]:
    return [cell.finding.class_index == cell.sample.class_index for cell in cells]


def _review_notes(ranking: ReviewRanking, tested: dict[str, list[ScoredCell]]) -> list[str]:
    notes = [
        f"Review by rank: doubt is {1 - ranking.energy_weight:.0%} the rank of the confidence and "
        f"{ranking.energy_weight:.0%} that of the energy, the mixture with the least area under the curve of "
        "risk over coverage on the validation part."
    ]
    for split, cells in tested.items():
        rest = accuracy_of_the_rest(ranking.doubt(*_doubts(cells)), _right(cells), REVIEW_SHARE)
        notes.append(
            f"{split}: with the {REVIEW_SHARE:.0%} of most doubt sent to review, accuracy of the rest "
            f"{rest:.3f} (of all {np.mean(_right(cells)):.3f})."
        )
    return notes


def _escape_notes(version_dir: Path, folders: list[Path], max_energy: float) -> list[str]:
    """How many of the images that show none of the five classes, and did not train, are answered as one of
    them without review on a known device."""
    notes = []
    predict = saved_model_predictor(version_dir, explain=True)
    for folder in folders:
        held_out = read_negatives(folder, held_out=True)
        profile = chosen_profile(_PROFILES_OF_DEVICES.get(folder.resolve().parent.name, "default"))
        limited = replace(profile, routing=replace(profile.routing, max_energy=max_energy))
        rates = review_rates(
            (
                Negative(sample.slide, sample.load())
                for sample in track(held_out, f"none of the five: {folder.name}", console=console)
            ),
            partial(served_finding, profile=limited, predict=predict),
        )
        escaped = sum(rate.total - rate.flagged for rate in rates.values())
        by_kind = ", ".join(
            f"{kind} {rate.total - rate.flagged} of {rate.total}" for kind, rate in rates.items()
        )
        notes.append(
            f"Of {len(held_out)} held-out images of none of the five classes ({folder.parent.name}) "
            f"{escaped} ({escaped / len(held_out):.1%}) are answered without a review under profile "
            f"`{profile.name}`: {by_kind}. On a device that is not known or audited none is."
        )
    return notes


_PROFILES_OF_DEVICES: Final = {
    "barcelona": "cellavision-dm96",
    "raabin": "raabin",
    "chula": "chula",
    "bccd": "bccd",
}
"""Profile of each device that images of none of the five classes come from."""


def _negative_notes(
    version_dir: Path, data_root: Path, profile: Profile, max_energy: float, per_kind: int
) -> list[str]:
    """How many images without a white cell are marked for review, for whatever reason."""
    notes = [
        f"Energy limit {max_energy:.3f}, for `max_energy` of the profiles: {1 - ENERGY_REVIEW_SHARE:.0%} of "
        "the validation images lie under it."
    ]
    sources = {
        "Fields of real frames": real_negatives(data_root, per_device=per_kind)
        if has_boxes(data_root)
        else [],
        "Painted images": painted_negatives(per_kind),
        "Photographs": photograph_windows(per_kind),
    }
    limited = replace(profile, routing=replace(profile.routing, max_energy=max_energy))
    predict = saved_model_predictor(version_dir, explain=True)
    for source, negatives in sources.items():
        if not negatives:
            continue
        rates = review_rates(
            track(negatives, f"negatives: {source}", console=console),
            lambda rgb: served_finding(rgb, limited, predict),
        )
        flagged, total = sum(rate.flagged for rate in rates.values()), len(negatives)
        notes.append(
            f"{source} without a white cell, the whole way of profile `{profile.name}` with this limit: "
            f"{flagged} of {total} ({flagged / total:.1%}) marked for review."
        )
        for kind, rate in rates.items():
            why = ", ".join(f"{code} {count}" for code, count in rate.reasons.items()) or "for no reason"
            notes.append(f"{kind}: {rate.flagged} of {rate.total} ({rate.share:.0%}) marked; {why}.")
    return notes
