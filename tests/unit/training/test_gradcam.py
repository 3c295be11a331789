import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.random_weights import randomise
from training.classifier import build_classifier, feature_count
from training.gradcam import autodiff_class_activation_maps, class_activation_maps

CHANNELS = 1280  # MobileNetV2's, whose network is quicker to build than DenseNet121's


@pytest.fixture(
    scope="module",
    params=[(True, (512, 256), True), (False, (512, 256), False), (True, (), True)],
    ids=["attention", "plain with ReLU", "linear head"],
)
def model(request: pytest.FixtureRequest) -> keras.Model:
    attention, units, med_swish = request.param
    return randomise(
        build_classifier(
            "MobileNetV2", image_size=None, attention=attention, head_units=units, med_swish=med_swish
        )
    )


def random_maps(count: int = 3, height: int = 7, width: int = 7, seed: int = 0) -> NDArray[np.float32]:
    """As after a ReLU: about half of the activations are zero."""
    rng = np.random.default_rng(seed)
    return np.maximum(rng.normal(size=(count, height, width, CHANNELS)), 0.0).astype(np.float32)


def forward(
    model: keras.Model, maps: NDArray[np.float32], head: NDArray[np.float32] | None = None
) -> NDArray[np.float32]:
    return keras.ops.convert_to_numpy(class_activation_maps(model, keras.ops.convert_to_tensor(maps), head))


def assert_relatively_equal(
    ours: NDArray[np.float32], reference: NDArray[np.float32], tolerance: float = 1e-5
) -> None:
    assert reference.max() > 0.0
    assert np.abs(ours - reference).max() <= tolerance * reference.max()


def test_forward_formula_equals_autodiff(model: keras.Model) -> None:
    maps = random_maps()

    ours = forward(model, maps)

    assert ours.shape == (3, 5, 7, 7)
    assert ours.dtype == np.float32
    assert_relatively_equal(ours, autodiff_class_activation_maps(model, maps))


def test_ties_of_the_maximum_share_the_gradient_as_in_autodiff(model: keras.Model) -> None:
    maps = (np.round(random_maps(seed=1) * 2.0) / 2.0).astype(np.float32)
    maps[0, :, :, :9] = 1.5
    maps[1, 2:5] = maps[1, 2:3]

    assert_relatively_equal(forward(model, maps), autodiff_class_activation_maps(model, maps))


def test_maps_need_not_be_square(model: keras.Model) -> None:
    maps = random_maps(2, height=4, width=6)

    ours = forward(model, maps)

    assert ours.shape == (2, 5, 4, 6)
    assert_relatively_equal(ours, autodiff_class_activation_maps(model, maps))


def test_maps_without_activation_explain_nothing(model: keras.Model) -> None:
    silent = np.zeros((1, 7, 7, CHANNELS), dtype=np.float32)

    np.testing.assert_array_equal(forward(model, silent), np.zeros((1, 5, 7, 7)))
    np.testing.assert_array_equal(autodiff_class_activation_maps(model, silent), np.zeros((1, 5, 7, 7)))


def test_rows_of_a_batch_do_not_touch_each_other(model: keras.Model) -> None:
    maps = random_maps()

    together = forward(model, maps)
    apart = np.concatenate([forward(model, maps[row : row + 1]) for row in range(len(maps))])

    assert_relatively_equal(together, apart)


class TestOfASitesHead:
    def test_every_row_is_explained_by_its_own_head(self, model: keras.Model) -> None:
        maps = random_maps()
        shape = (3, feature_count(model) + 1, 5)
        head = np.random.default_rng(2).normal(scale=0.1, size=shape).astype(np.float32)

        ours = forward(model, maps, head)

        assert_relatively_equal(ours, autodiff_class_activation_maps(model, maps, head))
        assert np.abs(ours - forward(model, maps)).max() > 0.01 * ours.max()

    def test_a_head_of_zeros_is_the_models_own(self, model: keras.Model) -> None:
        maps = random_maps()
        zeros = np.zeros((3, feature_count(model) + 1, 5), np.float32)

        np.testing.assert_array_equal(forward(model, maps, zeros), forward(model, maps))


ON_JAX = """
import sys
import keras, numpy as np
from tests.random_weights import randomise
from training.classifier import build_classifier
from training.gradcam import autodiff_class_activation_maps, class_activation_maps
model = randomise(build_classifier("MobileNetV2", image_size=None))
maps = np.maximum(np.random.default_rng(0).normal(size=(2, 7, 7, 1280)), 0).astype("float32")
ours = np.asarray(class_activation_maps(model, keras.ops.convert_to_tensor(maps)))
reference = autodiff_class_activation_maps(model, maps)
print(keras.backend.backend(), np.abs(ours - reference).max() / reference.max())
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_forward_formula_equals_autodiff_on_jax() -> None:
    root = Path(__file__).parents[3]
    environment = {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)}

    done = subprocess.run(
        [sys.executable, "-c", ON_JAX], check=True, env=environment, cwd=root, capture_output=True, text=True
    )

    backend, difference = done.stdout.split()
    assert backend == "jax"
    assert float(difference) <= 1e-5
