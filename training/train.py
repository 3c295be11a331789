"""``wbc-train train``: from labelled images to the best checkpoint.

A run is a list of phases, each with its own image size and cosine learning rate. Its folder holds all
that is needed to go on after a kill and to say afterwards what was done::

    run.json      configuration, data fingerprint, versions
    state.json    phase and epoch that ``last.keras`` has finished, best score of the phase
    last.keras    the model with its optimizer, after every epoch
    best.keras    the best of the last phase by balanced accuracy on the validation part
    history.csv   a row per epoch
"""

import csv
import json
import math
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import keras
import numpy as np
from rich.console import Console

import orchestrator
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import AUX_OUT, IMAGE_SIZE, MAIN_OUT
from orchestrator.vision.preprocessing import Recipe
from training.augmentation import AugmentationConfig
from training.classifier import BACKBONE_LAYER, build_classifier
from training.datasets import Sample, data_fingerprint, read_split, validation_split
from training.loader import AugmentedBatches, load_images, model_input, plain_pixels
from training.losses import DEFAULT_FOCAL_CLASS_WEIGHTS, main_loss
from training.metrics import balanced_accuracy, macro_f1

console = Console()


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of training: ``learning_rate`` is the peak of a cosine that ends near 0."""

    name: str
    epochs: int
    image_size: int
    learning_rate: float
    train_backbone: bool = True


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Everything that decides the outcome of a run, next to the data and the versions."""

    data_root: Path
    run_dir: Path
    train_split: str = "Train"
    devices: tuple[str, ...] = ()
    """Train on these devices alone (all where empty): for validation across devices."""
    val_fraction: float = 0.15
    seed: int = 42
    batch_size: int = 16
    img_size: int = IMAGE_SIZE
    phase1_epochs: int = 15
    phase2_epochs: int = 15
    progressive_epochs: int = 0
    """Epochs at ``progressive_img_size`` before phase 2: most of the learning at a quarter of the cost."""
    progressive_img_size: int = 112
    phase1_learning_rate: float = 1e-3
    phase2_learning_rate: float = 1e-5
    progressive_learning_rate: float = 1e-3
    backbone: str = "DenseNet121"
    backbone_weights: str = "imagenet"
    main_loss: Literal["cce", "focal"] = "cce"
    label_smoothing: float = 0.1
    focal_class_weights: tuple[float, ...] = DEFAULT_FOCAL_CLASS_WEIGHTS
    aux_loss_weight: float = 1.0
    weight_decay: float = 1e-4
    batch_norm_momentum: float = 0.9
    """Keras' 0.99 lags hundreds of steps behind, longer than a phase on a small data set may last."""
    recipe: Recipe = field(default_factory=Recipe)
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def phases(self) -> tuple[Phase, ...]:
        """The phases of the run in order; those of no epochs are left out.

        A frozen backbone of random numbers teaches the head nothing, so that without pre-trained
        weights there is no phase 1.
        """
        planned = (
            Phase("phase1", self.phase1_epochs, self.img_size, self.phase1_learning_rate, False),
            Phase(
                "progressive",
                self.progressive_epochs,
                self.progressive_img_size,
                self.progressive_learning_rate,
            ),
            Phase("phase2", self.phase2_epochs, self.img_size, self.phase2_learning_rate),
        )
        pretrained = self.backbone_weights != "none"
        return tuple(phase for phase in planned if phase.epochs and (phase.train_backbone or pretrained))


@dataclass(slots=True)
class RunState:
    """How far a run has come: ``epoch`` epochs of phase number ``phase`` are done."""

    phase: int = 0
    epoch: int = 0
    best: float = -1.0


def train(config: TrainingConfig, *, resume: bool = False) -> Path:
    """Train and return the path of the best checkpoint.

    Raises:
        ConfigurationError: the data is missing, or the run's folder holds another run already.
    """
    phases = config.phases()
    if not phases:
        raise ConfigurationError(
            "expected at least one phase with epochs; without pre-trained weights phase 1 does not count"
        )
    samples = [s for s in read_split(config.data_root, config.train_split) if _wanted(s, config)]
    state = _open_run(config, samples, resume=resume)
    keras.utils.set_random_seed(config.seed)
    cv2.setNumThreads(1)  # the loader's workers are the parallelism

    training, validation = validation_split(samples, config.val_fraction, config.seed)
    console.print(f"{len(training)} training and {len(validation)} validation images; decoding …")
    training_images, validation_images = load_images(training), load_images(validation)
    validation_pixels = plain_pixels(validation_images, config.recipe)
    validation_classes = np.array([image.class_index for image in validation_images])

    last = config.run_dir / "last.keras"
    model = keras.models.load_model(last) if last.is_file() else _new_model(config)
    for number, phase in enumerate(phases):
        if number < state.phase:
            continue
        if number > state.phase or state.epoch == 0:
            state.phase, state.epoch, state.best = number, 0, -1.0
            _compile(model, config, phase)
        _set_batch_norm_momentum(model, config.batch_norm_momentum)
        console.rule(f"{phase.name}: {phase.epochs} epochs at {phase.image_size} px")
        batches = AugmentedBatches(
            training_images,
            config.recipe,
            config.augmentation,
            config.batch_size,
            phase.image_size,
            seed=config.seed + number,
            epoch=state.epoch,
        )
        model.fit(
            batches,
            initial_epoch=state.epoch,
            epochs=phase.epochs,
            shuffle=False,  # the batches shuffle themselves, reproducibly
            verbose=1 if console.is_terminal else 2,
            callbacks=[
                keras.callbacks.LearningRateScheduler(_cosine(phase)),
                Checkpoint(config.run_dir, state, phase, validation_pixels, validation_classes),
            ],
        )
        state.phase, state.epoch = number + 1, 0
    best = config.run_dir / "best.keras"
    console.print(f"best checkpoint: {best} (balanced accuracy on validation {state.best:.4f})")
    return best


class Checkpoint(keras.callbacks.Callback):
    """Scores the validation part after every epoch and saves the last and the best model."""

    def __init__(
        self, run_dir: Path, state: RunState, phase: Phase, pixels: Any, classes: Any, batch_size: int = 32
    ) -> None:
        super().__init__()
        self._run_dir = run_dir
        self._state = state
        self._phase = phase
        self._image = model_input(pixels, phase.image_size)
        self._classes = classes
        self._batch_size = batch_size
        self._started_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the epoch's clock."""
        self._started_s = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Score, save, and write down the epoch.

        The state is written last: after a kill in between, the epoch is trained once more.
        """
        seconds = time.perf_counter() - self._started_s
        outputs = self.model.predict(self._image, batch_size=self._batch_size, verbose=0)
        predicted = np.argmax(outputs[MAIN_OUT.name], axis=1)
        scores = {
            "val_accuracy": float(np.mean(predicted == self._classes)),
            "val_balanced_accuracy": balanced_accuracy(self._classes, predicted),
            "val_macro_f1": macro_f1(self._classes, predicted),
        }
        _save(self.model, self._run_dir / "last.keras")
        if scores["val_balanced_accuracy"] >= self._state.best:
            self._state.best = scores["val_balanced_accuracy"]
            _save(self.model, self._run_dir / "best.keras")
        self._state.epoch = epoch + 1
        row = {"phase": self._phase.name, "epoch": epoch + 1, "seconds": round(seconds, 1)}
        _append_row(self._run_dir / "history.csv", row | (logs or {}) | scores)
        _write_json(self._run_dir / "state.json", asdict(self._state))
        console.print("  " + "  ".join(f"{name} {score:.4f}" for name, score in scores.items()))


def _wanted(sample: Sample, config: TrainingConfig) -> bool:
    return not config.devices or sample.device in config.devices


def _new_model(config: TrainingConfig) -> keras.Model:
    weights = config.backbone_weights
    return build_classifier(
        config.backbone,
        backbone_weights=weights if weights in ("imagenet", "none") else Path(weights),  # type: ignore[arg-type]
        image_size=None,
    )


def _compile(model: keras.Model, config: TrainingConfig, phase: Phase) -> None:
    model.get_layer(BACKBONE_LAYER).trainable = phase.train_backbone
    model.compile(
        optimizer=keras.optimizers.AdamW(
            phase.learning_rate, weight_decay=config.weight_decay, global_clipnorm=1.0
        ),
        loss={
            MAIN_OUT.name: main_loss(config.main_loss, config.label_smoothing, config.focal_class_weights),
            AUX_OUT.name: keras.losses.BinaryCrossentropy(),
        },
        loss_weights={MAIN_OUT.name: 1.0, AUX_OUT.name: config.aux_loss_weight},
        # XLA on the CPU made a DenseNet121 step take 85 ms an image where plain TensorFlow took 54.
        jit_compile="auto" if _has_accelerator() or keras.config.backend() == "jax" else False,
    )


def _set_batch_norm_momentum(model: keras.Model, momentum: float) -> None:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            _set_batch_norm_momentum(layer, momentum)
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = momentum


def _has_accelerator() -> bool:
    return any(not name.lower().startswith("cpu") for name in keras.distribution.list_devices())


def _cosine(phase: Phase, warm_up_epochs: int = 2) -> Any:
    def learning_rate(epoch: int, _current: float) -> float:
        warm = min(1.0, (epoch + 1) / (warm_up_epochs + 1))
        return phase.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * epoch / phase.epochs))

    return learning_rate


def _open_run(config: TrainingConfig, samples: Sequence[Sample], *, resume: bool) -> RunState:
    """Create the run's folder, or take up the state found there."""
    config.run_dir.mkdir(parents=True, exist_ok=True)
    manifest_path, state_path = config.run_dir / "run.json", config.run_dir / "state.json"
    manifest = {
        "config": _plain(asdict(config)),
        "data_sha256": data_fingerprint(samples),
        "images": len(samples),
        "versions": versions(),
    }
    if manifest_path.is_file():
        if not resume:
            raise ConfigurationError(
                f"{config.run_dir} holds a run already: go on with it by --resume, or choose another folder"
            )
        before = json.loads(manifest_path.read_text(encoding="utf-8"))
        for key in ("config", "data_sha256"):
            if before[key] != manifest[key]:
                raise ConfigurationError(f"cannot resume: the {key} differs from that of the run before")
    else:
        _write_json(manifest_path, manifest)
    if resume and state_path.is_file() and (config.run_dir / "last.keras").is_file():
        return RunState(**json.loads(state_path.read_text(encoding="utf-8")))
    return RunState()


def versions() -> dict[str, str]:
    """Versions of what shapes the numbers of a run."""
    return {
        "wbc-analyzer": orchestrator.__version__,
        "python": platform.python_version(),
        "keras": keras.version(),
        "keras_backend": keras.config.backend(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def _save(model: keras.Model, path: Path) -> None:
    temporary = path.with_name(f".{path.name}.partial.keras")
    model.save(temporary)
    temporary.replace(path)


def _append_row(path: Path, row: dict[str, Any]) -> None:
    new = not path.is_file()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(row))
        if new:
            writer.writeheader()
        writer.writerow(row)


def _write_json(path: Path, content: Any) -> None:
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    temporary.replace(path)


def _plain(value: Any) -> Any:
    """Paths as text, tuples as lists: what JSON gives back."""
    return json.loads(json.dumps(value, default=str))
