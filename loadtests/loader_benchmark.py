"""How fast training images come, and whether a training step waits for them.

    python -m loadtests.loader_benchmark --data-root data/wbc     # or --synthetic

In one process and one run: loading (decode, find the cell, its mask) without a cache, into an empty one and
from a full one; augmented images/s of the loader alone, with 1, 2 and 4 threads and as many processes;
then training steps of a small backbone fed by the loader: images/s, the share of the time that the
steps wait for their batch, and images/s of the same steps on a batch that is there already.
Repeated, and the best of each is shown: what else runs on a machine only ever makes it slower.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from orchestrator.domain import UInt8Array
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.vision.preprocessing import Recipe
from training.augmentation import AugmentationConfig, augmented_cell
from training.commands.config_file import CONFIGS
from training.datasets import Sample, read_split
from training.image_cache import ImageCache
from training.images import LoadedImage

if TYPE_CHECKING:
    from training.loader import AugmentedBatches

SEED = 0
RECIPE = Recipe(mef_version="v1")
AUGMENTATION = AugmentationConfig(**tomllib.loads((CONFIGS / "shipped.toml").read_text())["augmentation"])
IMAGES: list[LoadedImage] = []
"""Of this process; a worker process fills its own."""


def best_rate(count: int, repeats: int, work: Callable[[], object]) -> float:
    """Images/s of the fastest of the repeats."""
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return count / min(times)


def write_synthetic(root: Path, per_class: int) -> None:
    """Painted cells of 360 and 575 pixels as ``root/Train/<Class>/*.jpg``."""
    from tests.synthetic_cells import synthetic_cell

    for name in CLASS_NAMES:
        folder = root / "Train" / name
        folder.mkdir(parents=True)
        for seed in range(per_class):
            rgb = synthetic_cell(name, seed, size=575 if seed % 2 else 360)
            cv2.imwrite(str(folder / f"{seed}.jpg"), rgb[:, :, ::-1])


def chosen_samples(root: Path, count: int) -> list[Sample]:
    """At most ``count`` samples of Train, evenly over its classes and devices."""
    samples = read_split(root, "Train")
    positions = np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int)
    return [samples[position] for position in positions]


def augmented(position: int) -> UInt8Array:
    """One augmented image of this process."""
    image = IMAGES[position % len(IMAGES)]
    return augmented_cell(
        image.rgb,
        image.cell,
        RECIPE,
        AUGMENTATION,
        np.random.default_rng((SEED, position)),
        mask=image.mask,
    )[0]


def fill_worker(samples: Sequence[Sample], cache_dir: Path) -> None:
    """Load the images of a worker process."""
    cv2.setNumThreads(1)
    IMAGES[:] = map(ImageCache(cache_dir).load, samples)


def loading(samples: Sequence[Sample], cache_root: Path, repeats: int) -> None:
    """Print how fast images are decoded and located, without and with the cache."""
    from training.loader import load_images

    n = len(samples)
    folders = iter(range(1000))
    print(f"loading {n} images, images/s")
    print(f"  {'threads':>8} {'no cache':>9} {'cold cache':>11} {'warm cache':>11}")
    for workers in (1, 2, 4):
        load = partial(load_images, samples, workers=workers)
        none = best_rate(n, repeats, load)
        cold = best_rate(n, repeats, lambda load=load: load(cache_dir=cache_root / str(next(folders))))  # type: ignore[misc]
        warm = best_rate(n, repeats, partial(load, cache_dir=cache_root / "0"))
        print(f"  {workers:8} {none:9.0f} {cold:11.0f} {warm:11.0f}")


def augmenting(samples: Sequence[Sample], cache_dir: Path, repeats: int) -> None:
    """Print images/s of the loader alone: threads as against processes."""
    n = max(128, len(IMAGES))
    print(f"augmenting {n} images (crop, background, stain, camera, MEF), images/s")
    print(f"  {'workers':>8} {'threads':>9} {'processes':>10}")
    spawn = multiprocessing.get_context("spawn")  # a fork would copy the threads' locks
    for workers in (1, 2, 4):
        with ThreadPoolExecutor(workers) as pool:
            threads = best_rate(n, repeats, partial(_drain, pool.map, n))
        with ProcessPoolExecutor(workers, spawn, fill_worker, (samples, cache_dir)) as processes:
            map_in_chunks = partial(processes.map, chunksize=8)
            _drain(map_in_chunks, n)  # the start of the processes is not counted
            rate = best_rate(n, repeats, partial(_drain, map_in_chunks, n))
        print(f"  {workers:8} {threads:9.0f} {rate:10.0f}")


def _drain(map_over: Callable[..., Iterable[UInt8Array]], count: int) -> None:
    for _ in map_over(augmented, range(count)):
        pass


def training(backbone: str, image_size: int, batch_size: int, steps: int, workers: int | None) -> None:
    """Print images/s of training steps, and the share of the time they wait for the loader."""
    import keras

    from training.classifier import build_classifier
    from training.loader import AugmentedBatches, usable_processors

    model = build_classifier(backbone, image_size=image_size)
    model.compile(
        optimizer="adam",
        loss={"main_out": "categorical_crossentropy", "aux_binary_out": "binary_crossentropy"},
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )
    batches = AugmentedBatches(IMAGES, RECIPE, AUGMENTATION, batch_size, image_size, SEED, workers=workers)
    used = workers or usable_processors()
    print(
        f"training steps: {backbone}, batches of {batch_size} at {image_size} px, {keras.backend.backend()}"
    )
    there = batches[0]
    model.train_on_batch(*there)  # compiles
    waited_s, total_s = _fed(model, batches, steps)
    batches.close()
    alone = best_rate(batch_size, max(3, steps // 4), lambda: model.train_on_batch(*there))
    rate, share = steps * batch_size / total_s, waited_s / total_s
    print(
        f"  {used} workers: {rate:.0f} images/s, waits {share:.1%} of the time; "
        f"without a loader {alone:.0f} images/s"
    )


def _fed(model: object, batches: "AugmentedBatches", steps: int) -> tuple[float, float]:
    """Seconds waited, and seconds in all, over ``steps`` steps."""
    waited_s = total_s = 0.0
    for step in range(steps):
        index = step % len(batches)
        started = time.perf_counter()
        batch = batches[index]
        waited_s += time.perf_counter() - started
        model.train_on_batch(*batch)  # type: ignore[attr-defined]
        total_s += time.perf_counter() - started
        if index == len(batches) - 1:
            batches.on_epoch_end()
    return waited_s, total_s


def main() -> None:
    """Measure what the options ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-root", type=Path, help="folder with Train/<Class>/*")
    source.add_argument("--synthetic", action="store_true", help="paint cells instead")
    parser.add_argument("--images", type=int, default=100, help="how many to use")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--backbone", default="MobileNetV2")
    parser.add_argument("--image-size", type=int, default=112)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument(
        "--workers", type=int, help="of the loader that feeds the steps; default: all processors"
    )
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        root = options.data_root
        if root is None:
            root = scratch / "cells"
            write_synthetic(root, max(1, options.images // len(CLASS_NAMES)))
        samples = chosen_samples(root, options.images)
        loading(samples, scratch / "cache", options.repeats)
        fill_worker(samples, scratch / "cache" / "0")
        augmenting(samples, scratch / "cache" / "0", options.repeats)
        training(options.backbone, options.image_size, options.batch_size, options.steps, options.workers)


if __name__ == "__main__":
    main()
