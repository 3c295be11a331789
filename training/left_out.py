"""How a network fares on a microscope that it never saw: one device left out after the other.

``python -m training.left_out --data-root DATA --more-device MORE/chula --more-device MORE/bccd --output OUT``
trains EfficientNet-Lite0 on all devices but one, for each of them, and asks it about the one that was left
out. What was seen lies in ``OUT/DEVICE-SEED.npz``, which :mod:`training.adaptation_table` reads, too; what is
there is not trained again, and not changed by other settings. Then it prints a table of all devices.

The network is smaller than the shipped one, so that a device takes minutes and not an hour: 160 pixels, no
attention, and of each image a few fixed variations, of which the frozen blocks are computed once. As there,
the head learns first, and then the late blocks with it (Kumar et al. 2022, arXiv:2202.10054).
"""

import argparse
import math
import sys
import tomllib
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import cv2
import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orchestrator.domain import DISCLAIMER, Float32Array, UInt8Array
from orchestrator.model_contract import NUM_CLASSES, PARTS
from orchestrator.views import VIEWS
from training.augmentation import AugmentationConfig, augmented_cell
from training.commands.config_file import CONFIGS
from training.datasets import Sample, fair_shares, read_device, read_split
from training.device_features import group_of
from training.efficientnet_lite import block_of, efficientnet_lite
from training.freed_memory import KeepFreedMemory
from training.images import LoadedImage
from training.layers import MixStyle
from training.loader import load_images, model_input, plain_pixels
from training.metrics import Interval
from training.morphometric_evidence import fit_evidence, morphometry_of
from training.run_config import TrainingConfig

SIDE: Final = 160
FROZEN_BLOCKS: Final = 9
"""They, and all batch normalisation, stay as they came."""

BATCH: Final = 32
PROBE_SHARE: Final = 0.5
"""Steps of the head alone, for each of the blocks."""

PROBE_LEARNING_RATE: Final = 1e-3
LEARNING_RATE: Final = 6e-4
WARMUP_STEPS: Final = 20
WEIGHT_DECAY: Final = 0.02
EMA: Final = 0.98
LABEL_SMOOTHING: Final = 0.1
DROPOUT: Final = 0.3
FEW: Final = 10
"""A class of fewer cells is not scored."""

RESAMPLES: Final = 2000
CHUNK: Final = 64
"""Images that go through a network at once."""

_HEAD: Final = "head"
_OTHER_BATCHES: Final = 1 << 32
"""Added to a seed: the head sees other batches than the blocks."""

_LOSS: Final = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)

_stderr = Console(stderr=True)

Logits = NDArray[np.float64]


def shipped_augmentation() -> AugmentationConfig:
    """The variations of ``--config shipped``."""
    content = tomllib.loads((CONFIGS / "shipped.toml").read_text(encoding="utf-8"))
    options = ("crop_prob", "bg_randomization_prob", "stain_jitter_prob")
    table: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in content["augmentation"].items()
    }
    table |= {name: content[name.replace("_", "-")] for name in options}
    return AugmentationConfig(**table)


def split_network() -> tuple[keras.Model, keras.Model]:
    """The frozen blocks, float32 ``[N, 160, 160, 3]`` in [0, 1] to maps, and the others with a linear head,
    maps to logits ``[N, 5]`` and features ``[N, 1280]``."""
    whole = efficientnet_lite(weights="imagenet", input_shape=(SIDE, SIDE, 3))
    border = [layer for layer in whole.layers if block_of(layer.name) < FROZEN_BLOCKS][-1].output
    pixels = keras.Input((SIDE, SIDE, 3))
    frozen = keras.Model(pixels, keras.Model(whole.input, border)((pixels * 255 - 127) / 128))
    maps = keras.Input(border.shape[1:])
    late = keras.Model(border, whole.output)
    for layer in late.layers:
        layer.trainable = not isinstance(layer, layers.BatchNormalization)
    features = layers.GlobalAveragePooling2D()(late(MixStyle()(maps)))
    logits = layers.Dense(NUM_CLASSES, name=_HEAD)(layers.Dropout(DROPOUT)(features))
    return frozen, keras.Model(maps, {"logits": logits, "features": features})


def varied_maps(
    frozen: keras.Model, images: Sequence[LoadedImage], variations: int, path: Path
) -> NDArray[np.float16]:
    """Maps of so many variations of each image, float16 ``[N, variations, h, w, C]``, kept at ``path``."""
    if not path.is_file():
        augmentation, recipe = shipped_augmentation(), TrainingConfig(crop_scale=1.4).recipe

        def varied(index: int) -> UInt8Array:
            image = images[index]
            return np.stack(
                [
                    augmented_cell(
                        image.rgb,
                        image.cell,
                        recipe,
                        augmentation,
                        np.random.default_rng((index, variation)),
                        mask=image.mask,
                        anchor=image.anchor,
                    )[0]
                    for variation in range(variations)
                ]
            )

        partial = path.with_suffix(".partial.npy")
        shape = (len(images), variations, *frozen.output_shape[1:])
        maps = np.lib.format.open_memmap(partial, "w+", np.float16, shape)
        with ThreadPoolExecutor() as pool:
            pixels = pool.map(varied, range(len(images)))
            for index, of_image in enumerate(track(pixels, "varying", len(images), console=_stderr)):
                maps[index] = frozen.predict_on_batch(model_input(of_image, SIDE))
        maps.flush()
        partial.rename(path)
    kept = np.load(path, mmap_mode="r")
    if kept.shape[:2] != (len(images), variations):
        sys.exit(f"{path} holds variations of other images: choose another --output, or remove it")
    return np.asarray(kept)


class _Batches(keras.utils.PyDataset):
    """Batches drawn by ``shares`` from the variations of the images at ``places``."""

    def __init__(
        self,
        maps: NDArray[np.float16],
        labels: NDArray[np.intp],
        shares: NDArray[np.float64],
        steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._maps, self._labels, self._shares, self._steps, self._seed = maps, labels, shares, steps, seed

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, index: int) -> tuple[Float32Array, dict[str, Float32Array]]:
        random = np.random.default_rng((self._seed, index))
        chosen = random.choice(len(self._labels), BATCH, p=self._shares)
        variation = random.integers(self._maps.shape[1], size=BATCH)
        one_hot = np.eye(NUM_CLASSES, dtype=np.float32)[self._labels[chosen]]
        return self._maps[chosen, variation].astype(np.float32), {"logits": one_hot}


def train_without(
    late: keras.Model,
    maps: NDArray[np.float16],
    samples: Sequence[Sample],
    unseen: Collection[str],
    *,
    steps: int,
    seed: int,
    tuned_share: float = 1.0,
) -> None:
    """Train the head, then the late blocks with it, on every sample but those of the ``unseen`` devices; the
    averaged weights of the last step stay.

    With a ``tuned_share`` in (0, 1) they stay so far on the way from the trained head on untrained blocks
    (Wortsman et al. 2022, arXiv:2109.01903).
    """
    known = np.array([sample.device not in unseen for sample in samples])
    shares = np.zeros(len(samples))
    shares[known] = fair_shares([sample for sample in samples if sample.device not in unseen])
    labels = np.array([sample.class_index for sample in samples])
    _train_head(late, _Batches(maps, labels, shares, math.ceil(PROBE_SHARE * steps), seed + _OTHER_BATCHES))
    probed = late.get_weights()
    late.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(
                0.0, max(steps - WARMUP_STEPS, 1), warmup_target=LEARNING_RATE, warmup_steps=WARMUP_STEPS
            ),
            weight_decay=WEIGHT_DECAY,
            global_clipnorm=1.0,
            use_ema=True,
            ema_momentum=EMA,
        ),
        loss={"logits": _LOSS, "features": None},
        jit_compile=False,
    )
    late.fit(
        _Batches(maps, labels, shares, steps, seed),
        verbose=1 if _stderr.is_terminal else 2,
        callbacks=[KeepFreedMemory()],
    )
    if tuned_share < 1:
        between = zip(probed, late.get_weights(), strict=True)
        late.set_weights([before + tuned_share * (after - before) for before, after in between])


def _train_head(late: keras.Model, batches: _Batches) -> None:
    """Alone, on what the late blocks make of the maps as they are."""
    head = layers.Dense(NUM_CLASSES)
    probe = keras.Sequential([layers.Dropout(DROPOUT), head])
    probe.compile(keras.optimizers.AdamW(PROBE_LEARNING_RATE, weight_decay=WEIGHT_DECAY), _LOSS)
    for index in range(len(batches)):
        maps, labels = batches[index]
        probe.train_on_batch(late.predict_on_batch(maps)["features"], labels["logits"])
    late.get_layer(_HEAD).set_weights(head.get_weights())


def seen_by(frozen: keras.Model, late: keras.Model, pixels: UInt8Array) -> tuple[Float32Array, Float32Array]:
    """Features ``[N, 8, 1280]`` and logits ``[N, 8, 5]`` of the eight views of uint8 ``[N, 224, 224, 3]``."""
    answers = []
    for view in VIEWS:
        turned = np.stack([view.apply(image) for image in pixels])
        rows = np.clip(model_input(turned, SIDE) * np.float32(view.gain), 0, 1)
        answers.append(late.predict(frozen.predict(rows, CHUNK, verbose=0), CHUNK, verbose=0))
    return tuple(np.stack([one[name] for one in answers], axis=1) for name in ("features", "logits"))  # type: ignore[return-value]


def collect(
    samples: Sequence[Sample],
    base: int,
    output: Path,
    *,
    seeds: Sequence[int],
    steps: int,
    variations: int,
    aside: Collection[str] = (),
    tuned_share: float = 1.0,
) -> None:
    """Write the archives that are not there; the first ``base`` samples are scored, the others only train,
    and those of the devices ``aside`` are only scored."""
    devices = sorted({sample.device for sample in samples[:base]})
    wanted = [
        (device, seed)
        for seed in seeds
        for device in devices
        if not (output / f"{device}-{seed}.npz").is_file()
    ]
    if not wanted:
        return
    output.mkdir(parents=True, exist_ok=True)
    cv2.setNumThreads(1)  # the pools' threads are the parallelism
    images = load_images(samples, cache_dir=output / "images", console=_stderr)
    measured = morphometry_of(samples, _stderr)
    recipe = TrainingConfig(crop_scale=1.4).recipe
    for device, seed in wanted:
        keras.utils.set_random_seed(seed)
        frozen, late = split_network()
        maps = varied_maps(frozen, images, variations, output / "maps.npy")
        unseen = {device, *aside}
        train_without(late, maps, samples, unseen, steps=steps, seed=seed, tuned_share=tuned_share)
        of = [i for i in range(base) if samples[i].device == device]
        features, logits = seen_by(frozen, late, plain_pixels([images[i] for i in of], recipe))
        others = [i for i in range(len(samples)) if samples[i].device not in unseen]
        evidence = fit_evidence([samples[i] for i in others], measured[others]).added(measured[of])
        archive = output / f"{device}-{seed}.npz"
        partial = archive.with_suffix(".partial.npz")
        np.savez(
            partial,
            features=features.astype(np.float16),
            network=logits,
            evidence=evidence,
            logits=logits + evidence.sum(axis=0)[:, np.newaxis],
            labels=np.array([samples[i].class_index for i in of]),
            groups=np.array([group_of(samples[i]) for i in of]),
            cells=np.array([samples[i].cell or samples[i].path.name for i in of]),
            ids=np.array([samples[i].path.name for i in of]),
        )
        partial.rename(archive)


def scores(logits: Sequence[Logits], labels: NDArray[np.intp], cells: NDArray[np.str_]) -> Interval:
    """Balanced accuracy, the mean over networks of their logits ``[N, 5]``, over classes of :data:`FEW` cells
    or more, each cell once; its interval by resampled cells of each class."""
    random = np.random.default_rng(0)
    values = np.zeros(RESAMPLES + 1)
    right = np.mean([of.argmax(axis=1) == labels for of in logits], axis=0)
    classes = [c for c in range(NUM_CLASSES) if len(np.unique(cells[labels == c])) >= FEW]
    for c in classes:
        of = labels == c
        _, cell = np.unique(cells[of], return_inverse=True)
        share = np.bincount(cell, right[of]) / np.bincount(cell)
        drawn = share[random.integers(len(share), size=(RESAMPLES, len(share)))].mean(axis=1)
        values += np.concatenate([[share.mean()], drawn]) / len(classes)
    low, high = np.quantile(values[1:], [0.025, 0.975])
    return Interval(float(values[0]), float(low), float(high))


def table(output: Path, devices: Sequence[str], seeds: Sequence[int]) -> Iterator[str]:
    """Lines of markdown: what each device scores by the network alone, and with the evidence."""
    yield f"| left out | images | network alone | {' | '.join(f'and the {part}' for part in PARTS)} |"
    yield f"| --- | --- | --- |{' --- |' * len(PARTS)}"
    means: list[list[float]] = []
    for device in devices:
        archives = [dict(np.load(output / f"{device}-{seed}.npz")) for seed in seeds]
        labels, cells = archives[0]["labels"], archives[0]["cells"]
        told = []
        for parts in range(len(PARTS) + 1):
            # The first view alone, as the profiles ask.
            of = [one["network"][:, 0] + one["evidence"][:parts].sum(axis=0) for one in archives]
            told.append(scores(of, labels, cells))
        means.append([score.value for score in told])
        yield f"| {device} | {len(labels)} | {' | '.join(map(str, told))} |"
    yield f"| mean | | {' | '.join(f'{mean:.3f}' for mean in np.mean(means, axis=0))} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m training.left_out",
        description=f"Train without one device after the other, and score it. {DISCLAIMER}",
    )
    parser.add_argument("--data-root", type=Path, required=True, help="folder with Train/<Class>/*")
    parser.add_argument("--more-device", type=Path, action="append", default=[], help="<device>/<Class>/*")
    parser.add_argument(
        "--only-train", type=Path, action="append", default=[], help="further images that are not scored"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the archives")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=400, help=f"of {BATCH} images")
    parser.add_argument("--variations", type=int, default=10, help="of each image")
    parser.add_argument(
        "--aside", action="append", default=[], metavar="DEVICE", help="is scored, and trains nothing"
    )
    parser.add_argument(
        "--tuned-share",
        type=float,
        default=1.0,
        metavar="SHARE",
        help="how far the weights go from those of a trained head alone to the tuned ones (0 to 1)",
    )
    given: Any = parser.parse_args(arguments)
    samples = [
        *read_split(given.data_root, "Train"),
        *(sample for folder in given.more_device for sample in read_device(folder)),
    ]
    base = len(samples)
    samples += [sample for folder in given.only_train for sample in read_device(folder)]
    devices = sorted({sample.device for sample in samples[:base]})
    if unknown := set(given.aside) - set(devices):
        parser.error(f"--aside names {', '.join(sorted(unknown))}: expected some of {', '.join(devices)}")
    if not 0 <= given.tuned_share <= 1:
        parser.error(f"expected a --tuned-share of 0 to 1, got {given.tuned_share}")
    collect(
        samples,
        base,
        given.output,
        seeds=given.seeds,
        steps=given.steps,
        variations=given.variations,
        aside=given.aside,
        tuned_share=given.tuned_share,
    )
    for line in table(given.output, devices, given.seeds):
        sys.stdout.write(f"{line}\n")
    sys.stdout.write(f"\n{DISCLAIMER}\n")


if __name__ == "__main__":
    main()
