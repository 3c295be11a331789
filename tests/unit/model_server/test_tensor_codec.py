from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.typing import NDArray

from orchestrator.errors import ContractViolation
from orchestrator.model_contract import CAMS, FEATURES, IMAGES, LOGITS, TensorSpec
from orchestrator.model_server.protos import tensor_pb2
from orchestrator.model_server.tensor_codec import content, from_tensor
from tests.fakes.tensors import to_tensor

ROWS = np.arange(10, dtype=np.float32).reshape(2, 5)


def typed(array: NDArray[np.float32]) -> tensor_pb2.TensorProto:
    tensor = to_tensor(array)
    tensor.tensor_content = b""
    tensor.float_val.extend(array.ravel().tolist())
    return tensor


def altered(tensor: tensor_pb2.TensorProto, **fields: Any) -> tensor_pb2.TensorProto:
    for name, value in fields.items():
        setattr(tensor, name, value)
    return tensor


def reshaped(tensor: tensor_pb2.TensorProto, *sizes: int) -> tensor_pb2.TensorProto:
    del tensor.tensor_shape.dim[:]
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


@given(
    npst.arrays(
        np.float32,
        npst.array_shapes(min_dims=1, max_dims=4, max_side=5),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.sampled_from([to_tensor, typed]),
)
def test_both_encodings_of_any_array_come_back_as_they_were(array, encode):
    spec = TensorSpec("any", "float32", (None, *array.shape[1:]))
    decoded = from_tensor(encode(array), spec, len(array))
    np.testing.assert_array_equal(decoded, array)
    assert decoded.dtype == np.float32
    assert not decoded.flags.writeable


def test_what_lies_otherwise_in_memory_goes_out_in_order():
    array = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)[:, ::-1].transpose(0, 2, 1)
    tensor = to_tensor(array)
    assert tensor.dtype == tensor_pb2.DT_UINT8
    assert [dim.size for dim in tensor.tensor_shape.dim] == [2, 4, 3]
    assert tensor.tensor_content == array.tobytes()


def test_big_endian_floats_go_out_little_endian():
    assert to_tensor(ROWS.astype(">f4")).tensor_content == ROWS.astype("<f4").tobytes()


@pytest.mark.parametrize(
    ("tensor", "message"),
    [
        (altered(to_tensor(ROWS), dtype=19), r"float32\[2, 5\], received DT_HALF\[2, 5\]"),
        (altered(to_tensor(ROWS), dtype=4711), r"received dtype 4711\[2, 5\]"),
        (to_tensor(ROWS.astype(np.uint8)), r"received uint8\[2, 5\]"),
        (to_tensor(ROWS[:1]), r"received float32\[1, 5\]"),
        (to_tensor(ROWS[:, :4]), r"received float32\[2, 4\]"),
        (reshaped(to_tensor(ROWS), 10), r"received float32\[10\]"),
        (reshaped(to_tensor(ROWS), -1, 5), r"received float32\[-1, 5\]"),
        (reshaped(to_tensor(ROWS), 2**62, 5), r"received float32\[4611686018427387904, 5\]"),
        (reshaped(to_tensor(ROWS)), r"received float32\[\]"),
        (tensor_pb2.TensorProto(), r"received DT_INVALID\[\]"),
        (altered(to_tensor(ROWS), tensor_content=ROWS.tobytes()[:-4]), "expected 10 elements .* 36 bytes"),
        (altered(to_tensor(ROWS), tensor_content=ROWS.tobytes()[:-1]), "expected 10 elements .* 39 bytes"),
        (altered(to_tensor(ROWS), tensor_content=ROWS.tobytes() * 2), "expected 10 elements .* 80 bytes"),
        (altered(to_tensor(ROWS), tensor_content=b""), "0 bytes of content and 0 typed values"),
        (reshaped(typed(ROWS[:1]), 2, 5), "0 bytes of content and 5 typed values"),
        (reshaped(typed(np.full(1, 0.5, np.float32)), 2, 5), "0 bytes of content and 1 typed values"),
        (to_tensor(np.full((2, 5), np.nan, np.float32)), "expected numbers in logits"),
        (typed(np.full((2, 5), np.inf, np.float32)), "expected numbers in logits"),
    ],
)
def test_a_reply_that_is_not_as_the_contract_has_it_is_refused(tensor, message: str):
    with pytest.raises(ContractViolation, match=message):
        from_tensor(tensor, LOGITS, rows=2)


def test_an_unknown_rank_is_refused():
    tensor = to_tensor(ROWS)
    tensor.tensor_shape.unknown_rank = True
    with pytest.raises(ContractViolation, match=r"received float32\[\?\]"):
        from_tensor(tensor, LOGITS, rows=2)


def test_half_in_one_encoding_and_half_in_the_other_is_refused():
    tensor = to_tensor(ROWS)
    tensor.tensor_content = ROWS[0].tobytes()
    tensor.float_val.extend(ROWS[1].tolist())
    with pytest.raises(ContractViolation, match="20 bytes of content and 5 typed values"):
        from_tensor(tensor, LOGITS, rows=2)


@given(st.binary(max_size=200))
def test_whatever_the_bytes_only_the_contracts_error_is_raised(data: bytes):
    tensor = tensor_pb2.TensorProto(dtype=tensor_pb2.DT_FLOAT, tensor_content=data)
    for size in (1, 5, 7, 7):
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(ContractViolation):  # 200 bytes are never 245 elements
        from_tensor(tensor, CAMS, rows=1)


def test_an_output_of_an_open_size_is_not_read():
    with pytest.raises(ValueError, match=r"of one size, received features of \[None, None\]"):
        from_tensor(to_tensor(ROWS), FEATURES, rows=2)


def test_only_float32_outputs_are_read():
    with pytest.raises(ValueError, match="float32, received images of uint8"):
        from_tensor(to_tensor(ROWS), IMAGES, rows=2)


def test_pixels_that_lie_as_they_are_sent_are_not_copied():
    array = np.zeros((2, 3), np.uint8)
    sent = content(array)
    array[0, 0] = 7
    assert bytes(sent) == b"\x07\x00\x00\x00\x00\x00"
