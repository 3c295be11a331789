"""Does the model look at the cell? Checked while it trains, so that a shortcut is not trained to its end.

A network that tells classes by the background (a slide's colour, a camera's corner) scores well on
validation images of the same slides and fails on every other one. The focus ratio rho, the share of
the Grad-CAM's mass that lies on the cell, shows it at once.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

import cv2
import keras
import numpy as np

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CONV_MAPS, IMAGE_SIZE, MAIN_OUT
from orchestrator.vision.crop import Window, extract
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.heatmap import assemble
from orchestrator.vision.preprocessing import Recipe, preprocess
from training.classifier import with_conv_maps
from training.gradcam import autodiff_class_activation_maps
from training.images import LoadedImage
from training.loader import model_input

SAMPLE_COUNT: Final = 24


class XAIFocusMonitor(keras.callbacks.Callback):
    """Measures the mean focus ratio every few epochs, and stops a training that looks at the background.

    For each image: the guided Grad-CAM of the class that the model predicts, and rho as serving measures
    it, without test-time augmentation. The mean over the images is added to the epoch's logs as
    ``xai_focus``, in the epochs of a check alone. After ``patience`` checks in a row below ``threshold``,
    ``model.stop_training`` is set, and ``log`` is told what was seen. Works on TensorFlow and JAX.

    Args:
        images: float32 ``[N, S, S, 3]`` in [0, 1], as the model sees them.
        masks: float32 ``[N, S, S]`` in [0, 1], 1 on the cell.
        every_n_epochs: a check after each so many epochs.
        threshold: the least mean focus ratio, in [0, 1].
        patience: so many low checks in a row stop the training.
        batch_size: of the images at a check.
        log: is given one line a check.
        low_checks: how many low checks in a row were seen before, by a run that is resumed; the attribute
            of this name goes on from there.

    Raises:
        ValueError: the arrays do not fit each other, or a number is out of its range.
    """

    def __init__(
        self,
        images: Float32Array,
        masks: Float32Array,
        *,
        every_n_epochs: int,
        threshold: float = 0.55,
        patience: int = 3,
        batch_size: int = 8,
        log: Callable[[str], object] = print,
        low_checks: int = 0,
    ) -> None:
        super().__init__()
        if len(images) == 0 or images.ndim != 4 or masks.shape != images.shape[:3]:
            raise ValueError(
                f"expected images [N, S, S, 3] and masks [N, S, S], received {images.shape} and {masks.shape}"
            )
        if min(every_n_epochs, patience, batch_size) < 1 or not 0 <= threshold <= 1:
            raise ValueError(
                "expected every_n_epochs, patience and batch_size of at least 1 and a threshold in [0, 1], "
                f"received {every_n_epochs}, {patience}, {batch_size} and {threshold}"
            )
        self._images = images
        self._masks = masks
        self._every_n_epochs = every_n_epochs
        self._threshold = threshold
        self._patience = patience
        self._batch_size = batch_size
        self._log = log
        self.low_checks = low_checks
        self._explained: keras.Model | None = None

    def on_train_begin(self, logs: Any = None) -> None:  # noqa: ARG002
        """Forget the model of a ``fit`` before."""
        self._explained = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Check where it is time to, and stop where it is enough."""
        if (epoch + 1) % self._every_n_epochs:
            return
        ratios = self.focus_ratios()
        mean = float(ratios.mean())
        if logs is not None:
            logs["xai_focus"] = mean
        if mean >= self._threshold:
            self.low_checks = 0
            self._log(f"focus ratio {mean:.3f} over {len(ratios)} images")
            return
        self.low_checks += 1
        seen = (
            f"focus ratio {mean:.3f} over {len(ratios)} images, below {self._threshold:g} "
            f"({self.low_checks} of {self._patience} checks in a row)"
        )
        if self.low_checks < self._patience:
            self._log(seen)
            return
        self.model.stop_training = True
        self._log(
            f"{seen}: training stops after epoch {epoch + 1}. {1 - mean:.0%} of the Grad-CAM lies outside "
            f"the cell (lowest image {ratios.min():.3f}, highest {ratios.max():.3f}): the model may have "
            "learned the background instead of the cell."
        )

    def focus_ratios(self) -> Float32Array:
        """The focus ratio of each image under the model's present weights, float32 ``[N]``."""
        if self._explained is None:
            self._explained = with_conv_maps(self.model)
            self._explained.jit_compile = self.model.jit_compile
        explained = self._explained
        ratios: list[float] = []
        for start in range(0, len(self._images), self._batch_size):
            batch = slice(start, start + self._batch_size)
            outputs = explained.predict_on_batch(self._images[batch])
            cams = autodiff_class_activation_maps(explained, outputs[CONV_MAPS.name])
            predicted = outputs[MAIN_OUT.name].argmax(axis=1)
            ratios += [
                _focus_ratio(cams[row, predicted[row]], mask) for row, mask in enumerate(self._masks[batch])
            ]
        return np.array(ratios, np.float32)


def _focus_ratio(cam: Float32Array, mask: Float32Array) -> float:
    """Of one map ``[h, w]`` against one mask ``[S, S]``, by the code of serving."""
    height, width = mask.shape
    masks = CellMasks(np.zeros(mask.shape, np.bool_), mask)  # the shares of the nucleus are not asked for
    whole = Window(0.0, 0.0, float(height), float(width))
    return assemble(cam[np.newaxis], "none", masks, whole, mask.shape).focus_ratio


def monitored_images(
    images: Sequence[LoadedImage],
    recipe: Recipe,
    image_size: int,
    *,
    count: int = SAMPLE_COUNT,
    seed: int = 42,
) -> tuple[Float32Array, Float32Array]:
    """Choose images for the monitor, evenly over the classes, and cut their masks like their pixels.

    Args:
        images: the validation images.
        recipe: how the model's input is made.
        image_size: side of the model's input, S.
        count: how many to choose; fewer where there are fewer.
        seed: of the choice.

    Returns:
        Images, float32 ``[N, S, S, 3]`` in [0, 1], and masks of the whole cell, float32 ``[N, S, S]`` in
        [0, 1]: the true mask where there is one, otherwise our own, as serving makes it.
        Images in which no cell is found are left out: a heatmap can lie on no cell there.

    Raises:
        ConfigurationError: no image shows a cell.
    """
    pixels: list[UInt8Array] = []
    masks: list[Float32Array] = []
    for image in _alternating_classes(images, seed):
        if len(pixels) == count:
            break
        shown, mask = _cut(image, recipe)
        if mask.any():
            pixels.append(shown)
            masks.append(mask)
    if not pixels:
        raise ConfigurationError(
            f"expected validation images with a cell for the focus monitor, found none in {len(images)}"
        )
    return model_input(np.stack(pixels), image_size), np.stack([_resized(m, image_size) for m in masks])


def _alternating_classes(images: Sequence[LoadedImage], seed: int) -> list[LoadedImage]:
    """All images, shuffled, the first of every class before the second of any."""
    order = np.random.default_rng(seed).permutation(len(images))
    turns: dict[int, int] = {}
    ranked = []
    for lot, position in enumerate(order):
        class_index = images[position].class_index
        turns[class_index] = turns.get(class_index, 0) + 1
        ranked.append((turns[class_index], lot, int(position)))
    return [images[position] for _, _, position in sorted(ranked)]


def _cut(image: LoadedImage, recipe: Recipe) -> tuple[UInt8Array, Float32Array]:
    """Pixels as the model sees them, uint8 ``[224, 224, 3]``, and the mask through the same window."""
    cell = preprocess(image.rgb, recipe)
    if image.has_true_mask and image.mask is not None:
        mask = extract(image.mask, cell.window, IMAGE_SIZE).astype(np.float32) / np.float32(255)
        return cell.pixels, mask
    return cell.pixels, cell.masks.cell


def _resized(mask: Float32Array, side: int) -> Float32Array:
    resized = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(resized, 0, 1), np.float32)
