"""Our messages and the official ones are the same bytes; both are loaded in this one process."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2, text_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.wrappers_pb2 import Int64Value
from tensorflow.core.framework import tensor_pb2 as official_tensor
from tensorflow.core.framework import types_pb2 as official_types
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    status_pb2,
)

from orchestrator.model_server.predict_request import predict_request
from orchestrator.model_server.protos import serving_pb2, tensor_pb2
from orchestrator.model_server.serving_stub import ServingStub
from orchestrator.model_server.tensor_codec import filled
from tests.contract.model_server_suite import views_of
from tests.fakes.tensors import to_tensor

PAIRS = [
    (tensor_pb2.TensorProto, official_tensor.TensorProto),
    (serving_pb2.ModelSpec, model_pb2.ModelSpec),
    (serving_pb2.PredictRequest, predict_pb2.PredictRequest),
    (serving_pb2.PredictResponse, predict_pb2.PredictResponse),
    (serving_pb2.TensorInfo, meta_graph_pb2.TensorInfo),
    (serving_pb2.SignatureDef, meta_graph_pb2.SignatureDef),
    (serving_pb2.SignatureDefMap, get_model_metadata_pb2.SignatureDefMap),
    (serving_pb2.GetModelMetadataRequest, get_model_metadata_pb2.GetModelMetadataRequest),
    (serving_pb2.GetModelMetadataResponse, get_model_metadata_pb2.GetModelMetadataResponse),
    (serving_pb2.GetModelStatusRequest, get_model_status_pb2.GetModelStatusRequest),
    (serving_pb2.GetModelStatusResponse, get_model_status_pb2.GetModelStatusResponse),
    (serving_pb2.ModelVersionStatus, get_model_status_pb2.ModelVersionStatus),
    (serving_pb2.StatusProto, status_pb2.StatusProto),
]
_SPEC = 'name: "wbc" signature_name: "classify"'
_TENSOR = "dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 3 } }"

# The same text, read by both.
SAMPLES = [
    (serving_pb2.ModelSpec, f"{_SPEC} version {{ value: 7 }}"),
    (serving_pb2.ModelSpec, f"{_SPEC} version {{ }}"),
    (serving_pb2.ModelSpec, f'{_SPEC} version_label: "stable"'),
    (tensor_pb2.TensorProto, f"{_TENSOR} float_val: [0.25, 0.5, -1e-30]"),
    (
        tensor_pb2.TensorProto,
        "dtype: DT_UINT8 tensor_shape { dim { size: 2 } } int_val: [1, 255] version_number: 1",
    ),
    (
        tensor_pb2.TensorProto,
        r'dtype: DT_HALF tensor_shape { unknown_rank: true } tensor_content: "\x00\xff"',
    ),
    (
        serving_pb2.PredictRequest,
        f'model_spec {{ {_SPEC} }} inputs {{ key: "images" value {{ {_TENSOR} }} }} '
        'inputs { key: "gain" value { dtype: DT_FLOAT } } output_filter: ["main_out", "logits"]',
    ),
    (
        serving_pb2.PredictResponse,
        f'model_spec {{ {_SPEC} }} outputs {{ key: "b" value {{ {_TENSOR} }} }} '
        'outputs { key: "a" value { } }',
    ),
    (
        serving_pb2.SignatureDefMap,
        'signature_def { key: "main" value { method_name: "predict" inputs { key: "x" value { name: "x:0" '
        "dtype: DT_UINT8 tensor_shape { dim { size: -1 } } } } } }",
    ),
    (serving_pb2.GetModelMetadataRequest, f'model_spec {{ {_SPEC} }} metadata_field: "signature_def"'),
    (
        serving_pb2.GetModelStatusResponse,
        "model_version_status { version: 9223372036854775807 state: AVAILABLE "
        'status { error_message: "-" } }',
    ),
]


@pytest.mark.parametrize(("ours", "text"), SAMPLES)
def test_the_same_message_is_the_same_bytes(ours: type[Any], text: str):
    official = dict(PAIRS)[ours]
    mine = text_format.Parse(text, ours()).SerializeToString(deterministic=True)
    theirs = text_format.Parse(text, official()).SerializeToString(deterministic=True)
    assert mine == theirs
    assert mine
    # What one writes the other reads, and writes again.
    assert ours.FromString(theirs).SerializeToString(deterministic=True) == theirs
    assert text_format.MessageToString(official.FromString(mine)) == text_format.MessageToString(
        official.FromString(theirs)
    )


@pytest.mark.parametrize(("ours", "official"), PAIRS, ids=lambda message: message.DESCRIPTOR.full_name)
def test_every_field_is_an_official_one(ours: type[Any], official: type[Any]):
    assert _fields(ours.DESCRIPTOR).items() <= _fields(official.DESCRIPTOR).items()
    assert ours.DESCRIPTOR.full_name.startswith("wbc.")
    assert ours.DESCRIPTOR.file.pool is official.DESCRIPTOR.file.pool  # loaded beside each other


def _fields(message: Descriptor) -> dict[int, tuple[Any, ...]]:
    """Number -> what decides on the bytes, and the name; nested messages by their own fields."""
    return {
        field.number: (
            field.name,
            # What is an enum there may be an integer here: a number either way.
            "number" if field.type in (field.TYPE_ENUM, field.TYPE_INT32) else field.type,
            field.is_repeated,
            field.is_packed,
            field.containing_oneof.name if field.containing_oneof and field.name != "name" else None,
            field.message_type.name if field.message_type else None,
        )
        for field in message.fields
    }


def test_data_types_and_states_have_their_official_numbers():
    assert dict(tensor_pb2.DataType.items()).items() <= dict(official_types.DataType.items()).items()
    ours = dict(serving_pb2.ModelVersionStatus.State.items())
    assert ours == dict(get_model_status_pb2.ModelVersionStatus.State.items())


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int32])
def test_a_tensor_is_what_tensorflow_itself_writes(dtype: type[np.generic]):
    array = np.arange(2 * 4 * 3).reshape(2, 4, 3).astype(dtype)
    written = to_tensor(array).SerializeToString(deterministic=True)
    assert written == tf.make_tensor_proto(array).SerializeToString(deterministic=True)
    np.testing.assert_array_equal(tf.make_ndarray(official_tensor.TensorProto.FromString(written)), array)


def test_signatures_inside_an_any_are_read_by_us():
    signatures = get_model_metadata_pb2.SignatureDefMap()
    signatures.signature_def["main"].method_name = "predict"
    packed = any_pb2.Any()
    packed.Pack(signatures)
    assert serving_pb2.SignatureDefMap.FromString(packed.value).signature_def["main"].method_name == "predict"


@pytest.mark.parametrize("rows", [1, 8, 32])
@pytest.mark.parametrize("choice", [{}, {"version_label": "stable"}, {"version": Int64Value(value=300)}])
def test_a_request_is_what_the_official_messages_make_of_it(rows: int, choice: dict[str, Any]):
    views = views_of(rows)
    official = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="wbc", signature_name="classify", **choice),
        inputs={
            "images": tf.make_tensor_proto(views.images),
            "gain": official_tensor.TensorProto(
                dtype=official_types.DT_FLOAT,
                tensor_shape=tf.TensorShape([rows]).as_proto(),
                tensor_content=views.gain.tobytes(),
            ),
        },
    )
    model = serving_pb2.ModelSpec(name="wbc", signature_name="classify", **choice)
    written = predict_request(model, {"images": views.images, "gain": views.gain})
    assert written == official.SerializeToString(deterministic=True)


def test_one_value_for_all_elements_is_read_by_tensorflow_as_a_whole_tensor():
    written = filled(0.5, (2, 3, 5)).SerializeToString()
    assert len(written) < 40
    read = tf.io.parse_tensor(written, tf.float32)
    np.testing.assert_array_equal(read, np.full((2, 3, 5), 0.5, np.float32))


def test_a_request_for_views_is_what_the_official_messages_make_of_it():
    image, codes = views_of(1).images, np.array([[0, 3, -1, -1, -1, -1, -1, -1]], np.int32)
    head = filled(0.0, (1, 257, 5))
    official = predict_pb2.PredictRequest(
        model_spec=model_pb2.ModelSpec(name="wbc", signature_name="views"),
        inputs={
            "image": tf.make_tensor_proto(image),
            "codes": tf.make_tensor_proto(codes),
            "head": official_tensor.TensorProto.FromString(head.SerializeToString()),
        },
        output_filter=["main_out", "logits"],
    )
    model = serving_pb2.ModelSpec(name="wbc", signature_name="views")
    written = predict_request(model, {"image": image, "codes": codes, "head": head}, ["main_out", "logits"])
    assert written == official.SerializeToString(deterministic=True)


class Paths:
    """A channel that only keeps the paths of the calls that a stub prepares."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def unary_unary(self, path: str, *_: object, **__: object) -> None:
        self.known.add(path)

    unary_stream = stream_unary = stream_stream = unary_unary


def test_calls_go_to_the_official_paths():
    official, ours = Paths(), Paths()
    prediction_service_pb2_grpc.PredictionServiceStub(official)
    model_service_pb2_grpc.ModelServiceStub(official)
    ServingStub(ours)
    assert len(ours.known) == 3
    assert ours.known < official.known
