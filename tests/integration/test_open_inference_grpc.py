"""The Open Inference Protocol over gRPC, beside the same over HTTP, and asked by a client that others wrote.

tritonclient brings its own copy of the messages, and one process bears one copy: it runs in another one.
"""

import asyncio
import base64
import io
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from PIL import Image

from orchestrator import __version__
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.access.security import Authenticator, Principal, Unauthenticated
from orchestrator.edge.admission import Admission
from orchestrator.edge.http_app import create_app
from orchestrator.edge.inference_grpc import SERVICE
from orchestrator.edge.open_inference.models import MODEL_NAMES
from orchestrator.edge.open_inference.tensors import from_binary
from orchestrator.protos.inference import open_inference_pb2 as pb
from tests.fakes.model_server import FakeModelServer
from tests.fakes.noting_admission import NotingAdmission
from tests.grpc_edge import Edge, grpc_edge
from tests.http_edge import asking
from tests.random_images import varied_images

IMAGES = varied_images(3, 224)


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with grpc_edge(FakeModelServer()) as edge:
        yield edge


async def ask(edge: Edge, method: str, request: Any, **options: Any) -> Any:
    answer = getattr(pb, f"{method}Response")
    call = edge.channel.unary_unary(
        f"/{SERVICE}/{method}",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=answer.FromString,
    )
    return await call(request, timeout=20, **options)


async def refused(edge: Edge, method: str, request: Any, **options: Any) -> tuple[grpc.StatusCode, str, str]:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await ask(edge, method, request, **options)
    status = rpc_status.from_call(raised.value)
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return raised.value.code(), raised.value.details() or "", info.reason


def images(array: Any = IMAGES, **changes: Any) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="wbc", raw_input_contents=[array.tobytes()])
    request.inputs.add(**{"name": "images", "datatype": "UINT8", "shape": array.shape, **changes})
    return request


def files(*contents: bytes) -> pb.ModelInferRequest:
    request = pb.ModelInferRequest(model_name="wbc_analysis")
    request.inputs.add(name="image", datatype="BYTES", shape=[len(contents)]).contents.bytes_contents.extend(
        contents
    )
    return request


def arrays(response: pb.ModelInferResponse) -> dict[str, Any]:
    return {
        output.name: from_binary(memoryview(data), output.datatype, list(output.shape), output.name)
        for output, data in zip(response.outputs, response.raw_output_contents, strict=True)
    }


async def over_http(edge: Edge, model: str, document: dict[str, Any]) -> dict[str, Any]:
    async with asking(create_app(edge.services)) as client:
        response = await client.post(f"/v2/models/{model}/infer", json=document)
    assert response.status_code == 200, response.text
    return {output["name"]: output for output in response.json()["outputs"]}


async def test_both_flavours_give_the_same_numbers_for_the_same_tensor(edge):
    request = images()
    typed = images()
    del typed.raw_input_contents[:]
    typed.inputs[0].contents.uint_contents.extend(IMAGES.ravel().tolist())
    document = {
        "inputs": [
            {
                "name": "images",
                "datatype": "UINT8",
                "shape": list(IMAGES.shape),
                "data": IMAGES.ravel().tolist(),
            }
        ]
    }
    there = await over_http(edge, "wbc", document)

    for asked in (request, typed):
        here = arrays(await ask(edge, "ModelInfer", asked))
        assert list(here) == list(there)
        for name, array in here.items():
            assert list(array.shape) == there[name]["shape"]
            np.testing.assert_array_equal(array, np.float32(there[name]["data"]).reshape(array.shape))


async def test_both_flavours_analyse_a_file_alike(edge, cell):
    wanted = ["class", "probabilities", "needs_review", "review_reasons", "views", "report"]
    request = files(cell, cell)
    for name in wanted:
        request.outputs.add(name=name)
    text = base64.b64encode(cell).decode()
    document = {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": [text, text]}],
        "outputs": [{"name": name} for name in wanted],
    }
    there = await over_http(edge, "wbc_analysis", document)

    response = await ask(edge, "ModelInfer", request)

    here = arrays(response)
    assert list(here) == wanted
    for name, array in here.items():
        found = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
        assert found == there[name]["data"], name
    assert response.parameters["disclaimer"].string_param == DISCLAIMER


async def test_the_server_and_its_models_are_described_as_over_http(edge):
    assert (await ask(edge, "ServerLive", pb.ServerLiveRequest())).live
    assert (await ask(edge, "ServerReady", pb.ServerReadyRequest())).ready
    server = await ask(edge, "ServerMetadata", pb.ServerMetadataRequest())
    assert (server.name, server.version, list(server.extensions)) == ("wbc-analyzer", __version__, [])
    async with asking(create_app(edge.services)) as client:
        for name in MODEL_NAMES:
            there = (await client.get(f"/v2/models/{name}")).json()
            here = await ask(edge, "ModelMetadata", pb.ModelMetadataRequest(name=name))
            assert (here.name, list(here.versions), here.platform) == (
                there["name"],
                there["versions"],
                there["platform"],
            )
            for side in ("inputs", "outputs"):
                tensors = [
                    {"name": one.name, "datatype": one.datatype, "shape": list(one.shape)}
                    for one in getattr(here, side)
                ]
                assert tensors == there[side]
            version = there["versions"][0]
            assert (await ask(edge, "ModelReady", pb.ModelReadyRequest(name=name, version=version))).ready


@pytest.mark.parametrize("method", ["ModelReady", "ModelMetadata"])
@pytest.mark.parametrize("asked", [{"name": "resnet"}, {"name": "wbc", "version": "999"}])
async def test_a_model_or_version_that_is_not_there_is_not_found(edge, method, asked):
    request = getattr(pb, f"{method}Request")(**asked)
    code, _, reason = await refused(edge, method, request)
    assert (code, reason) == (grpc.StatusCode.NOT_FOUND, "UNKNOWN_MODEL")


def changed(**changes: Any) -> pb.ModelInferRequest:
    return images(**changes)


def with_parameter(place: str, name: str, **value: Any) -> pb.ModelInferRequest:
    request = images()
    if place == "outputs":
        request.outputs.add(name="main_out")
    holder = request if place == "request" else getattr(request, place)[0]
    holder.parameters[name].CopyFrom(pb.InferParameter(**value))
    return request


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (with_parameter("outputs", "classification", int64_param=3), "class_count is not there"),
        (with_parameter("inputs", "shared_memory_region", string_param="r"), "shared memory is not there"),
        (with_parameter("outputs", "shared_memory_region", string_param="r"), "shared memory is not there"),
        (with_parameter("request", "sequence_id", int64_param=7), "sequences is not there"),
        (with_parameter("request", "sequence_id", string_param="7"), "sequences is not there"),
        (with_parameter("request", "priority", uint64_param=1), "scheduling"),
        (with_parameter("request", "timeout", int64_param=1), "scheduling"),
    ],
)
async def test_an_extension_that_is_not_there_is_refused_in_words(edge, request_, told):
    code, message, reason = await refused(edge, "ModelInfer", request_)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_INFERENCE")
    assert told in message


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (changed(datatype="FP32"), "expected the datatype UINT8"),
        (changed(shape=[3, 224, 224]), "expected a shape"),
        (changed(shape=[2, 224, 224, 3]), "bytes"),
        (changed(name="picture"), "no such input"),
        (pb.ModelInferRequest(model_name="wbc"), "inputs"),
        (files(), "at least one row"),
        (pb.ModelInferRequest(model_name="wbc", inputs=images().inputs), "elements"),
    ],
)
async def test_a_request_that_does_not_fit_the_model_is_malformed(edge, request_, told):
    code, message, reason = await refused(edge, "ModelInfer", request_)
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_INFERENCE")
    assert told in message


async def test_raw_and_typed_contents_together_and_raw_ones_too_few_are_malformed(edge):
    both = images()
    both.inputs[0].contents.uint_contents.append(1)
    few = images()
    few.inputs.add(name="gain", datatype="FP32", shape=[3])
    for request in (both, few):
        assert (await refused(edge, "ModelInfer", request))[2] == "MALFORMED_INFERENCE"


async def test_a_broken_file_is_named_and_told_by_its_own_reason(edge, cell):
    code, message, reason = await refused(edge, "ModelInfer", files(cell, cell[:200]))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UNDECODABLE_IMAGE")
    assert message.startswith("Image 2:")


async def test_it_shares_the_places_and_the_readiness_of_all_edges():
    async with grpc_edge(FakeModelServer(), admission=Admission(1)) as edge:
        async with edge.admission.admitted():
            code, _, reason = await refused(edge, "ModelInfer", images())
        assert (code, reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        edge.draining.begin()
        assert not (await ask(edge, "ServerReady", pb.ServerReadyRequest())).ready
        assert not (await ask(edge, "ModelReady", pb.ModelReadyRequest(name="wbc"))).ready


async def test_large_images_take_places_by_the_pixels_of_all_together(cell):
    admission = NotingAdmission()
    async with grpc_edge(FakeModelServer(), admission=admission) as edge:
        await ask(edge, "ModelInfer", files(cell, cell))
        await ask(edge, "ModelInfer", images())
    with Image.open(io.BytesIO(cell)) as opened:
        pixels = opened.width * opened.height
    assert admission.pixels == [2 * pixels, 0]


class NoKeys:
    """Knows no key."""

    async def verify(self, credential: str) -> Principal:
        raise Unauthenticated(f"The key of {len(credential)} letters is not known.")


async def test_probes_are_open_and_inference_is_for_who_may_analyse():
    async with grpc_edge(
        FakeModelServer(), access=AccessRules(authenticator=Authenticator(api_keys=NoKeys()))
    ) as edge:
        assert (await ask(edge, "ServerLive", pb.ServerLiveRequest())).live
        code, _, _ = await refused(edge, "ModelInfer", images())
        assert code is grpc.StatusCode.UNAUTHENTICATED
        code, _, _ = await refused(edge, "ServerMetadata", pb.ServerMetadataRequest())
        assert code is grpc.StatusCode.UNAUTHENTICATED


TRITON = """
import json, sys
import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException

client = triton.InferenceServerClient(url=sys.argv[1])
assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("wbc")
assert client.get_server_metadata().name == "wbc-analyzer"
metadata = client.get_model_metadata("wbc", as_json=True)
assert [one["name"] for one in metadata["inputs"]] == ["images", "gain"]
images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3)).astype(np.uint8)
inputs = [triton.InferInput("images", images.shape, "UINT8")]
inputs[0].set_data_from_numpy(images)
outputs = [triton.InferRequestedOutput("main_out"), triton.InferRequestedOutput("features")]
for compression in (None, "gzip", "deflate"):
    result = client.infer("wbc", inputs, outputs=outputs, request_id="7", compression_algorithm=compression)
    assert result.get_response().id == "7"
    assert result.as_numpy("main_out").shape == (2, 5) and np.isfinite(result.as_numpy("features")).all()
file = triton.InferInput("image", [1], "BYTES")
file.set_data_from_numpy(np.array([open(sys.argv[2], "rb").read()], dtype=object))
found = client.infer("wbc_analysis", [file], parameters={"profile": "default"})
assert found.as_numpy("class")[0].decode() and found.as_numpy("probabilities").shape == (1, 5)
for wrong, told in (
    (dict(outputs=[triton.InferRequestedOutput("main_out", class_count=3)]), "class_count"),
    (dict(sequence_id=3, sequence_start=True), "sequences"),
):
    try:
        client.infer("wbc", inputs, **wrong)
    except InferenceServerException as error:
        assert told in error.message(), error
    else:
        raise AssertionError(told)
own = service_pb2.DESCRIPTOR
print(json.dumps({
    message: sorted((one.name, one.number, one.type) for one in own.message_types_by_name[message].fields)
    for message in sys.argv[3:]
}))
"""


async def test_tritonclient_speaks_with_it_and_has_the_same_messages(edge, cell, tmp_path):
    (tmp_path / "cell.png").write_bytes(cell)
    messages = list(pb.DESCRIPTOR.message_types_by_name)
    command = [sys.executable, "-c", TRITON, edge.target, str(tmp_path / "cell.png"), *messages]
    ran = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    for name, fields in json.loads(ran.stdout).items():
        here = [(one.name, one.number, one.type) for one in pb.DESCRIPTOR.message_types_by_name[name].fields]
        assert sorted(map(list, here)) == fields, name
