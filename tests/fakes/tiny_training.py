"""A training run of seconds: discs whose colour is their class, and a network that tells them apart.

Run as a module it trains, so that a test can kill it: ``python -m tests.fakes.tiny_training CONFIG``, where
CONFIG is JSON with the fields of :func:`tiny_config`.
"""

import json
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from orchestrator.model_contract import CLASS_NAMES

if TYPE_CHECKING:
    import keras

    from training.augmentation import AugmentationConfig
    from training.run_config import TrainingConfig

COLOURS = [(40, 40, 160), (200, 60, 40), (60, 160, 60), (120, 120, 120), (180, 60, 180)]
DEVICES = ("one", "other")


def write_discs(root: Path, per_class: int = 8) -> Path:
    """Write ``root/Train/<Class>/*.png`` with a manifest of two devices, and return ``root``."""
    random = np.random.default_rng(0)
    rows = ["path,device,slide"]
    for name, colour in zip(CLASS_NAMES, COLOURS, strict=True):
        folder = root / "Train" / name
        folder.mkdir(parents=True)
        for number in range(per_class):
            rgb = np.full((96, 96, 3), 235, np.uint8)
            centre = tuple(int(c) for c in random.integers(40, 56, 2))
            cv2.circle(rgb, centre, int(random.integers(18, 26)), colour, -1)
            path = folder / f"{number}.png"
            cv2.imwrite(str(path), rgb[:, :, ::-1])
            rows.append(f"{path.relative_to(root).as_posix()},{DEVICES[number % 2]},")
    (root / "manifest.csv").write_text("\n".join(rows) + "\n")
    return root


def tiny_classifier(_config: "TrainingConfig | None" = None) -> "keras.Model":
    """A backbone of two convolutions with batch normalisation, and the usual head without attention.

    Every weight costs time to trace, and a test waits for that and for nothing else.
    """
    import keras

    from training.classifier import assemble_classifier

    backbone = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.Conv2D(16, 4, strides=4),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Conv2D(32, 2, strides=2, activation="relu"),
        ],
        name="backbone",
    )
    return assemble_classifier(backbone, "torch", attention=False)


def shipped_augmentation() -> "AugmentationConfig":
    """The variations of the model in the repository: all that there are."""
    from training.augmentation import AugmentationConfig
    from training.commands.config_file import CONFIGS

    table = tomllib.loads((CONFIGS / "shipped.toml").read_text(encoding="utf-8"))["augmentation"]
    return AugmentationConfig(**table)


def tiny_config(data_root: Path | str, run_dir: Path | str, **settings: Any) -> "TrainingConfig":
    """Two phases of two epochs at 32 px without a focus monitor, and whatever ``settings`` changes."""
    from training.run_config import TrainingConfig

    config = TrainingConfig(
        data_root=Path(data_root),
        run_dir=Path(run_dir),
        val_fraction=0.25,
        batch_size=10,
        img_size=32,
        phase1_epochs=2,
        phase2_epochs=2,
        phase1_learning_rate=3e-3,
        phase2_learning_rate=1e-3,
        xai_every_n_epochs=0,
    )
    return replace(config, **settings)


if __name__ == "__main__":
    from training.train import train

    train(tiny_config(**json.loads(sys.argv[1])), build_model=tiny_classifier)
