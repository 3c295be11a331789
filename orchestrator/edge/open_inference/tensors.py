"""Tensors of the Open Inference Protocol as JSON and as binary data, from and to NumPy arrays.

Binary data is little-endian and row-major without gaps; an element of type BYTES is its length (uint32) and
its bytes. In JSON an element of type BYTES is text, or base64 where the tensor holds files. Shapes are
checked before these functions are called; what the data says of itself is not believed.
"""

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.edge.open_inference.schemas import DataType, MalformedInference

Array = NDArray[Any]
"""Of the dtype of :data:`DTYPES`; for BYTES, of Python's ``bytes``."""

DTYPES: Final = MappingProxyType(
    {
        "BOOL": np.dtype("?"),
        "UINT8": np.dtype("u1"),
        "INT32": np.dtype("<i4"),
        "FP32": np.dtype("<f4"),
        "FP64": np.dtype("<f8"),
    }
)

_LENGTH: Final = struct.Struct("<I")
_NUMBERS: Final = frozenset({int, float})
_UINT8_MAX: Final = 255


def from_json(data: Any, datatype: DataType, shape: Sequence[int], name: str) -> Array:
    """The array of ``shape`` whose elements are in ``data``, a list that is flat or nested as the shape is.

    Elements of type BYTES are base64.

    Raises:
        MalformedInference: too many or too few elements, or an element that is not of the type.
    """
    elements = _flat(data, shape, name)
    kinds = set(map(type, elements))
    if datatype == "BYTES":
        if kinds - {str}:
            raise MalformedInference(f"{name}: expected strings of base64.")
        try:
            return bytes_array([base64.b64decode(text, validate=True) for text in elements], shape)
        except (binascii.Error, ValueError) as error:
            raise MalformedInference(f"{name}: a string is not base64.") from error
    if kinds - ({bool} if datatype == "BOOL" else _NUMBERS):
        raise MalformedInference(f"{name}: expected {'booleans' if datatype == 'BOOL' else 'numbers'}.")
    try:
        wide = np.array(elements, np.float64)
    except OverflowError as error:
        raise MalformedInference(f"{name}: a number is too large.") from error
    if datatype == "UINT8" and not ((wide >= 0) & (wide <= _UINT8_MAX) & (wide == np.floor(wide))).all():
        raise MalformedInference(f"{name}: expected whole numbers from 0 to {_UINT8_MAX}.")
    with np.errstate(over="ignore"):  # told by the next line
        array = wide.astype(DTYPES[datatype])
    return _finite(array, name).reshape(shape)


def from_binary(data: memoryview, datatype: DataType, shape: Sequence[int], name: str) -> Array:
    """The array of ``shape`` in ``data``; a view of it, but for BYTES.

    Raises:
        MalformedInference: too much or too little data, or a float that is no number.
    """
    if datatype == "BYTES":
        return bytes_array(_elements(data, math.prod(shape), name), shape)
    dtype = DTYPES[datatype]
    expected = dtype.itemsize * math.prod(shape)
    if len(data) != expected:
        raise MalformedInference(f"{name}: expected {expected} bytes, received {len(data)}.")
    return _finite(np.frombuffer(data, dtype), name).reshape(shape)


def to_json(array: Array, datatype: DataType, *, base64_text: bool = False) -> list[Any]:
    """The elements in row-major order."""
    elements: list[Any] = array.ravel().tolist()
    if datatype != "BYTES":
        return elements
    return [(base64.b64encode(item) if base64_text else item).decode() for item in elements]


def to_binary(array: Array, datatype: DataType) -> bytes:
    """The elements in row-major order."""
    if datatype != "BYTES":
        return np.ascontiguousarray(array, DTYPES[datatype]).tobytes()
    return b"".join(chain.from_iterable((_LENGTH.pack(len(item)), item) for item in array.ravel()))


def bytes_array(elements: Sequence[bytes], shape: Sequence[int]) -> Array:
    """An array of byte strings; NumPy's own dtype for them would drop zeros at their ends."""
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def _flat(data: Any, shape: Sequence[int], name: str) -> list[Any]:
    """The elements of a list of ``shape``, or of a flat one of as many."""
    if type(data) is not list:
        raise MalformedInference(f"{name}: expected its data as an array.")
    elements: list[Any] = data
    if elements and type(elements[0]) is list:
        for axis, size in enumerate(shape):
            parts = [elements] if axis == 0 else elements
            if any(type(part) is not list or len(part) != size for part in parts):
                raise MalformedInference(f"{name}: its data is not nested as its shape says.")
            elements = list(chain.from_iterable(parts))
    elif len(elements) != math.prod(shape):
        raise MalformedInference(f"{name}: expected {math.prod(shape)} elements, received {len(elements)}.")
    return elements


def _elements(data: memoryview, count: int, name: str) -> list[bytes]:
    elements: list[bytes] = []
    position = 0
    while position < len(data) and len(elements) < count:
        if position + _LENGTH.size > len(data):
            break
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            break
        elements.append(bytes(data[position : position + length]))
        position += length
    if len(elements) != count or position != len(data):
        raise MalformedInference(f"{name}: its data is not {count} elements, each behind its length.")
    return elements


def _finite(array: Array, name: str) -> Array:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise MalformedInference(f"{name}: a value is no finite number.")
    return array
