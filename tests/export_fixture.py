"""Model repositories with untrained networks, each exported once for all tests that ask for it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ExportedModel:
    """``model`` (Keras), exported as version 1 of ``repository``."""

    model: "keras.Model"
    repository: Path

    @property
    def model_dir(self) -> Path:
        """The folder that holds the versions."""
        return self.repository / "wbc"

    @property
    def version_dir(self) -> Path:
        return self.model_dir / "1"


EVIDENCE = tuple(np.random.default_rng(7).normal(size=(rows, 5)).astype(np.float32) for rows in (3, 10, 15))
"""What size, appearance and outline of a cell speak for, in every export."""

_EXPORTS: dict[str, ExportedModel] = {}


@pytest.fixture(scope="session")
def exported_model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """DenseNet121 with attention, as it is served; takes half a minute the first time."""
    from training.classifier import build_classifier

    return _exported("densenet", lambda: build_classifier(image_size=None), tmp_path_factory)


@pytest.fixture(scope="session")
def small_exported_model(tmp_path_factory: pytest.TempPathFactory) -> ExportedModel:
    """A network of two convolutions that keeps the contract; for tests that need no DenseNet121."""
    return _exported("small", small_classifier, tmp_path_factory)


def small_classifier() -> "keras.Model":
    """Build two convolutions (1,024 maps of 7 x 7 at 224 pixels) and the usual head."""
    # Imported here and below: most tests need neither TensorFlow nor its seconds.
    import keras

    from training.classifier import assemble_classifier

    backbone = keras.Sequential(
        [
            keras.Input((None, None, 3)),
            keras.layers.AveragePooling2D(4),
            keras.layers.Conv2D(16, 4, strides=4, activation="relu"),
            keras.layers.Conv2D(1024, 2, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
        ],
        name="backbone",
    )
    return assemble_classifier(backbone, "torch")


def _exported(
    key: str, build: Callable[[], "keras.Model"], tmp_path_factory: pytest.TempPathFactory
) -> ExportedModel:
    if key not in _EXPORTS:
        import keras

        from tests.random_images import varied_images
        from tests.random_weights import calibrate, randomise
        from training.export import export_model
        from training.morphometric_evidence import MorphometricEvidence

        # Every run has the same network: with some initial weights a class answers nearly the same for every
        # image.
        keras.utils.set_random_seed(0)
        model = randomise(build())
        calibrate(model, varied_images(24, 96, seed=1).astype(np.float32) / np.float32(255.0))
        repository = tmp_path_factory.mktemp(key) / "model_repository"
        export_model(
            model,
            repository,
            version=1,
            check_images=varied_images(3, 224, seed=2),
            evidence=MorphometricEvidence(*EVIDENCE),
        )
        _EXPORTS[key] = ExportedModel(model, repository)
    return _EXPORTS[key]
