from pathlib import Path

import keras
import numpy as np
import pytest

from tests.export_fixture import small_classifier
from tests.random_weights import randomise
from training.classifier import (
    build_classifier,
    feature_count,
    head_blocks,
    main_logits,
    with_attention,
    with_served_outputs,
)


@pytest.fixture(scope="module")
def any_size() -> keras.Model:
    return build_classifier(image_size=None)


@pytest.fixture(scope="module")
def compact() -> keras.Model:
    """The quickest to build."""
    return build_classifier("Compact", image_size=64)


@pytest.fixture(scope="module")
def small() -> keras.Model:
    return build_classifier("MobileNetV2", image_size=64)


def test_densenet_with_attention_has_the_reference_parameter_count(any_size: keras.Model) -> None:
    assert any_size.count_params() == 7_830_766


def test_attention_is_what_the_plain_network_lacks() -> None:
    plain = build_classifier(attention=False)

    assert plain.count_params() == 7_830_766 - 132_259
    assert plain.get_layer("conv_maps").output.shape == (None, 7, 7, 1024)


def test_one_network_takes_several_sizes(any_size: keras.Model) -> None:
    for size in (64, 96):
        outputs = any_size(np.full((2, size, size, 3), 0.5, dtype=np.float32))

        assert set(outputs) == {"main_out", "aux_binary_out", "not_wbc"}
        assert outputs["main_out"].shape == (2, 5)
        assert outputs["aux_binary_out"].shape == outputs["not_wbc"].shape == (2, 1)


def test_outputs_are_probabilities(small: keras.Model) -> None:
    pixels = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)

    outputs = small(pixels)

    np.testing.assert_allclose(np.asarray(outputs["main_out"]).sum(axis=1), 1.0, atol=1e-5)
    for name in ("aux_binary_out", "not_wbc"):
        assert ((np.asarray(outputs[name]) > 0) & (np.asarray(outputs[name]) < 1)).all()


def test_conv_maps_are_the_backbones_after_the_attention(any_size: keras.Model) -> None:
    pixels = np.random.default_rng(0).random((1, 64, 64, 3), dtype=np.float32)

    maps = keras.Model(any_size.input, any_size.get_layer("conv_maps").output)(pixels)
    backbone_maps = any_size.get_layer("backbone")(any_size.get_layer("backbone_input")(pixels))

    attended, _ = any_size.get_layer("attention")(backbone_maps)
    np.testing.assert_array_equal(np.asarray(maps), np.asarray(attended))
    assert any_size.get_layer("backbone").layers[-1].name == "relu"
    assert float(np.asarray(maps).min()) == 0.0


def test_the_attention_can_be_had_as_an_output_to_teach_it(any_size: keras.Model) -> None:
    pixels = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)

    taught = with_attention(any_size)
    attention = np.asarray(taught(pixels)["attention"])

    assert attention.shape == (2, 2, 2, 1)
    assert 0 < attention.min() <= attention.max() < 1
    assert with_attention(taught) is taught
    with pytest.raises(ValueError, match="without"):
        with_attention(build_classifier("Compact", image_size=64, attention=False))


def test_the_compact_backbone_keeps_the_maps_of_the_contract() -> None:
    model = build_classifier("Compact")

    assert model.get_layer("conv_maps").output.shape == (None, 7, 7, 1024)
    with pytest.raises(ValueError, match="no pre-trained weights"):
        build_classifier("Compact", backbone_weights="imagenet")


def test_logits_are_what_main_out_is_the_softmax_of_also_in_a_saved_model(tmp_path: Path) -> None:
    model = randomise(small_classifier())
    model.save(tmp_path / "best.keras")
    loaded = keras.models.load_model(tmp_path / "best.keras", compile=False)
    pixels = np.random.default_rng(0).random((3, 64, 64, 3), dtype=np.float32)

    served = {name: np.asarray(value) for name, value in with_served_outputs(loaded)(pixels).items()}

    assert set(served) == {"main_out", "aux_binary_out", "not_wbc", "conv_maps", "features", "logits"}
    assert served["features"].shape == (3, 256)
    exponentials = np.exp(served["logits"])
    np.testing.assert_allclose(
        exponentials / exponentials.sum(axis=1, keepdims=True), served["main_out"], rtol=1e-4
    )
    np.testing.assert_allclose(served["main_out"], np.asarray(model(pixels)["main_out"]), atol=1e-5)
    # The level that the softmax forgets is there: a bias on all classes moves every logit.
    loaded.get_layer("main_out").bias.assign_add([2.0] * 5)
    moved = with_served_outputs(loaded)(pixels)
    np.testing.assert_allclose(np.asarray(moved["logits"]), served["logits"] + 2.0, atol=1e-4)
    np.testing.assert_allclose(np.asarray(moved["main_out"]), served["main_out"], atol=1e-5)
    assert with_served_outputs(loaded).count_params() == model.count_params()


def test_without_dense_blocks_the_head_is_linear_on_the_pooled_maps() -> None:
    model = randomise(build_classifier("MobileNetV2", image_size=64, head_units=()))
    pixels = np.random.default_rng(0).random((2, 64, 64, 3), dtype=np.float32)

    served = {name: np.asarray(value) for name, value in with_served_outputs(model)(pixels).items()}

    pooled = served["conv_maps"].mean(axis=(1, 2))
    np.testing.assert_allclose(served["features"], pooled, rtol=1e-4, atol=1e-5)
    assert head_blocks(model) == ()
    assert feature_count(model) == 1280
    names = [layer.name for layer in model.layers]
    assert names[names.index("pool") + 1] == "dropout"
    assert set(names[names.index("pool") + 2 :]) == {"main_out", "aux_binary_out", "not_wbc"}


@pytest.mark.parametrize("name", ["main_out", "aux_binary_out", "not_wbc"])
def test_every_head_sees_the_same_features(small: keras.Model, name: str) -> None:
    assert small.get_layer(name).input is small.get_layer("main_out").input


def test_logits_of_given_features_are_those_of_the_dense_layer(small: keras.Model) -> None:
    features = np.random.default_rng(1).normal(size=(2, 256)).astype(np.float32)
    layer = small.get_layer("main_out")

    logits = np.asarray(main_logits(small, keras.ops.convert_to_tensor(features)))

    np.testing.assert_allclose(
        logits, features @ np.asarray(layer.kernel) + np.asarray(layer.bias), atol=1e-5
    )


def test_the_network_holds_no_random_augmentation(any_size: keras.Model) -> None:
    names = {layer.__class__.__name__ for layer in any_size.layers}

    assert not {name for name in names if name.startswith("Random")}


def test_freezing_the_backbone_leaves_the_head_trainable(small: keras.Model) -> None:
    small.get_layer("backbone").trainable = False
    frozen = sum(int(np.prod(weight.shape)) for weight in small.trainable_weights)
    small.get_layer("backbone").trainable = True

    # Attention 206,259 at 1,280 channels, dense blocks 655,872 + 131,328, norms 1,536, heads 1,799, swish 4.
    assert frozen == 206_259 + 655_872 + 131_328 + 1_536 + 1_799 + 4


@pytest.mark.parametrize("file_name", ["backbone.weights.h5", "classifier.keras"])
def test_backbone_weights_are_read_from_a_file(compact: keras.Model, tmp_path: Path, file_name: str) -> None:
    path = tmp_path / file_name
    if path.suffix == ".keras":
        compact.save(path)
    else:
        compact.get_layer("backbone").save_weights(path)

    fresh = build_classifier("Compact", backbone_weights=path, image_size=96)

    saved = compact.get_layer("backbone").get_weights()
    for ours, theirs in zip(fresh.get_layer("backbone").get_weights(), saved, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_missing_backbone_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"absent\.h5"):
        build_classifier("MobileNetV2", backbone_weights=tmp_path / "absent.h5", image_size=64)


def test_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="got 'AlexNet'"):
        build_classifier("AlexNet")
