"""NumPy arrays as tensors on the wire, and back.

An array goes out as ``tensor_content``, its bytes as they lie. A server may answer so or, as TensorFlow
Serving does unless it is told otherwise, in the typed field of the dtype; both are read. What a reply says of
itself is not believed: a wrong shape would be another model's answer, or an array of a size that somebody
else chose.
"""

import math
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array
from orchestrator.errors import ContractViolation
from orchestrator.model_contract import TensorSpec
from orchestrator.model_server.protos import tensor_pb2

DATA_TYPES: Final = MappingProxyType(
    {"float32": tensor_pb2.DT_FLOAT, "uint8": tensor_pb2.DT_UINT8, "int32": tensor_pb2.DT_INT32}
)
"""The dtypes of the contract on the wire."""

_FLOAT32: Final = np.dtype("<f4")  # little-endian, whatever this machine is


def filled(value: float, shape: Sequence[int]) -> tensor_pb2.TensorProto:
    """Return a float32 tensor that holds ``value`` everywhere, written once: where a typed field has fewer
    values than the shape has elements, TensorFlow repeats the last."""
    tensor = _header(tensor_pb2.DT_FLOAT, shape)
    tensor.float_val.append(value)
    return tensor


def tensor_header(array: NDArray[Any]) -> tensor_pb2.TensorProto:
    """Return dtype and shape of ``array`` as a tensor without content."""
    return _header(DATA_TYPES[array.dtype.name], array.shape)


def _header(dtype: tensor_pb2.DataType, shape: Sequence[int]) -> tensor_pb2.TensorProto:
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return tensor_pb2.TensorProto(dtype=dtype, tensor_shape=tensor_pb2.TensorShapeProto(dim=dims))


def content(array: NDArray[Any]) -> memoryview:
    """Return the bytes of the elements of ``array`` in C order, little-endian; no copy where they are."""
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data


def from_tensor(tensor: tensor_pb2.TensorProto, spec: TensorSpec, rows: int) -> Float32Array:
    """Return a float32 tensor of ``rows`` rows that is as ``spec`` has it; the array is not writeable.

    Raises:
        ContractViolation: dtype, shape or number of elements are others, or an element is no number.
        ValueError: ``spec`` is of another dtype, or leaves more than the number of rows open.
    """
    shape = None if tensor.tensor_shape.unknown_rank else tuple(d.size for d in tensor.tensor_shape.dim)
    dtype = dtype_name(tensor.dtype)
    return received_array(spec, rows, dtype, shape, tensor.tensor_content, tensor.float_val)


def received_array(
    spec: TensorSpec,
    rows: int,
    dtype: str,
    shape: tuple[int, ...] | None,
    packed: bytes,
    typed: Sequence[float],
) -> Float32Array:
    """Return the ``packed`` bytes (float32, little-endian) or, where there are none, the ``typed`` values of
    what a reply calls ``dtype`` and ``shape``, as :func:`from_tensor` does."""
    if spec.dtype != "float32":
        raise ValueError(f"expected an output of dtype float32, received {spec.name} of {spec.dtype}")
    sizes = [size for size in spec.shape[1:] if size is not None]
    if len(sizes) != len(spec.shape) - 1:
        raise ValueError(f"expected an output of one size, received {spec.name} of {list(spec.shape)}")
    expected = (rows, *sizes)
    if dtype != "float32" or shape != expected:
        raise ContractViolation(
            f"expected {spec.name} as float32{list(expected)}, received {described(dtype, shape)}"
        )
    # TensorFlow lets a typed field have fewer values than the shape has elements and repeats the last. No
    # server shortens an answer so, and an answer cut short would look the same.
    elements = math.prod(expected)
    if len(packed) + _FLOAT32.itemsize * len(typed) != _FLOAT32.itemsize * elements or (packed and typed):
        raise ContractViolation(
            f"expected {elements} elements of {spec.name}, received {len(packed)} bytes of content and "
            f"{len(typed)} typed values"
        )
    flat = np.frombuffer(packed, _FLOAT32) if packed else np.array(typed, _FLOAT32)
    values: Float32Array = flat.astype(np.float32, copy=False).reshape(expected)
    if not np.isfinite(values).all():
        raise ContractViolation(f"expected numbers in {spec.name}, received some that are none")
    values.flags.writeable = False
    return values


def dtype_name(number: int) -> str:
    """Return the contract's name of a dtype of the wire, or TensorFlow's where it has none."""
    names: dict[int, str] = {number: name for name, number in DATA_TYPES.items()}
    known = tensor_pb2.DataType.values()
    return names.get(number) or (tensor_pb2.DataType.Name(number) if number in known else f"dtype {number}")


def described(dtype: str, shape: Sequence[int | None] | None) -> str:
    """Return a dtype and a shape (None: any) in the words of the contract's messages."""
    return f"{dtype}{'[?]' if shape is None else list(shape)}"
