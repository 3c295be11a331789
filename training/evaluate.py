"""Scores of a saved model over labelled images, by the very steps that serving takes.

Preprocessing, views, averaging and routing are those of :mod:`orchestrator`; only the network is asked
here instead of through a model server.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import tensorflow as tf
from rich.console import Console
from rich.progress import track
from rich.table import Table

from orchestrator.domain import Finding, ModelIdentity, Prediction, ViewBatch
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import AUX_OUT, CLASS_NAMES, GAIN, IMAGES, MAIN_OUT, MODEL_NAME
from orchestrator.profiles import Profile, load_profiles
from orchestrator.routing import AveragedPrediction, average, route
from orchestrator.vision import tta
from orchestrator.vision.preprocessing import preprocess
from training.datasets import Sample, read_split
from training.metrics import SplitScores, score

_stderr = Console(stderr=True)

Predictor = Callable[[ViewBatch], Prediction]


@dataclass(frozen=True, slots=True)
class ScoredCell:
    """One labelled image, what the network said over its views, and the decision."""

    sample: Sample
    averaged: AveragedPrediction
    finding: Finding


def saved_model_predictor(version_dir: Path) -> Predictor:
    """The ``classify`` signature of an exported SavedModel, run by TensorFlow."""
    signature = tf.saved_model.load(str(version_dir)).signatures["classify"]
    identity = ModelIdentity(MODEL_NAME, int(version_dir.name) if version_dir.name.isdigit() else 0, None)

    def predict(views: ViewBatch) -> Prediction:
        answer = signature(**{IMAGES.name: tf.constant(views.images), GAIN.name: tf.constant(views.gain)})
        return Prediction(
            main_out=answer[MAIN_OUT.name].numpy(),
            aux_out=answer[AUX_OUT.name].numpy()[:, 0],
            cams=None,
            model=identity,
        )

    return predict


def evaluate_cells(
    predict: Predictor, samples: Sequence[Sample], profile: Profile, description: str = "evaluating"
) -> list[ScoredCell]:
    """Run every sample through the profile's pipeline, in the order given, with a progress bar."""
    scored = []
    for sample in track(samples, description, console=_stderr):
        views = tta.stack(preprocess(sample.load(), profile.recipe).pixels, profile.tta)
        averaged = average(predict(views))
        scored.append(ScoredCell(sample, averaged, route(averaged, profile.routing)))
    return scored


def score_cells(cells: Sequence[ScoredCell]) -> SplitScores:
    """The figures of merit of a set of evaluated cells, with bootstrap intervals."""
    return score([cell.sample.class_index for cell in cells], [cell.finding.class_index for cell in cells])


def by_device(name: str, cells: Sequence[ScoredCell]) -> Iterator[tuple[str, list[ScoredCell]]]:
    """The whole set, then its part of each device where there are several."""
    yield name, list(cells)
    devices = sorted({cell.sample.device for cell in cells})
    if len(devices) > 1:
        for device in devices:
            yield f"{name} / {device}", [cell for cell in cells if cell.sample.device == device]


def write_predictions(path: Path, cells: Sequence[ScoredCell]) -> None:
    """One CSV row per image: file, truth, decision, confidence, review, probabilities, auxiliary head."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [
                "file",
                "device",
                "true_class",
                "class",
                "confidence",
                "needs_review",
                *CLASS_NAMES,
                "aux_neutrophil",
            ]
        )
        for cell in cells:
            writer.writerow(
                [
                    cell.sample.path.name,
                    cell.sample.device,
                    CLASS_NAMES[cell.sample.class_index],
                    cell.finding.class_name,
                    f"{cell.finding.confidence:.6f}",
                    cell.finding.needs_review,
                    *(f"{p:.6f}" for p in cell.finding.probabilities),
                    f"{cell.finding.aux_neutrophil:.6f}",
                ]
            )


def scores_table(scores: Mapping[str, SplitScores], title: str) -> Table:
    """A table for the terminal."""
    table = Table("split", "n", "balanced accuracy", "macro-F1", "accuracy", title=title)
    for name, row in scores.items():
        table.add_row(name, str(row.n), str(row.balanced_accuracy), str(row.macro_f1), str(row.accuracy))
    return table


def evaluate_splits(
    version_dir: Path,
    data_root: Path,
    splits: Sequence[str],
    profile_name: str,
    output_dir: Path,
    *,
    tta_mode: tta.TtaMode | None = None,
    limit: int | None = None,
) -> dict[str, SplitScores]:
    """Score whole splits and write ``<split>/predictions.csv`` and ``metrics.json`` below ``output_dir``.

    Raises :class:`ConfigurationError` where the model, the profile or a split is missing.
    """
    if not (version_dir / "saved_model.pb").is_file():
        raise ConfigurationError(
            f"expected a SavedModel in {version_dir}, found none; see `wbc-train export`"
        )
    profile = chosen_profile(profile_name, tta_mode)
    predict = saved_model_predictor(version_dir)
    scores: dict[str, SplitScores] = {}
    for split in splits:
        cells = evaluate_cells(predict, read_split(data_root, split)[:limit], profile, split)
        folder = output_dir / split
        folder.mkdir(parents=True, exist_ok=True)
        write_predictions(folder / "predictions.csv", cells)
        parts = {name: score_cells(part) for name, part in by_device(split, cells)}
        (folder / "metrics.json").write_text(
            json.dumps({name: asdict(part) for name, part in parts.items()}, indent=2) + "\n",
            encoding="utf-8",
        )
        scores |= parts
    return scores


def chosen_profile(name: str, tta_mode: tta.TtaMode | None = None) -> Profile:
    """A built-in profile, with another test-time augmentation where one is named.

    Raises :class:`ConfigurationError` where there is no such profile.
    """
    profiles = load_profiles()
    if name not in profiles:
        raise ConfigurationError(f"no profile {name!r}; there are {', '.join(profiles)}")
    profile = profiles[name]
    return profile if tta_mode is None else replace(profile, tta=tta_mode)
