"""Batches for ``model.fit``: images decoded and located once, varied anew in every epoch.

A :class:`keras.utils.PyDataset`, so that the same loader feeds every Keras backend. Its workers are threads:
nearly all of their time is spent in OpenCV, which lets go of the interpreter's lock. Processes make 4 %
more with four workers (18 % with one), and would need copies of the images and pickled batches;
``python -m loadtests.loader_benchmark`` measures both.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any, Final, TypeAlias

import cv2
import keras
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orchestrator.domain import Float32Array, UInt8Array
from orchestrator.model_contract import (
    AUX_OUT,
    LYMPHOCYTE,
    MAIN_OUT,
    NEUTROPHIL,
    NOT_WBC,
    NUM_CLASSES,
)
from orchestrator.vision.preprocessing import Recipe, preprocess
from training.augmentation import AugmentationConfig, augmented_cell
from training.classifier import ATTENTION_LAYER
from training.datasets import NOT_WBC_INDEX, Sample
from training.image_cache import ImageCache
from training.images import LoadedImage, load_image

__all__ = ["AugmentedBatches", "LoadedImage", "load_images", "model_input", "plain_pixels", "targets"]

Batch: TypeAlias = tuple[Float32Array, dict[str, Any], dict[str, Any]]
"""Images, labels and sample weights."""

BATCHES_AHEAD: Final = 8
"""How many batches are made before they are asked for."""


def load_images(
    samples: Sequence[Sample],
    *,
    cache_dir: Path | None = None,
    workers: int | None = None,
    console: Console | None = None,
) -> list[LoadedImage]:
    """Decode all samples and find their cells, in parallel, in the order given.

    Args:
        samples: what to load.
        cache_dir: where the outcome is kept and looked for; None decodes anew.
        workers: number of threads; None: as many as there are processors to use.
        console: where to show the progress; None shows none.

    Raises:
        InvalidImage: a file cannot be decoded.
        ConfigurationError: a true mask does not fit its image, or the cache's folder cannot be used.
    """
    load: Callable[[Sample], LoadedImage] = load_image if cache_dir is None else ImageCache(cache_dir).load
    with ThreadPoolExecutor(workers or usable_processors()) as pool:
        loaded = pool.map(load, samples)
        if console is None:
            return list(loaded)
        return list(track(loaded, "decoding, finding cells", total=len(samples), console=console))


def usable_processors() -> int:
    """How many processors this process may use; fewer than there are where a container limits it."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def plain_pixels(images: Sequence[LoadedImage], recipe: Recipe) -> UInt8Array:
    """The images as serving would see them, without augmentation or TTA, uint8 ``[N, 224, 224, 3]``."""
    with ThreadPoolExecutor() as pool:
        return np.stack(list(pool.map(lambda image: preprocess(image.rgb, recipe).pixels, images)))


def model_input(pixels: UInt8Array, image_size: int) -> Float32Array:
    """uint8 ``[N, 224, 224, 3]`` to float32 ``[N, image_size, image_size, 3]`` in [0, 1]."""
    if image_size != pixels.shape[1]:
        side = (image_size, image_size)
        pixels = np.stack([cv2.resize(image, side, interpolation=cv2.INTER_AREA) for image in pixels])
    return pixels.astype(np.float32) / np.float32(255)


ATTENTION_STRIDE: Final = 32
"""Pixels of the input to a position of the attention: all backbones shrink by as much."""


class AugmentedBatches(keras.utils.PyDataset):
    """Shuffled, augmented batches ``(image, labels, sample weights)``.

    Labels are a dict of ``main_out`` (one-hot float32 ``[N, 5]``) and ``aux_binary_out`` (float32
    ``[N, 1]``); the auxiliary weight is 0 for classes other than Neutrophil and Lymphocyte. Order and
    augmentation depend on ``seed``, the epoch and the place in it alone, not on the number of workers.

    With ``attention`` the labels hold where the cell is as well (:func:`attention_targets`).

    Of each batch ``painted_share`` is drawn at random from ``painted``, images that a program drew, and
    ``negative_share`` from ``negatives``, which show none of the five classes; an epoch stays one pass over
    ``images``, or as many draws by ``shares`` (float64 ``[N]``, summing to 1).

    With ``soften``, which gives the five probabilities of teachers (float32 ``[N, 5]``) for uint8 pixels
    ``[N, 224, 224, 3]``, the target of the main head is the mean of theirs and of the label.

    The workers are the batches' own and not those of Keras, which stop at the end of an epoch: here the
    first batches of the next epoch are made while the model is scored and saved. ``workers`` None asks
    the machine. A batch that was asked for stays until the next but one, because Keras asks for the
    first two twice.
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
        workers: int | None = None,
        aux_classes: tuple[int, int] = (NEUTROPHIL, LYMPHOCYTE),
        attention: bool = False,
        painted: Sequence[LoadedImage] = (),
        painted_share: float = 0.0,
        negatives: Sequence[LoadedImage] = (),
        negative_share: float = 0.0,
        soften: Callable[[UInt8Array], Float32Array] | None = None,
        ahead: int = BATCHES_AHEAD,
        shares: NDArray[np.float64] | None = None,
    ) -> None:
        super().__init__(workers=1)
        self._images = images
        self._further = [
            (others, round(share * batch_size))
            for others, share in ((painted, painted_share), (negatives, negative_share))
            if others and share
        ]
        self._soften = soften
        self._recipe = recipe
        self._augmentation = augmentation
        self._real_in_batch = max(1, batch_size - sum(count for _, count in self._further))
        self._image_size = image_size
        self._seed = seed
        self._epoch = epoch
        self._aux_classes = aux_classes
        self._attention = attention
        self._ahead = ahead
        self._shares = shares
        self._pool = ThreadPoolExecutor(workers or usable_processors(), "batches")
        self._lock = Lock()
        self._batches: dict[tuple[int, int], Future[Batch]] = {}

    def __len__(self) -> int:
        """Full batches in an epoch: a last small batch would spoil the batch statistics."""
        return max(1, len(self._images) // self._real_in_batch)

    def __getitem__(self, index: int) -> Batch:
        """Batch ``index`` of the current epoch; it waits where the workers have not made it yet."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a batch below {len(self)}, received {index}")
        asked = self._epoch * len(self) + index
        numbers = range(asked, asked + self._ahead + 1)  # first the one that is waited for
        wanted = [divmod(number, len(self)) for number in numbers]
        with self._lock:
            for key in self._batches.keys() - {*wanted, divmod(asked - 1, len(self))}:
                self._batches.pop(key).cancel()
            for key in wanted:
                if key not in self._batches:
                    self._batches[key] = self._pool.submit(self._make, *key)
            batch = self._batches[wanted[0]]
        return batch.result()

    def on_epoch_end(self) -> None:
        """Move on to the next epoch's order."""
        self._epoch += 1

    def close(self) -> None:
        """Give up what was made ahead and let the workers go; no batch can be had any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _make(self, epoch: int, index: int) -> Batch:
        random, count = np.random.default_rng((self._seed, epoch)), len(self._images)
        order = (
            random.permutation(count) if self._shares is None else random.choice(count, count, p=self._shares)
        )
        chosen = order[index * self._real_in_batch : (index + 1) * self._real_in_batch]
        lot, first = np.random.default_rng((self._seed, epoch, index)), count
        for others, drawn in self._further:
            chosen = np.concatenate([chosen, first + lot.integers(len(others), size=drawn)])
            first += len(others)
        pixels, masks = zip(
            *(self._augmented(epoch, index, place, int(p)) for place, p in enumerate(chosen)), strict=True
        )
        classes = np.array([self._image(int(position)).class_index for position in chosen])
        labels, weights = targets(classes, self._aux_classes)
        if self._soften is not None:
            labels[MAIN_OUT.name] = (labels[MAIN_OUT.name] + self._soften(np.stack(pixels))) / 2
        if self._attention:
            side = self._image_size // ATTENTION_STRIDE
            labels[ATTENTION_LAYER], weights[ATTENTION_LAYER] = attention_targets(masks, side)
        return model_input(np.stack(pixels), self._image_size), labels, weights

    def _image(self, position: int) -> LoadedImage:
        """Painted images and negatives are counted on after the others."""
        for images in (self._images, *(others for others, _ in self._further)):
            if position < len(images):
                return images[position]
            position -= len(images)
        raise IndexError("there is no such image")

    def _augmented(
        self, epoch: int, index: int, place: int, position: int
    ) -> tuple[UInt8Array, UInt8Array | None]:
        """Image ``position`` for this place of the batch: drawn twice in an epoch, it looks otherwise."""
        image = self._image(position)
        return augmented_cell(
            image.rgb,
            image.cell,
            self._recipe,
            self._augmentation,
            np.random.default_rng((self._seed, epoch, index, place)),
            mask=image.mask,
            anchor=image.anchor,
        )


def targets(
    classes: Any, aux_classes: tuple[int, int] = (NEUTROPHIL, LYMPHOCYTE)
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Labels and sample weights of both heads for integer classes ``[N]``.

    The auxiliary label is 1 for the first of ``aux_classes``; classes that are neither weigh nothing there.
    What is none of the five classes (:data:`training.datasets.NOT_WBC_INDEX`) weighs nothing in the main
    head.
    """
    relevant, is_negative = np.isin(classes, aux_classes), classes == NOT_WBC_INDEX
    labels = {
        MAIN_OUT.name: np.eye(NUM_CLASSES + 1, dtype=np.float32)[classes, :NUM_CLASSES],
        NOT_WBC.name: is_negative.astype(np.float32)[:, np.newaxis],
        AUX_OUT.name: (classes == aux_classes[0]).astype(np.float32)[:, np.newaxis],
    }
    weights = {
        MAIN_OUT.name: (~is_negative).astype(np.float32),
        NOT_WBC.name: np.ones(len(classes), np.float32),
        AUX_OUT.name: relevant.astype(np.float32),
    }
    return labels, weights


def attention_targets(masks: Sequence[UInt8Array | None], side: int) -> tuple[Float32Array, Float32Array]:
    """Share of each position that is cell, float32 ``[N, side, side, 1]`` in [0, 1], and its weights.

    ``masks`` are uint8, 255 on the cell; an image without one weighs nothing, float32 ``[N, side, side]``.
    """
    shares = np.zeros((len(masks), side, side, 1), np.float32)
    weights = np.zeros((len(masks), side, side), np.float32)
    for index, mask in enumerate(masks):
        if mask is not None:
            small = cv2.resize(mask, (side, side), interpolation=cv2.INTER_AREA)
            shares[index, :, :, 0] = small.astype(np.float32) / 255
            weights[index] = 1
    return shares, weights
