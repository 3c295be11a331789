"""Trained classifiers as teachers."""

import keras
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from training.teachers import mean_of_teachers, teacher_sha256


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)


def saved(path, seed):
    """A classifier by the mean colour, of five classes drawn by ``seed``."""
    image = keras.Input((224, 224, 3))
    wide = keras.initializers.RandomNormal(stddev=3.0, seed=seed)
    mean = keras.layers.GlobalAveragePooling2D()(image)
    classes = keras.layers.Dense(5, "softmax", kernel_initializer=wide)(mean)
    keras.Model(image, {"main_out": classes}).save(path)
    return path


def test_teachers_are_saved_models_or_exports_and_say_their_mean(tmp_path, pixels, small_exported_model):
    first, second = saved(tmp_path / "a.keras", 1), saved(tmp_path / "b.keras", 2)
    paths = [first, second, small_exported_model.version_dir]

    alone = [mean_of_teachers([path])(pixels) for path in paths]
    together = mean_of_teachers(paths)(pixels)

    assert together.shape == (2, 5)
    assert together.dtype == np.float32
    np.testing.assert_allclose(together, np.mean(alone, axis=0), atol=1e-6)
    np.testing.assert_allclose(together.sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-3)


def test_a_teacher_is_known_by_what_it_is_and_not_by_its_place(tmp_path, small_exported_model):
    first, second = saved(tmp_path / "a.keras", 1), saved(tmp_path / "b.keras", 2)
    before = teacher_sha256(first)
    moved = first.rename(tmp_path / "moved.keras")

    assert teacher_sha256(moved) == before
    assert teacher_sha256(moved) != teacher_sha256(second)
    assert teacher_sha256(small_exported_model.version_dir) not in (
        teacher_sha256(moved),
        teacher_sha256(second),
    )


def test_what_is_no_classifier_teaches_nothing(tmp_path):
    for ask in (lambda path: mean_of_teachers([path]), teacher_sha256):
        with pytest.raises(ConfigurationError, match="expected a SavedModel"):
            ask(tmp_path)
