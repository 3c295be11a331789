"""What happens around every epoch of training: seed, score, save, be patient, write down.

The callbacks share the epoch's ``logs``: what one adds, those after it see.
"""

import math
import time
from collections.abc import Iterator
from typing import Any, Final

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MAIN_OUT, NUM_CLASSES
from training.focus_monitor import XAIFocusMonitor
from training.loader import model_input
from training.metrics import accuracy, balanced_accuracy, macro_f1
from training.run_config import Phase, TrainingConfig
from training.run_folder import RunFolder
from training.run_state import RunState

VALIDATION_BATCH: Final = 32


class SeededDropout(keras.callbacks.Callback):
    """Seeds what a model draws at random anew for each epoch, by the run's seed and the epoch's number.

    A saved model does not keep the state of its random layers: without this, a run that was killed and
    resumed would go on with other numbers.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._seed = seed

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Set the states of all random layers."""
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        seeds = np.random.default_rng((self._seed, epoch)).integers(2**31, size=len(states))
        for state, seed in zip(states, seeds, strict=True):
            state.assign(np.array([seed, 0], "uint32"))


class Validation(keras.callbacks.Callback):
    """Scores the validation part, and saves the model where it is the best so far.

    Stands right after the focus monitor: a stop that was asked for before is the monitor's, and ends the
    run and not only the phase.

    Raises:
        ConfigurationError: the loss is no number any more.
    """

    def __init__(
        self,
        folder: RunFolder,
        state: RunState,
        phase: Phase,
        loss: keras.losses.Loss,
        pixels: UInt8Array,
        classes: NDArray[np.intp],
        *,
        keep_last: bool = False,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._state = state
        self._phase = phase
        self._loss = loss
        self._pixels = pixels
        self._classes = classes
        self._keep_last = keep_last

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add ``val_loss`` (of the main head) and the accuracies to the epoch's logs."""
        assert logs is not None
        if self.model.stop_training:
            self._state.finished = "focus"
        probabilities = self._probabilities()
        labels = np.eye(NUM_CLASSES, dtype=np.float32)[self._classes]
        loss = float(ops.convert_to_numpy(self._loss(labels, probabilities)))
        if not (math.isfinite(loss) and math.isfinite(logs["loss"])):
            raise ConfigurationError(
                f"the loss is no number any more after epoch {epoch + 1} of {self._phase.name}: "
                "lower the learning rate"
            )
        predicted = probabilities.argmax(axis=1)
        logs["val_loss"] = loss
        logs["val_accuracy"] = accuracy(self._classes, predicted)
        logs["val_balanced_accuracy"] = balanced_accuracy(self._classes, predicted)
        logs["val_macro_f1"] = macro_f1(self._classes, predicted)
        if self._state.record((logs["val_balanced_accuracy"], -loss), keep=self._keep_last):
            self.model.save(self._folder.pending("best", self._state.epochs_done))

    def _probabilities(self) -> Float32Array:
        """Of the main head, float32 ``[N, 5]``; only a batch at a time is held as float32 images."""

        def batches() -> Iterator[Float32Array]:
            for start in range(0, len(self._pixels), VALIDATION_BATCH):
                yield model_input(self._pixels[start : start + VALIDATION_BATCH], self._phase.image_size)

        outputs = [self.model.predict_on_batch(images)[MAIN_OUT.name] for images in batches()]
        return np.concatenate([np.asarray(output, np.float32) for output in outputs])


class Bookkeeping(keras.callbacks.Callback):
    """Keeps learning rate and patience, and commits the epoch; the last of the callbacks."""

    def __init__(
        self,
        folder: RunFolder,
        state: RunState,
        phase: Phase,
        config: TrainingConfig,
        monitor: XAIFocusMonitor | None,
        images_per_epoch: int,
        *,
        is_last_phase: bool,
    ) -> None:
        super().__init__()
        self._folder = folder
        self._state = state
        self._phase = phase
        self._config = config
        self._monitor = monitor
        self._images_per_epoch = images_per_epoch
        self._is_last_phase = is_last_phase
        self._started_s = 0.0
        self._trained_s = 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Start the epoch's clock."""
        self._started_s = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """The clock of training alone: what comes after the last batch is scoring and saving."""
        self._trained_s = time.perf_counter() - self._started_s

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Halve the rate on a plateau, stop where patience is at its end, save and commit."""
        assert logs is not None
        state, optimizer = self._state, self.model.optimizer
        rate = float(ops.convert_to_numpy(optimizer.learning_rate))
        if self._config.schedule == "plateau" and state.is_on_plateau(self._config.plateau_patience):
            optimizer.learning_rate = rate * self._config.plateau_factor
        if state.is_out_of_patience(self._config.patience):
            self.model.stop_training = True
        self.model.save(self._folder.pending("last", state.epochs_done))
        row = logs | {
            "phase": self._phase.name,
            "epoch": epoch + 1,
            "seconds": round(time.perf_counter() - self._started_s, 2),
            "images_per_s": round(self._images_per_epoch / self._trained_s, 1),
            "learning_rate": rate,
        }
        if self._monitor is not None:
            state.low_focus_checks = self._monitor.low_checks
        if self.model.stop_training or state.epoch == self._phase.epochs:
            state.end_phase()
            if self._is_last_phase and not state.finished:
                state.finished = "completed"
        self._folder.commit(state, row)


def cosine(phase: Phase, warm_up_epochs: int = 2) -> keras.callbacks.Callback:
    """A learning rate that rises to the phase's in ``warm_up_epochs`` and falls to near 0 as a cosine.

    Loshchilov and Hutter 2017, arXiv:1608.03983, without restarts.
    """

    def learning_rate(epoch: int, _current: float) -> float:
        warm = min(1.0, (epoch + 1) / (warm_up_epochs + 1))
        return phase.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * epoch / phase.epochs))

    return keras.callbacks.LearningRateScheduler(learning_rate)
