"""Batch normalisation in a convolution: the same answers of fewer layers, and what must stay stays."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.random_weights import randomise
from training.compact_backbone import compact_backbone
from training.efficientnet_lite import efficientnet_lite
from training.folding import fold_batch_norms

INPUT = (16, 16, 3)


def functional(build: Callable[[Any], Any], shape: tuple[int, ...] = INPUT) -> keras.Model:
    image = keras.Input(shape)
    return keras.Model(image, build(image), name="network")


def norms(model: keras.Model) -> int:
    return sum(isinstance(layer, layers.BatchNormalization) for layer in model.layers)


def assert_equal(model: keras.Model, folded: keras.Model) -> None:
    shape = [2, *(32 if size is None else size for size in model.input_shape[1:])]
    images = np.random.default_rng(1).normal(size=shape).astype(np.float32)
    expected = keras.ops.convert_to_numpy(model(images, training=False))
    received = keras.ops.convert_to_numpy(folded(images, training=False))
    assert np.abs(expected).max() > 0.01
    assert np.abs(received - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    "convolution",
    [
        layers.Conv2D(8, 3, use_bias=False),
        layers.Conv2D(8, 3, strides=2, padding="same"),
        layers.Conv2D(6, 3, groups=3),
        layers.DepthwiseConv2D(3, use_bias=False),
        layers.DepthwiseConv2D(3, depth_multiplier=4),
    ],
    ids=["plain", "with a bias", "in groups", "depthwise", "depthwise of four each"],
)
@pytest.mark.parametrize(
    "norm",
    [{}, {"scale": False, "center": False, "epsilon": 0.1}],
    ids=["with gain and offset", "without"],
)
def test_a_normalisation_behind_a_convolution_becomes_part_of_it(
    convolution: layers.Layer, norm: dict[str, Any]
) -> None:
    copy = type(convolution).from_config(convolution.get_config())
    model = functional(lambda x: layers.ReLU()(layers.BatchNormalization(**norm)(copy(x))))
    randomise(model)

    folded = fold_batch_norms(model)

    assert [layer.name for layer in folded.layers[1:]] == [copy.name, model.layers[-1].name]
    assert_equal(model, folded)
    assert norms(model) == 1


def test_all_of_efficientnet_lite_is_folded_and_answers_alike() -> None:
    model = randomise(efficientnet_lite())
    assert norms(model) == 49

    folded = fold_batch_norms(model)

    assert norms(folded) == 0
    assert len(folded.layers) == len(model.layers) - 49
    assert_equal(model, folded)


def test_of_densenet_the_normalisations_before_a_convolution_stay() -> None:
    model = randomise(
        keras.applications.DenseNet121(include_top=False, weights=None, input_shape=(None, None, 3))
    )

    folded = fold_batch_norms(model)

    # One before each of 58 dense layers and 3 transitions, and the last; those inside the layers are gone.
    assert (norms(model), norms(folded)) == (121, 62)
    assert_equal(model, folded)


def test_a_normalisation_by_the_image_stays() -> None:
    model = randomise(compact_backbone(width=8))
    kinds = [type(layer).__name__ for layer in model.layers]

    folded = fold_batch_norms(model)

    left = [type(layer).__name__ for layer in folded.layers]
    assert (norms(model), norms(folded)) == (11, 0)
    assert left.count("InstanceBatchNormalization") == kinds.count("InstanceBatchNormalization") > 0
    assert_equal(model, folded)


def bent_before(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Conv2D(4, 3, activation="relu")(x))


def before_the_convolution(x: Any) -> Any:
    return layers.Conv2D(4, 3)(layers.BatchNormalization()(x))


def read_twice(x: Any) -> Any:
    maps = layers.Conv2D(4, 3)(x)
    return layers.Add()([maps, layers.BatchNormalization()(maps)])


def given_out(x: Any) -> Any:
    maps = layers.Conv2D(4, 3, padding="same")(x)
    return layers.Concatenate()([layers.BatchNormalization()(maps), x]), maps


def of_rows(x: Any) -> Any:
    return layers.BatchNormalization(axis=1)(layers.Conv2D(4, 3)(x))


def used_twice(x: Any) -> Any:
    convolution = layers.Conv2D(3, 3, padding="same")
    return convolution(layers.BatchNormalization()(convolution(x)))


def of_a_dense_layer(x: Any) -> Any:
    return layers.BatchNormalization()(layers.Dense(4)(x))


@pytest.mark.parametrize(
    "build",
    [bent_before, before_the_convolution, read_twice, of_rows, used_twice, of_a_dense_layer],
)
def test_what_is_no_part_of_a_convolution_stays(build: Callable[[Any], Any]) -> None:
    model = randomise(functional(build))

    folded = fold_batch_norms(model)

    assert norms(folded) == 1
    assert_equal(model, folded)


def test_maps_that_are_given_out_are_not_changed() -> None:
    model = randomise(functional(given_out))
    folded = fold_batch_norms(model)
    images = np.random.default_rng(0).normal(size=(2, *INPUT)).astype(np.float32)

    for expected, received in zip(model(images), folded(images), strict=True):
        np.testing.assert_allclose(received, expected, rtol=1e-6)


def test_models_within_a_model_are_folded_too_and_keep_names_and_outputs() -> None:
    inner = keras.Sequential(
        [keras.Input(INPUT), layers.Conv2D(4, 3), layers.BatchNormalization(), layers.ReLU()], name="backbone"
    )
    image = keras.Input(INPUT, name="image")
    pooled = layers.GlobalAveragePooling2D(name="pool")(inner(image))
    model = randomise(keras.Model(image, {"out": layers.Dense(3, name="out")(pooled)}, name="whole"))
    model.compile(loss="mse")

    folded = fold_batch_norms(model)

    assert norms(folded.get_layer("backbone")) == 0
    assert [layer.name for layer in folded.layers] == [layer.name for layer in model.layers]
    assert (folded.name, list(folded.output), folded.compiled) == ("whole", ["out"], False)
    images = np.random.default_rng(0).normal(size=(2, *INPUT)).astype(np.float32)
    np.testing.assert_allclose(folded(images)["out"], model(images)["out"], rtol=1e-5)


def test_a_copy_of_a_model_is_folded_as_the_model_is() -> None:
    """Keras calls the layers of a copied sequential model more than once."""
    model = keras.Sequential([keras.Input(INPUT), layers.Conv2D(4, 3), layers.BatchNormalization()])

    assert norms(fold_batch_norms(keras.models.clone_model(model))) == 0
