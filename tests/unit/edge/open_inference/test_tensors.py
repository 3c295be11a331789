"""Tensors of the Open Inference Protocol come back as they were, and what is no tensor is refused."""

import base64
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from orchestrator.bootstrap.services import build_services
from orchestrator.edge.open_inference.message import read_question
from orchestrator.edge.open_inference.models import NetworkModel
from orchestrator.edge.open_inference.schemas import MalformedInference
from orchestrator.edge.open_inference.tensors import (
    DTYPES,
    bytes_array,
    from_binary,
    from_json,
    to_binary,
    to_json,
)
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer

SHAPES = npst.array_shapes(min_dims=1, max_dims=4, max_side=4)


@st.composite
def arrays(draw: st.DrawFn):
    datatype = draw(st.sampled_from(sorted(DTYPES)))
    dtype = DTYPES[datatype]
    floats = st.floats(width=32 if datatype == "FP32" else 64, allow_nan=False, allow_infinity=False)
    elements = floats if dtype.kind == "f" else None
    return datatype, draw(npst.arrays(dtype, SHAPES, elements=elements))


@given(arrays(), st.booleans())
def test_any_array_comes_back_from_json_flat_or_nested(made, nested):
    datatype, array = made
    data = array.tolist() if nested else to_json(array, datatype)
    again = from_json(data, datatype, array.shape, "x")
    np.testing.assert_array_equal(again, array)
    assert again.dtype == array.dtype


@given(arrays())
def test_any_array_comes_back_from_binary_data(made):
    datatype, array = made
    again = from_binary(memoryview(to_binary(array, datatype)), datatype, array.shape, "x")
    np.testing.assert_array_equal(again, array)


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=5))
def test_files_come_back_with_the_zeros_at_their_ends(files):
    array = bytes_array([data + b"\0" for data in files], [len(files)])
    packed = memoryview(to_binary(array, "BYTES"))
    assert from_binary(packed, "BYTES", array.shape, "x").tolist() == array.tolist()
    texts = to_json(array, "BYTES", base64_text=True)
    assert [base64.b64decode(text) for text in texts] == array.tolist()
    assert from_json(texts, "BYTES", array.shape, "x").tolist() == array.tolist()


def test_text_is_text_in_json():
    assert to_json(bytes_array([b"Monocyte"], [1]), "BYTES") == ["Monocyte"]


def test_what_lies_otherwise_in_memory_goes_out_in_order():
    array = np.arange(6, dtype=">f4").reshape(2, 3).T
    assert to_binary(array, "FP32") == np.array([0, 3, 1, 4, 2, 5], "<f4").tobytes()
    assert to_json(array, "FP32") == [0, 3, 1, 4, 2, 5]


@pytest.mark.parametrize(
    "data", [[[1, 2], [3]], [[1, 2, 3, 4]], [[[1, 2], [3, 4]]], [[1, 2], 3], [1, [2], 3, 4]]
)
def test_data_that_is_nested_otherwise_is_refused(data):
    with pytest.raises(MalformedInference):
        from_json(data, "FP32", [2, 2], "x")


@pytest.mark.parametrize(("piece", "why"), [(b"{},", "arrays"), (b'"ab",', "at most 16 items")])
def test_large_json_takes_memory_within_bounds(piece, why):
    model = NetworkModel(build_services(Settings(), model_server=FakeModelServer()))
    body = b'{"inputs": [' + piece * ((model.max_body_bytes - 64) // len(piece)) + b"0]}"
    tracemalloc.start()
    with pytest.raises(MalformedInference, match=why):
        read_question(body, None, model)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20 * model.max_body_bytes
