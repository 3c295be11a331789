"""Batches for ``model.fit``: images decoded and located once, varied anew in every epoch.

A :class:`keras.utils.PyDataset`, so that the same loader feeds every Keras backend; its worker threads run
OpenCV, which lets go of the interpreter's lock.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import keras
import numpy as np

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.model_contract import AUX_OUT, IMAGE_SIZE, LYMPHOCYTE, MAIN_OUT, NEUTROPHIL, NUM_CLASSES
from orchestrator.vision.crop import CellLocation, cell_window, extract, locate_cell
from orchestrator.vision.preprocessing import Recipe, enhance
from training.augmentation import AugmentationConfig, augmented_pixels
from training.datasets import Sample

LONGEST_SIDE = 600
"""Images are kept in memory no larger than this; a crop of a larger one would be shrunk anyway."""


@dataclass(frozen=True, slots=True)
class LoadedImage:
    """A decoded training image with its cell and label."""

    rgb: UInt8Array
    cell: CellLocation | None
    class_index: int


def load_images(samples: Sequence[Sample]) -> list[LoadedImage]:
    """Decode all samples and find their cells, in parallel, in the order given."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(_load, samples))


def plain_pixels(images: Sequence[LoadedImage], recipe: Recipe) -> UInt8Array:
    """The images as serving would see them, without augmentation or TTA, uint8 ``[N, 224, 224, 3]``."""

    def prepare(image: LoadedImage) -> UInt8Array:
        window = cell_window(image.cell, recipe.crop_scale, image.rgb.shape)
        return enhance(extract(image.rgb, window, IMAGE_SIZE), recipe)

    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(prepare, images)))


def model_input(pixels: UInt8Array, image_size: int) -> Float32Array:
    """uint8 ``[N, 224, 224, 3]`` to float32 ``[N, image_size, image_size, 3]`` in [0, 1]."""
    if image_size != pixels.shape[1]:
        side = (image_size, image_size)
        pixels = np.stack([cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in pixels])
    return pixels.astype(np.float32) / np.float32(255)


class AugmentedBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches ``(image, labels, sample weights)``.

    Labels are a dict of ``main_out`` (one-hot float32 ``[N, 5]``) and ``aux_binary_out`` (float32
    ``[N, 1]``); the auxiliary weight is 0 for classes other than Neutrophil and Lymphocyte. Order and
    augmentation depend on ``seed``, the epoch and the image alone, not on the number of workers.
    """

    def __init__(
        self,
        images: Sequence[LoadedImage],
        recipe: Recipe,
        augmentation: AugmentationConfig,
        batch_size: int,
        image_size: int,
        seed: int,
        epoch: int = 0,
        workers: int = 2,
    ) -> None:
        super().__init__(workers=workers, max_queue_size=8)
        self._images = images
        self._recipe = recipe
        self._augmentation = augmentation
        self._batch_size = batch_size
        self._image_size = image_size
        self._seed = seed
        self._epoch = epoch
        self._order = self._shuffled()

    def __len__(self) -> int:
        """Full batches in an epoch: a last small batch would spoil the batch statistics."""
        return max(1, len(self._images) // self._batch_size)

    def __getitem__(self, index: int) -> tuple[Float32Array, dict[str, Any], dict[str, Any]]:
        """Batch ``index`` of the current epoch."""
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        pixels = np.stack([self._augmented(int(position)) for position in chosen])
        classes = np.array([self._images[int(position)].class_index for position in chosen])
        labels, weights = targets(classes)
        return model_input(pixels, self._image_size), labels, weights

    def on_epoch_end(self) -> None:
        """Move on to the next epoch's order."""
        self._epoch += 1
        self._order = self._shuffled()

    def _shuffled(self) -> Any:
        return np.random.default_rng((self._seed, self._epoch)).permutation(len(self._images))

    def _augmented(self, position: int) -> UInt8Array:
        image = self._images[position]
        random = np.random.default_rng((self._seed, self._epoch, position))
        return augmented_pixels(image.rgb, image.cell, self._recipe, self._augmentation, random)


def targets(classes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels and sample weights of both heads for integer classes ``[N]``."""
    relevant = np.isin(classes, (LYMPHOCYTE, NEUTROPHIL))
    labels = {
        MAIN_OUT.name: np.eye(NUM_CLASSES, dtype=np.float32)[classes],
        AUX_OUT.name: (classes == NEUTROPHIL).astype(np.float32)[:, np.newaxis],
    }
    weights = {
        MAIN_OUT.name: np.ones(len(classes), np.float32),
        AUX_OUT.name: relevant.astype(np.float32),
    }
    return labels, weights


def _load(sample: Sample) -> LoadedImage:
    rgb = sample.load()
    scale = LONGEST_SIDE / max(rgb.shape[:2])
    if scale < 1:
        rgb = np.asarray(cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)
    return LoadedImage(rgb, locate_cell(rgb), sample.class_index)
