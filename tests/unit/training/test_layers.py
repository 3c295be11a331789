import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from training.averaged_weights import batch_norm_layers
from training.layers import BackboneInput, InstanceBatchNormalization, MedSwish, WBCAttentionBlock


def sigmoid(x: NDArray[np.floating]) -> NDArray[np.floating]:
    return 1.0 / (1.0 + np.exp(-x))


def attention_by_numpy(
    maps: NDArray[np.float32], block: WBCAttentionBlock
) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """The docstring's formula, one output pixel at a time."""
    squeeze_kernel, squeeze_bias, excite_kernel, excite_bias, spatial_kernel, spatial_bias = (
        np.asarray(weight) for weight in block.get_weights()
    )

    def mlp(summary: NDArray[np.floating]) -> NDArray[np.floating]:
        return np.maximum(summary @ squeeze_kernel + squeeze_bias, 0.0) @ excite_kernel + excite_bias

    scale = sigmoid(mlp(maps.mean(axis=(1, 2))) + mlp(maps.max(axis=(1, 2))))
    weighted = maps * scale[:, None, None, :]
    summary = np.stack([weighted.mean(axis=-1), weighted.max(axis=-1)], axis=-1)
    padded = np.pad(summary, ((0, 0), (3, 3), (3, 3), (0, 0)))
    mask = np.empty((*maps.shape[:3], 1))
    for row in range(maps.shape[1]):
        for column in range(maps.shape[2]):
            window = padded[:, row : row + 7, column : column + 7]
            mask[:, row, column, 0] = (window * spatial_kernel[..., 0]).sum(axis=(1, 2, 3)) + spatial_bias[0]
    return weighted * sigmoid(mask), sigmoid(mask)


def test_med_swish_follows_its_formula() -> None:
    x = np.linspace(-6.0, 6.0, 101, dtype=np.float32)
    layer = MedSwish(alpha=0.3, beta=1.7)

    expected = x * sigmoid(1.7 * x) * (1.0 + 0.3 * np.tanh(x))

    np.testing.assert_allclose(np.asarray(layer(x)), expected, atol=1e-6)


def test_med_swish_learns_two_scalars_that_start_at_the_reference_values() -> None:
    layer = MedSwish()
    layer.build((None, 8))

    assert layer.count_params() == 2
    assert [float(weight) for weight in layer.get_weights()] == pytest.approx([0.1, 1.0])
    assert len(layer.trainable_weights) == 2


def test_med_swish_derivative_is_the_slope_of_the_function() -> None:
    x = np.linspace(-4.0, 4.0, 81)
    layer = MedSwish(alpha=0.3, beta=1.7, dtype="float64")
    step = 1e-6

    slope = (np.asarray(layer(x + step)) - np.asarray(layer(x - step))) / (2 * step)

    np.testing.assert_allclose(np.asarray(layer.derivative(x)), slope, atol=1e-7)


def test_attention_follows_its_formula() -> None:
    rng = np.random.default_rng(0)
    maps = rng.normal(size=(2, 5, 6, 32)).astype(np.float32)
    block = WBCAttentionBlock(reduction=8)
    block.build(maps.shape)
    block.set_weights([rng.normal(size=weight.shape, scale=0.3) for weight in block.get_weights()])

    for ours, expected in zip(block(maps), attention_by_numpy(maps, block), strict=True):
        np.testing.assert_allclose(np.asarray(ours), expected, atol=1e-5)


def test_attention_has_the_reference_parameter_count() -> None:
    block = WBCAttentionBlock()
    block.build((None, 7, 7, 1024))

    assert block.count_params() == 132_259


def test_attention_refuses_fewer_channels_than_its_reduction() -> None:
    with pytest.raises(ValueError, match=r"at least 16 channels .* got 8"):
        WBCAttentionBlock().build((None, 7, 7, 8))


@pytest.mark.parametrize(
    ("scaling", "expected"),
    [
        ("raw", [255.0, 127.5, 0.0]),
        ("tf", [1.0, 0.0, -1.0]),
        ("torch", [(1 - 0.485) / 0.229, (0.5 - 0.456) / 0.224, -0.406 / 0.225]),
        ("caffe", [0.0 - 103.939, 127.5 - 116.779, 255.0 - 123.68]),
    ],
)
def test_backbone_input_scales_as_the_backbone_expects(scaling: str, expected: list[float]) -> None:
    pixel = np.array([[[[1.0, 0.5, 0.0]]]], dtype=np.float32)

    scaled = np.asarray(BackboneInput(scaling)(pixel))  # type: ignore[arg-type]

    np.testing.assert_allclose(scaled.ravel(), expected, atol=1e-4)


def test_layers_survive_saving_without_custom_objects(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    image = keras.Input((8, 8, 32))
    x, _ = WBCAttentionBlock(reduction=4, kernel_size=3)(image)
    model = keras.Model(image, MedSwish(alpha=0.2, beta=0.7)(BackboneInput("tf")(x[..., :3])))
    model.set_weights([rng.normal(size=weight.shape) for weight in model.get_weights()])
    pixels = rng.random((2, 8, 8, 32), dtype=np.float32)
    model.save(tmp_path / "model.keras")

    reloaded = keras.models.load_model(tmp_path / "model.keras", compile=False)

    np.testing.assert_array_equal(np.asarray(reloaded(pixels)), np.asarray(model(pixels)))


FORWARD = """
import sys
import numpy as np
from training.averaged_weights import batch_norm_layers
from training.layers import BackboneInput, InstanceBatchNormalization, MedSwish, WBCAttentionBlock
arrays = np.load(sys.argv[1])
maps = arrays["maps"]
block, swish = WBCAttentionBlock(reduction=4), MedSwish(0.4, 1.3)
block.build(maps.shape)
block.set_weights([arrays[f"weight_{i}"] for i in range(6)])
out = [*block(maps), swish(maps), swish.derivative(maps), BackboneInput("torch")(maps[..., :3])]
np.savez(sys.argv[2], *[np.asarray(o) for o in out])
"""


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_layers_give_the_same_numbers_on_jax(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    maps = rng.normal(size=(2, 6, 6, 16)).astype(np.float32)
    block, swish = WBCAttentionBlock(reduction=4), MedSwish(0.4, 1.3)
    block.build(maps.shape)
    block.set_weights([rng.normal(size=weight.shape) for weight in block.get_weights()])
    weights = {f"weight_{i}": weight for i, weight in enumerate(block.get_weights())}
    np.savez(tmp_path / "inputs.npz", maps=maps, **weights)
    here = [*block(maps), swish(maps), swish.derivative(maps), BackboneInput("torch")(maps[..., :3])]

    root = Path(__file__).parents[3]
    subprocess.run(
        [sys.executable, "-c", FORWARD, str(tmp_path / "inputs.npz"), str(tmp_path / "outputs.npz")],
        check=True,
        env={"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(root)},
        cwd=root,
    )

    with np.load(tmp_path / "outputs.npz") as there:
        for ours, name in zip(here, there.files, strict=True):
            np.testing.assert_allclose(np.asarray(ours), there[name], atol=2e-5)


def instance_batch_norm(channels: int) -> InstanceBatchNormalization:
    """One whose every weight differs from its initial value."""
    layer = InstanceBatchNormalization()
    layer.build((None, 6, 6, channels))
    random = np.random.default_rng(1)
    layer.set_weights([random.uniform(0.5, 2.0, weight.shape) for weight in layer.get_weights()])
    return layer


def test_the_first_half_is_normalised_by_the_image_and_the_second_by_the_moving_statistics() -> None:
    layer = instance_batch_norm(6)
    maps = np.random.default_rng(0).normal(3.0, 2.0, (4, 6, 6, 6)).astype(np.float32)
    group = keras.layers.GroupNormalization(groups=-1)
    group.build((None, 6, 6, 3))
    group.set_weights([layer.gamma, layer.beta])

    normalised = np.asarray(layer(maps))

    np.testing.assert_allclose(normalised[..., :3], np.asarray(group(maps[..., :3])), atol=1e-5)
    np.testing.assert_allclose(normalised[..., 3:], np.asarray(layer.batch(maps[..., 3:])), atol=1e-5)


def test_in_training_the_second_half_is_normalised_by_the_batch_which_moves_the_statistics() -> None:
    layer = instance_batch_norm(6)
    layer.batch.gamma.assign(np.ones(3))
    layer.batch.beta.assign(np.zeros(3))
    before = np.asarray(layer.batch.moving_mean).copy()
    maps = np.random.default_rng(0).normal(3.0, 2.0, (8, 6, 6, 6)).astype(np.float32)

    normalised = np.asarray(layer(maps, training=True))

    np.testing.assert_allclose(normalised[..., 3:].mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(normalised[..., :3], np.asarray(layer(maps))[..., :3], atol=1e-5)
    assert not np.allclose(before, np.asarray(layer.batch.moving_mean))


def test_a_flat_image_is_no_division_by_zero() -> None:
    layer = instance_batch_norm(4)

    assert np.isfinite(np.asarray(layer(np.full((1, 6, 6, 4), 1e4, np.float32)))).all()


def test_its_batch_normalisation_is_found_where_averages_of_weights_are_put_in() -> None:
    image = keras.Input((6, 6, 4))
    model = keras.Model(image, InstanceBatchNormalization()(image))

    (found,) = batch_norm_layers(model)

    assert found is model.layers[-1].batch
