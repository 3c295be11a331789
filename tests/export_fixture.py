"""A model repository with an untrained DenseNet121, exported once for all tests that ask for it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class ExportedModel:
    """``model`` (Keras), exported as version 1 of ``repository``."""

    model: "keras.Model"
    repository: Path
    version_dir: Path
    holder: TemporaryDirectory[str]


@cache
def _export() -> ExportedModel:
    # Imported here: most tests need neither TensorFlow nor its seconds.
    from tests.random_weights import randomise
    from training.classifier import build_classifier
    from training.export import export_model

    model = randomise(build_classifier(image_size=None))
    holder = TemporaryDirectory(prefix="wbc-repository-")
    repository = Path(holder.name) / "model_repository"
    return ExportedModel(model, repository, export_model(model, repository, version=1), holder)


@pytest.fixture(scope="session")
def exported_model() -> Iterator[ExportedModel]:
    """The Keras model and its export; takes about half a minute the first time."""
    exported = _export()
    yield exported
    exported.holder.cleanup()
