"""``wbc-train compare-backbones``: several networks under one protocol, and what each costs to run.

Same split, variations, epochs and seed for all. Accuracies are those of each run's best checkpoint on the
validation part. Milliseconds are taken at the end, in one run, the networks and runtimes in alternation: only
their ratios mean anything on another machine.
"""

import csv
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

# First of all: it keeps openvino from telling a third party that it is used.
import orchestrator.model_server.openvino_network  # noqa: F401
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError, WbcError
from orchestrator.model_contract import MAIN_OUT
from training.classifier import BackboneWeights, build_classifier
from training.loader import load_images, model_input, plain_pixels
from training.metrics import accuracy, balanced_accuracy, macro_f1
from training.plots import plot_backbones
from training.run_config import TrainingConfig
from training.run_recipe import run_recipe
from training.train import read_parts, train

console = Console(stderr=True)

COLUMNS: Final = (
    "model",
    "parameters",
    "val_accuracy",
    "val_balanced_accuracy",
    "macro_f1",
    "ms_embedded",
    "ms_keras",
    "error",
)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A network to compare: a backbone, with or without attention and MedSwish."""

    backbone: str
    attention: bool = False
    med_swish: bool = False

    def build(self, weights: str, image_size: int | None = None) -> keras.Model:
        """The untrained network; ``weights`` as for :func:`training.classifier.build_classifier`."""
        start: BackboneWeights = weights if weights in ("imagenet", "none") else Path(weights)  # type: ignore[assignment]
        return build_classifier(
            self.backbone,
            backbone_weights=start,
            image_size=image_size,
            attention=self.attention,
            med_swish=self.med_swish,
        )


CANDIDATES: Final[dict[str, Candidate]] = {
    "VGG16": Candidate("VGG16"),
    "ResNet50V2": Candidate("ResNet50V2"),
    "MobileNetV2": Candidate("MobileNetV2"),
    "EfficientNetB0": Candidate("EfficientNetB0"),
    "DenseNet121": Candidate("DenseNet121"),
    "DenseNet121+attention": Candidate("DenseNet121", attention=True, med_swish=True),
    "Compact+attention": Candidate("Compact", attention=True, med_swish=True),
    "EfficientNetLite0+attention": Candidate("EfficientNetLite0", attention=True, med_swish=True),
}
"""The reference's five, plain; its own network; ours, up to version 5 and from version 6."""

ALIASES: Final = {"DenseNet121_vanilla": "DenseNet121"}
"""What the reference calls one of them otherwise."""


def compare(
    protocol: TrainingConfig,
    results_dir: Path,
    candidates: Mapping[str, Candidate],
    *,
    timing_rounds: int = 20,
    build_model: Callable[[Candidate, TrainingConfig], keras.Model] | None = None,
) -> list[dict[str, Any]]:
    """Train, score and time each candidate; write ``backbones.{csv,md,png}`` below ``results_dir``.

    Finished candidates are not trained again, and one that was cut off goes on. The failure of one is a
    row of its own and does not end the comparison; a folder of another protocol is one. Rows have
    the keys :data:`COLUMNS`.

    Raises:
        ConfigurationError: the data is missing.
    """
    results_dir.mkdir(parents=True, exist_ok=True)
    build = build_model or (lambda candidate, config: candidate.build(config.backbone_weights))
    _, parts = read_parts(protocol)
    validation = load_images(parts["validation"], cache_dir=protocol.image_cache, console=console)
    pixels = plain_pixels(validation, run_recipe(protocol, validation))
    classes = np.array([image.class_index for image in validation])

    rows: list[dict[str, Any]] = []
    trained: dict[str, keras.Model] = {}
    for name, candidate in candidates.items():
        console.rule(name)
        row: dict[str, Any] = dict.fromkeys(COLUMNS) | {"model": name}
        rows.append(row)
        try:
            config = replace(protocol, backbone=candidate.backbone)
            model = _trained(config, results_dir / name, partial(build, candidate))
        except (WbcError, ValueError, OSError, RuntimeError) as error:
            row["error"] = str(error)
            console.print(f"[bold red]{name} failed:[/] {error}")
            continue
        trained[name] = model
        predicted = _predict(model, model_input(pixels, protocol.img_size)).argmax(axis=1)
        row |= {
            "parameters": model.count_params(),
            "val_accuracy": accuracy(classes, predicted),
            "val_balanced_accuracy": balanced_accuracy(classes, predicted),
            "macro_f1": macro_f1(classes, predicted),
        }
    image = model_input(pixels[:1], protocol.img_size)
    for name, times in time_networks(trained, image, timing_rounds).items():
        next(row for row in rows if row["model"] == name).update(times)
    write_results(rows, results_dir)
    return rows


def time_networks(
    models: Mapping[str, keras.Model], image: np.ndarray, rounds: int
) -> dict[str, dict[str, float]]:
    """Median milliseconds of one image, by name: ``ms_keras`` and ``ms_embedded`` (OpenVINO, float32).

    ``image`` is float32 ``[1, S, S, 3]``. All take their turn in every round, so that a busy machine slows
    all of them.
    """
    ways: dict[tuple[str, str], Callable[[], object]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            embedded = _embedded(model, Path(folder) / name, image)
            ways[name, "ms_embedded"] = partial(embedded, image)
            ways[name, "ms_keras"] = partial(model.predict_on_batch, image)
        times: dict[tuple[str, str], list[float]] = {key: [] for key in ways}
        for turn in track(range(rounds + 2), "timing", console=console):
            for key, way in ways.items():
                started = time.perf_counter()
                way()
                if turn >= 2:  # the first ones trace and allocate
                    times[key].append((time.perf_counter() - started) * 1000)
    medians: dict[str, dict[str, float]] = {name: {} for name in models}
    for (name, column), values in times.items():
        medians[name][column] = statistics.median(values)
    return medians


def write_results(rows: Sequence[Mapping[str, Any]], results_dir: Path) -> None:
    """``backbones.csv``, ``backbones.md`` and, where any was trained, ``backbones.png``."""
    with (results_dir / "backbones.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    lines = [[_text(row[column]) for column in COLUMNS] for row in rows]
    table = [list(COLUMNS), ["---"] * len(COLUMNS), *lines]
    (results_dir / "backbones.md").write_text(
        "\n".join("| " + " | ".join(line) + " |" for line in table) + f"\n\n{DISCLAIMER}\n", encoding="utf-8"
    )
    if finished := [row for row in rows if row["parameters"] is not None]:
        plot_backbones(finished, results_dir / "backbones.png")


def results_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """The figures of the rows for a terminal, whose errors are too long for a column."""
    columns = [column for column in COLUMNS if column != "error"]
    table = Table(*columns, title="Backbones under one protocol", caption=DISCLAIMER)
    for row in rows:
        table.add_row(*(_text(row[column]) for column in columns))
    return table


def _trained(
    protocol: TrainingConfig, run_dir: Path, build: Callable[[TrainingConfig], keras.Model]
) -> keras.Model:
    resume = (run_dir / "run.json").is_file()
    best = train(replace(protocol, run_dir=run_dir), resume=resume, build_model=build)
    return keras.models.load_model(best, compile=False)


def _predict(model: keras.Model, images: np.ndarray, batch_size: int = 32) -> np.ndarray:
    answers = [
        np.asarray(model.predict_on_batch(images[start : start + batch_size])[MAIN_OUT.name])
        for start in range(0, len(images), batch_size)
    ]
    return np.concatenate(answers)


def _embedded(model: keras.Model, folder: Path, image: np.ndarray) -> Callable[[np.ndarray], object]:
    """The network on the runtime that serves; not by the contract, which other backbones' maps do not fit."""
    import openvino as ov

    model.export(str(folder), format="tf_saved_model", verbose=False)
    network = ov.Core().read_model(str(folder))
    with suppress(RuntimeError):  # a network with sizes that cannot be fixed is timed as it is
        network.reshape(list(image.shape))
    return ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def require_known(names: Sequence[str]) -> dict[str, Candidate]:
    """The candidates of these names, the reference's own included; all where there are none.

    Raises :class:`ConfigurationError` where a name is not known.
    """
    names = [ALIASES.get(name, name) for name in names]
    if unknown := sorted(set(names) - set(CANDIDATES)):
        raise ConfigurationError(f"expected models of {', '.join(CANDIDATES)}, received {', '.join(unknown)}")
    return {name: candidate for name, candidate in CANDIDATES.items() if not names or name in names}
