"""``wbc-train train``: from labelled images to the best checkpoint.

A run is a list of phases, each with its own image size and learning rate: first the head on a frozen
backbone, then all of the network. Every phase begins with the best weights of the one before. Its folder
(:mod:`training.run_folder`) holds all that is needed to go on after a kill.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from platform import python_version
from typing import Any

import cv2
import keras
import numpy as np
from rich.console import Console

import orchestrator
from orchestrator.domain import DISCLAIMER
from orchestrator.vision.preprocessing import Recipe
from training.averaged_weights import AveragedWeights, batch_norm_layers
from training.classifier import HEAD_UNITS, build_classifier, with_attention
from training.datasets import (
    Sample,
    data_fingerprint,
    fair_shares,
    read_negatives,
    read_run_samples,
    read_split,
    split_parts,
)
from training.distribution import data_parallel
from training.epoch_end import Bookkeeping, SeededDropout, Validation, cosine
from training.focus_monitor import XAIFocusMonitor, monitored_images
from training.freed_memory import KeepFreedMemory
from training.history_plot import plot_history
from training.images import LoadedImage
from training.loader import AugmentedBatches, load_images, plain_pixels
from training.objective import compile_for, freeze, main_loss_of
from training.run_config import Phase, TrainingConfig
from training.run_folder import RunFolder, git_revision
from training.run_recipe import RECIPE, copied_manifest, run_recipe
from training.run_state import RunState
from training.split_summary import summarise, summary_table, write_summary
from training.teachers import mean_of_teachers, teacher_sha256

console = Console()

ModelBuilder = Callable[[TrainingConfig], keras.Model]
Parts = Mapping[str, Sequence[Sample]]


def classifier_of(config: TrainingConfig) -> keras.Model:
    """The untrained classifier that a run asks for, for images of any size."""
    weights = config.backbone_weights
    return build_classifier(
        config.backbone,
        backbone_weights=weights if weights in ("imagenet", "none") else Path(weights),  # type: ignore[arg-type]
        image_size=None,
        head_units=_head_units(config),
    )


def random_classifier_of(config: TrainingConfig) -> keras.Model:
    """The same network from random numbers, whatever weights are asked for."""
    return build_classifier(
        config.backbone, backbone_weights="none", image_size=None, head_units=_head_units(config)
    )


def _head_units(config: TrainingConfig) -> tuple[int, ...]:
    return () if config.linear_head else HEAD_UNITS


def train(config: TrainingConfig, *, resume: bool = False, build_model: ModelBuilder = classifier_of) -> Path:
    """Train and return the path of the best checkpoint, ``best.keras`` of the run's folder.

    ``build_model`` gives the untrained network; it is asked once, where there is no run to go on with.

    Raises:
        ConfigurationError: the data is missing, the run's folder holds another run already, or training
            diverged.
    """
    phases = config.phases()
    data_sha256, parts = read_parts(config)
    with data_parallel(config.batch_size, console) if config.distribute else nullcontext():
        folder = RunFolder(config.run_dir)
        state = folder.open(_manifest(config, data_sha256, parts, phases), resume=resume)
        summary = summarise(parts)
        write_summary(folder.split_summary, summary)
        console.print(summary_table(summary))
        _say_what_is_special(config)
        if not state.finished:
            _train_phases(config, phases, folder, state, parts, build_model)
    plot_history(
        folder.history_rows(),
        folder.history_plot,
        focus_threshold=config.xai_focus_threshold if config.xai_every_n_epochs else None,
    )
    if state.finished == "focus":
        console.print(
            "[bold yellow]stopped by the focus monitor:[/] the model looks at the background; "
            f"see xai_focus in {folder.history}"
        )
    console.print(f"best checkpoint: {folder.best} (balanced accuracy on validation {state.best[0]:.4f})")
    if config.model_path is not None:
        _copy(folder.best, config.model_path)
        _copy(folder.manifest, copied_manifest(config.model_path))
        console.print(f"copied to {config.model_path}")
    console.print(DISCLAIMER)
    return folder.best


def dry_run(config: TrainingConfig, *, build_model: ModelBuilder = random_classifier_of) -> None:
    """Print the split, the phases and the parameter counts; nothing is trained, fetched or written.

    Raises:
        ConfigurationError: as :func:`train` does for the data and the settings.
    """
    phases = config.phases()
    _, parts = read_parts(config)
    console.print(summary_table(summarise(parts)))
    _say_what_is_special(config)
    model = build_model(config)
    console.print(f"{model.name}: {model.count_params():,} parameters")
    painted = round(config.painted_share * config.batch_size) if parts["painted"] else 0
    negatives = round(config.negative_share * config.batch_size) if parts["negatives"] else 0
    steps = max(1, len(parts["training"]) // max(1, config.batch_size - painted - negatives))
    for phase in phases:
        freeze(model, config, phase)
        trained = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
        console.print(
            f"{phase.name}: at most {phase.epochs} epochs of {steps} steps at {phase.image_size} px, "
            f"learning rate {phase.learning_rate:g} ({config.schedule}), {trained:,} parameters trained"
        )
    console.print(f"dry run: nothing was trained. {DISCLAIMER}")


def read_parts(config: TrainingConfig) -> tuple[str, Parts]:
    """The fingerprint of the data, and the samples of ``training``, ``validation``, ``painted`` and
    ``negatives``.

    The fingerprint is that of the real images of the five classes; the last two are empty where none is
    named.
    """
    samples = read_run_samples(
        config.data_root, config.train_split, config.devices, config.validate_device, config.more_devices
    )
    training, validation = split_parts(samples, config.val_fraction, config.seed, config.validate_device)
    painted = [] if config.painted_root is None else read_split(config.painted_root, "Train")
    negatives = [
        sample
        for folder in config.negatives
        for sample in read_negatives(folder)
        if sample.device != config.validate_device  # nothing of the held-out device trains
    ]
    parts = {"training": training, "validation": validation, "painted": painted, "negatives": negatives}
    return data_fingerprint(samples), parts


def versions() -> dict[str, str]:
    """Versions of what shapes the numbers of a run."""
    return {
        "wbc-analyzer": orchestrator.__version__,
        "python": python_version(),
        "keras": keras.version(),
        "keras_backend": keras.config.backend(),
        "numpy": np.__version__,
        "opencv": cv2.__version__,
    }


def _train_phases(
    config: TrainingConfig,
    phases: Sequence[Phase],
    folder: RunFolder,
    state: RunState,
    parts: Parts,
    build_model: ModelBuilder,
) -> None:
    keras.utils.set_random_seed(config.seed)
    cv2.setNumThreads(1)  # the loader's workers are the parallelism
    images, validation, painted, negatives = (
        load_images(parts[name], cache_dir=config.image_cache, workers=config.workers, console=console)
        for name in ("training", "validation", "painted", "negatives")
    )
    soften = mean_of_teachers(config.teachers) if config.teachers else None
    recipe = run_recipe(config, images)
    folder.add_to_manifest(RECIPE, asdict(recipe))
    pixels = plain_pixels(validation, recipe)
    classes = np.array([image.class_index for image in validation])

    for number in range(state.phase, len(phases)):
        phase = phases[number]
        if state.epoch == 0:
            model = keras.models.load_model(folder.best, compile=False) if number else build_model(config)
            if config.attention_loss_weight:
                model = with_attention(model)
            state.begin_phase(comparable=number > 0 and phases[number - 1].image_size == phase.image_size)
            compile_for(model, config, phase)
        else:
            model = keras.models.load_model(folder.last)
        for layer in batch_norm_layers(model):
            layer.momentum = config.batch_norm_momentum
        console.rule(f"{phase.name}: at most {phase.epochs} epochs at {phase.image_size} px")
        batches_from = partial(
            AugmentedBatches,
            images,
            recipe,
            config.augmentation,
            config.batch_size,
            phase.image_size,
            seed=config.order_seed + number,
            workers=config.workers,
            aux_classes=config.aux_class_indices,
            attention=config.attention_loss_weight > 0,
            painted=painted,
            painted_share=config.painted_share,
            negatives=negatives,
            negative_share=config.negative_share,
            soften=soften,
            shares=fair_shares(parts["training"]) if config.sampling == "fair" else None,
        )
        batches = batches_from(epoch=state.epoch)
        monitor = _focus_monitor(config, state, phase, recipe, validation)
        scoring = [
            *([monitor] if monitor else []),
            Validation(
                folder,
                state,
                phase,
                main_loss_of(config),
                pixels,
                classes,
                keep_last=config.checkpoint == "last",
            ),
        ]
        bookkeeping = Bookkeeping(
            folder,
            state,
            phase,
            config,
            monitor,
            images_per_epoch=len(batches) * config.batch_size,
            is_last_phase=number == len(phases) - 1,
        )
        with closing(batches):
            model.fit(
                batches,
                initial_epoch=state.epoch,
                epochs=phase.epochs,
                shuffle=False,  # the batches shuffle themselves, reproducibly
                verbose=1 if console.is_terminal else 2,
                callbacks=[
                    KeepFreedMemory(),
                    SeededDropout(config.order_seed + number),
                    *([cosine(phase)] if config.schedule == "cosine" else []),
                    *(_averaged(model, batches_from(epoch=0), scoring) if config.ema_momentum else scoring),
                    *_tensorboard(folder.tensorboard / phase.name),
                    bookkeeping,
                ],
            )
        if state.finished:
            return


def _focus_monitor(
    config: TrainingConfig,
    state: RunState,
    phase: Phase,
    recipe: Recipe,
    validation: Sequence[LoadedImage],
) -> XAIFocusMonitor | None:
    if not config.xai_every_n_epochs:
        return None
    images, masks = monitored_images(
        validation, recipe, phase.image_size, count=config.xai_sample_count, seed=config.seed
    )
    return XAIFocusMonitor(
        images,
        masks,
        every_n_epochs=config.xai_every_n_epochs,
        threshold=config.xai_focus_threshold,
        patience=config.xai_patience,
        log=console.print,
        low_checks=state.low_focus_checks,
    )


def _averaged(
    model: keras.Model, batches: AugmentedBatches, callbacks: Sequence[keras.callbacks.Callback]
) -> list[keras.callbacks.Callback]:
    """The callbacks, between putting the averaged weights into the model and taking them out again.

    ``batches`` are the first epoch's, whatever epoch the run goes on with: a resumed run must not differ.
    """
    with closing(batches):
        weights = AveragedWeights(model, batches)
    return [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: weights.put_in()),
        *callbacks,
        keras.callbacks.LambdaCallback(on_epoch_end=lambda _epoch, _logs: weights.take_out()),
    ]


def _tensorboard(log_dir: Path) -> list[keras.callbacks.Callback]:
    """Event files for TensorBoard, where TensorFlow is there to write them."""
    if find_spec("tensorflow") is None or find_spec("tensorboard") is None:
        return []
    if keras.config.backend() != "tensorflow":
        import tensorflow as tf

        # It only writes files here, and would otherwise take the accelerator's memory from the backend.
        tf.config.set_visible_devices([], "GPU")
    return [keras.callbacks.TensorBoard(log_dir, write_graph=False)]


def _manifest(
    config: TrainingConfig, data_sha256: str, parts: Parts, phases: Sequence[Phase]
) -> dict[str, Any]:
    return {
        "notice": DISCLAIMER,
        "config": asdict(config),
        "phases": [asdict(phase) for phase in phases],
        "data_sha256": data_sha256,
        "painted_sha256": data_fingerprint(parts["painted"]),
        "negatives_sha256": data_fingerprint(parts["negatives"]),
        "teachers_sha256": [teacher_sha256(path) for path in config.teachers],
        "parts": {name: len(part) for name, part in parts.items()},
        "git": git_revision(Path(__file__)),
        "versions": versions(),
    }


def _say_what_is_special(config: TrainingConfig) -> None:
    """Say aloud what a reader of the settings alone might not expect."""
    if config.skips_frozen_phase:
        console.print(
            f"phase 1 ({config.phase1_epochs} epochs) is skipped: --backbone-weights none, and a frozen "
            "backbone of random numbers teaches the head nothing"
        )
    if not config.aux_head:
        console.print("the auxiliary head is not trained: its output means nothing, do not route by it")
    elif (config.aux_positive_class, config.aux_negative_class) != ("Neutrophil", "Lymphocyte"):
        console.print(
            f"the auxiliary head tells {config.aux_positive_class} from {config.aux_negative_class}; "
            "the service reads it as Neutrophil and Lymphocyte: do not route by it"
        )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.partial")
    shutil.copyfile(source, temporary)
    temporary.replace(target)
