"""The Open Inference Protocol over the real pipeline, with a model server that needs no model."""

import asyncio
import base64
import dataclasses
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import numpy as np
import pytest
from jsonschema import Draft202012Validator
from PIL import Image
from prometheus_client import REGISTRY

from orchestrator import errors
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.domain import DISCLAIMER, Prediction, Question, ViewBatch
from orchestrator.edge.access.api_keys import KeyRing
from orchestrator.edge.admission import Admission
from orchestrator.edge.http_app import create_app
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.model_server.base import ModelServer
from orchestrator.settings import SecuritySettings, Settings
from tests import open_inference_documents as documents
from tests.fakes.model_server import FakeModelServer
from tests.fakes.noting_admission import NotingAdmission
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.http_edge import asking, client_of
from tests.malformed_images import malformed_images, whole_image
from tests.predictions import predicted as answered
from tests.random_images import varied_images
from tests.synthetic_cells import cell_file

HEADER_LENGTH = "Inference-Header-Content-Length"
INFER = "/v2/models/wbc/infer"
ANALYSE = "/v2/models/wbc_analysis/infer"
IMAGES = varied_images(3, 224)


async def predicted(images: Any = IMAGES, gain: Any = None) -> Prediction:
    server = FakeModelServer()
    await server.start()
    return await server.explain(ViewBatch(images, np.ones(len(images), np.float32) if gain is None else gain))


def tensor(name: str, datatype: str, array: Any, **parameters: Any) -> dict[str, Any]:
    document = {"name": name, "datatype": datatype, "shape": list(np.shape(array))}
    return document | ({"parameters": parameters} if parameters else {"data": np.ravel(array).tolist()})


def images_of(rows: int, **changes: Any) -> dict[str, Any]:
    """A small request that is right until it is changed: black images, as binary data."""
    size = rows * 224 * 224 * 3
    document = {"name": "images", "datatype": "UINT8", "shape": [rows, 224, 224, 3]}
    return {"inputs": [{**document, "parameters": {"binary_data_size": size}, **changes}]}


async def ask(client, path, document, binary=b"", **headers):
    head = json.dumps(document).encode()
    headers = {HEADER_LENGTH.replace("-", "_"): str(len(head)), **headers} if binary else headers
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await client.post(path, content=head + binary, headers=named)


def outputs_of(response: httpx2.Response) -> dict[str, Any]:
    """The outputs as arrays, read as the binary extension says."""
    assert response.status_code == 200, response.text
    length = response.headers.get(HEADER_LENGTH)
    head = response.content if length is None else response.content[: int(length)]
    rest = b"" if length is None else response.content[int(length) :]
    document = json.loads(head)
    Draft202012Validator(documents.INFERENCE_RESPONSE).validate(document)
    assert response.headers["content-type"] == (
        "application/json" if length is None else "application/octet-stream"
    )
    found = {}
    for output in document["outputs"]:
        dtype = np.dtype(
            {"INT32": "<i4", "FP32": "<f4", "FP64": "<f8", "BOOL": "?", "BYTES": "O"}[output["datatype"]]
        )
        if "data" in output:
            found[output["name"]] = np.array(output["data"], dtype).reshape(output["shape"])
            continue
        size = output["parameters"]["binary_data_size"]
        data, rest = rest[:size], rest[size:]
        if dtype.hasobject:
            elements = []
            while data:
                end = 4 + int.from_bytes(data[:4], "little")
                elements.append(data[4:end])
                data = data[end:]
            found[output["name"]] = np.array(elements, object).reshape(output["shape"])
        else:
            found[output["name"]] = np.frombuffer(data, dtype).reshape(output["shape"])
    assert not rest
    return found


def assert_error(response: httpx2.Response, status: int, part: str = "") -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    Draft202012Validator(documents.ERROR).validate(document)
    assert part in document["error"]
    assert document["disclaimer"] == DISCLAIMER
    assert int(response.headers["content-length"]) == len(response.content)


# Health and metadata


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("/v2", documents.SERVER_METADATA),
        ("/v2/", documents.SERVER_METADATA),
        ("/v2/health/live", documents.SERVER_LIVE),
        ("/v2/health/ready", documents.SERVER_LIVE),
        *((f"/v2/models/{name}", documents.MODEL_METADATA) for name in ("wbc", "wbc_analysis")),
        ("/v2/models/wbc/versions/1", documents.MODEL_METADATA),
        ("/v2/models/wbc/ready", documents.MODEL_READY),
        ("/v2/models/wbc_analysis/versions/1/ready", documents.MODEL_READY),
    ],
)
async def test_documents_are_those_of_the_specification(client, path, schema):
    response = await client.get(path)
    assert response.status_code == 200
    Draft202012Validator(schema).validate(response.json())


async def test_metadata_is_the_model_contract(client):
    document = (await client.get("/v2/models/wbc")).json()
    assert document["versions"] == ["1"]
    assert document["inputs"] == [
        {"name": "images", "datatype": "UINT8", "shape": [-1, 224, 224, 3]},
        {"name": "gain", "datatype": "FP32", "shape": [-1]},
    ]
    shapes = {output["name"]: output["shape"] for output in document["outputs"]}
    assert shapes == {
        "main_out": [-1, 5], "aux_binary_out": [-1, 1], "logits": [-1, 5], "not_wbc": [-1, 1],
        "features": [-1, -1], "cams": [-1, 5, 7, 7],
    }  # fmt: skip
    assert "binary_tensor_data" in (await client.get("/v2")).json()["extensions"]


@pytest.mark.parametrize("path", ["/v2/health/ready", "/v2/models/wbc/ready", "/v2/models/wbc"])
async def test_without_a_model_only_life_is_told(path):
    services = build_services(Settings(), model_server=FakeModelServer())
    async with asking(build_app(Settings(), services)) as client:
        response = await client.get(path)
        assert_error(response, 503)
        assert response.headers["retry-after"]
        assert (await client.get("/v2/health/live")).json()["live"] is True


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", "/v2/models/wbc/versions/2", 404),
        ("GET", "/v2/models/wbc/versions/2/ready", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("POST", "/v2/models/wbc/versions/2/infer", 404),
        ("GET", "/v2/repository/index", 404),
        ("GET", "/v2/models/wbc/infer", 405),
        ("DELETE", "/v2", 405),
    ],
)
async def test_what_there_is_not_is_an_error_in_the_protocols_form(client, method, path, status):
    assert_error(await client.request(method, path), status)


# The network


@pytest.mark.parametrize("form", ["flat", "nested"])
async def test_json_tensors_give_what_the_model_server_gives(client, form):
    gain = np.array([1.0, 1.1, 0.9], np.float32)
    images = tensor("images", "UINT8", IMAGES)
    if form == "nested":
        images["data"] = IMAGES.tolist()
    request = {"id": "lab-7", "inputs": [images, tensor("gain", "FP32", gain)]}
    response = await ask(client, INFER, request)
    found, expected = outputs_of(response), await predicted(gain=gain)
    np.testing.assert_array_equal(found["main_out"], expected.main_out)
    np.testing.assert_array_equal(found["aux_binary_out"], expected.aux_out[:, None])
    np.testing.assert_array_equal(found["logits"], expected.logits)
    np.testing.assert_array_equal(found["cams"], expected.cams)
    document = response.json()
    assert (document["id"], document["model_name"], document["model_version"]) == ("lab-7", "wbc", "1")
    assert document["parameters"]["disclaimer"] == DISCLAIMER


async def test_binary_tensors_give_the_same_both_ways(client):
    inputs = [tensor("images", "UINT8", IMAGES, binary_data_size=IMAGES.nbytes)]
    request = {"inputs": inputs, "parameters": {"binary_data_output": True}}
    response = await ask(client, INFER, request, IMAGES.tobytes())
    found, expected = outputs_of(response), await predicted()
    assert HEADER_LENGTH in response.headers
    for name, array in (("main_out", expected.main_out), ("cams", expected.cams)):
        np.testing.assert_array_equal(found[name], array)


async def test_only_the_outputs_asked_for_come_in_their_order_and_form(client):
    wanted = [{"name": "logits", "parameters": {"binary_data": True}}, {"name": "main_out"}]
    inputs = [tensor("images", "UINT8", IMAGES, binary_data_size=IMAGES.nbytes)]
    response = await ask(client, INFER, {"inputs": inputs, "outputs": wanted}, IMAGES.tobytes())
    assert list(outputs_of(response)) == ["logits", "main_out"]
    head = json.loads(response.content[: int(response.headers[HEADER_LENGTH])])
    assert ["data" in output for output in head["outputs"]] == [False, True]


async def test_the_explanation_is_not_computed_where_nobody_asks_for_it():
    class NoExplanations(FakeModelServer):
        async def explain(self, question: Question) -> Prediction:
            raise AssertionError(f"nobody asked for {len(question)} of them")

    services = build_services(Settings(), model_server=NoExplanations())
    async with client_of(build_app(Settings(), services)) as client:
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        assert (await ask(client, INFER, request, bytes(150_528))).status_code == 200


async def test_a_version_answers_under_its_own_address(client):
    path = "/v2/models/wbc/versions/1/infer"
    assert outputs_of(await ask(client, path, images_of(1), bytes(150_528)))["main_out"].shape == (1, 5)


# The analysis


async def test_an_analysis_is_the_one_of_our_own_endpoint(client):
    cells = [whole_image("PNG"), whole_image("JPEG")]
    texts = [base64.b64encode(cell).decode() for cell in cells]
    request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": texts}]}
    response = await ask(client, ANALYSE, request)
    found = outputs_of(response)
    for row, cell in enumerate(cells):
        answer = (await client.post("/v1/analyses", files={"file": cell})).json()
        assert found["class"][row] == answer["decision"]["class"]
        assert found["confidence"][row] == answer["decision"]["confidence"]
        assert found["probabilities"][row].tolist() == [answer["probabilities"][n] for n in CLASS_NAMES]
        assert found["needs_review"][row] == answer["review"]["needed"]
        codes = ",".join(reason["code"] for reason in answer["review"]["reasons"])
        assert found["review_reasons"][row] == codes
        assert found["device_state"][row] == answer["device_state"] == "unknown"
        assert found["focus_ratio"][row] == answer["focus"]["ratio"]
        assert found["heatmap"][row] == answer["heatmap"]["data"]
        assert found["report"][row] == answer["report"]["text"]
    heatmap = next(output for output in response.json()["outputs"] if output["name"] == "heatmap")
    assert heatmap["parameters"] == {"content_type": "base64"}


async def test_files_travel_as_binary_data_too(client):
    cell = whole_image("WEBP")
    data = len(cell).to_bytes(4, "little") + cell
    inputs = [
        {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": len(data)}}
    ]
    wanted = [{"name": "class", "parameters": {"binary_data": True}}, {"name": "needs_review"}]
    found = outputs_of(await ask(client, ANALYSE, {"inputs": inputs, "outputs": wanted}, data))
    assert found["class"][0].decode() in CLASS_NAMES
    assert found["needs_review"].dtype == bool


async def test_a_body_may_be_nothing_but_one_file(client):
    response = await client.post(ANALYSE, content=whole_image("BMP"), headers={HEADER_LENGTH: "0"})
    assert outputs_of(response)["class"][0] in CLASS_NAMES
    assert_error(await client.post(INFER, content=b"\0" * 150_528, headers={HEADER_LENGTH: "0"}), 400)


async def test_parameters_choose_profile_and_language(client):
    data = [base64.b64encode(whole_image("PNG")).decode()]
    request = {
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}],
        "outputs": [{"name": "report"}],
    }
    english, turkish = [
        outputs_of(await ask(client, ANALYSE, request | {"parameters": {"language": language}}))["report"][0]
        for language in ("en", "tr")
    ]
    assert english != turkish
    for wrong in ({"profile": "none such"}, {"tta": "heavy"}, {"language": "xx"}, {"profile": 3}):
        assert_error(await ask(client, ANALYSE, request | {"parameters": wrong}), 400)


async def test_an_image_that_cannot_be_analysed_is_named_by_its_number(client):
    texts = [base64.b64encode(data).decode() for data in (whole_image("PNG"), whole_image("PNG")[:200])]
    request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": texts}]}
    assert_error(await ask(client, ANALYSE, request), 400, "Image 2: ")


async def test_many_images_have_together_no_more_pixels_than_one_may_have(client):
    large = io.BytesIO()
    Image.new("1", (4000, 4000)).save(large, "PNG")
    texts = [base64.b64encode(large.getvalue()).decode()] * 2
    request = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [2], "data": texts}]}
    assert_error(await ask(client, ANALYSE, request), 413, "together")


@pytest.mark.parametrize("payload", [pytest.param(p, id=name) for name, p in malformed_images()[::12]])
async def test_hostile_files_are_refused_here_too(client, payload):
    response = await client.post(ANALYSE, content=payload, headers={HEADER_LENGTH: "0"})
    assert response.status_code in (400, 413, 415)
    assert_error(response, response.status_code)


# What is wrong


def changed(**changes: Any) -> dict[str, Any]:
    return images_of(1, **changes)


def with_data(data: Any, **changes: Any) -> dict[str, Any]:
    document = {"name": "gain", "datatype": "FP32", "shape": [1], "data": data, **changes}
    return {"inputs": [document]}


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ({}, "inputs"),
        ([], "JSON"),
        ({"inputs": []}, "inputs"),
        ({"inputs": [3]}, "inputs.0"),
        ({"inputs": [{"name": "images"}] * 17}, "inputs"),
        (changed(name="picture"), "no such input"),
        (changed(datatype="FP32"), "UINT8"),
        (changed(shape=[1, 224, 224]), "shape"),
        (changed(shape=[0, 224, 224, 3]), "at least one row"),
        (changed(shape=[-1, 224, 224, 3]), "shape"),
        (changed(shape=[True, 224, 224, 3]), "shape"),
        (changed(shape=[2**70, 224, 224, 3]), "at most 32"),
        (changed(data=[1]), "not both"),
        (changed(parameters={"binary_data_size": -1}), "binary_data_size"),
        (changed(parameters={"binary_data_size": 2**62}), "more bytes"),
        (changed(parameters={"binary_data_size": 7}), "150528 bytes"),
        ({"inputs": images_of(1)["inputs"] * 2}, "twice"),
        (with_data([1.0]), "images is missing"),
        (with_data([1.0, 2.0]), "1 elements"),
        (with_data([[1.0]]), "numbers"),
        (with_data([[1.0], [2.0]]), "nested"),
        (with_data([[[1.0]]]), "numbers"),
        (with_data(["1"]), "numbers"),
        (with_data([True]), "numbers"),
        (with_data([None]), "numbers"),
        (with_data([{}]), "numbers"),
        (with_data([10**400]), "too large"),
        (with_data([1e39]), "no finite number"),
        (with_data({}), "array"),
        (with_data(None), "array"),
        (with_data([300], name="images", datatype="UINT8", shape=[1, 224, 224, 3]), "150528 elements"),
        (images_of(1) | {"outputs": [{"name": "mean"}]}, "no such output"),
        (images_of(1) | {"outputs": [{"name": "logits"}] * 2}, "twice"),
        (images_of(1) | {"id": 42}, "id"),
    ],
)
async def test_a_wrong_request_is_told_what_is_wrong(client, document, part):
    binary = bytes(150_528)
    response = await ask(client, INFER, document, binary)
    assert_error(response, 413 if "at most" in part else 400, part)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"inputs": [' * 5_000, b'{"id": "\\ud800"}',
        b'{"inputs": NaN}', b"1" * 5_000, b'{"inputs": [1e999]}', b"null", b"{}{}",
    ],
)  # fmt: skip
async def test_what_is_no_json_is_refused(client, body):
    assert_error(await client.post(INFER, content=body), 400)


@pytest.mark.parametrize(("length", "status"), [("999999", 400), ("-1", 422), ("x", 422), ("1e3", 422)])
async def test_a_wrong_length_of_the_json_is_refused(client, length, status):
    response = await client.post(INFER, content=b"{}", headers={HEADER_LENGTH: length})
    assert_error(response, status, HEADER_LENGTH)


@pytest.mark.parametrize("value", [-1, 256, 1.5, 1e300])
async def test_a_pixel_is_a_whole_number_of_one_byte(client, value):
    pixels = [0] * 150_527 + [value]
    document = with_data(pixels, name="images", datatype="UINT8", shape=[1, 224, 224, 3])
    assert_error(await ask(client, INFER, document), 400, "0 to 255")


@pytest.mark.parametrize("value", [np.nan, np.inf])
async def test_a_gain_that_is_no_number_is_refused_as_binary_too(client, value):
    gain = {"name": "gain", "datatype": "FP32", "shape": [1], "parameters": {"binary_data_size": 4}}
    data = bytes(150_528) + np.float32(value).tobytes()
    response = await ask(client, INFER, {"inputs": [*images_of(1)["inputs"], gain]}, data)
    assert_error(response, 400, "finite")


async def test_rows_that_do_not_belong_together_are_refused(client):
    gain = tensor("gain", "FP32", np.ones(2, np.float32))
    response = await ask(client, INFER, {"inputs": [*images_of(1)["inputs"], gain]}, bytes(150_528))
    assert_error(response, 400, "1 values")


@pytest.mark.parametrize("data", [b"", b"\1\0\0", b"\xff\xff\xff\xff", b"\1\0\0\0ab", b"\0\0\0\0" * 2])
async def test_files_that_are_not_what_their_lengths_say_are_refused(client, data):
    document = {
        "name": "image",
        "datatype": "BYTES",
        "shape": [1],
        "parameters": {"binary_data_size": len(data)},
    }
    head = json.dumps({"inputs": [document]}).encode()
    response = await client.post(ANALYSE, content=head + data, headers={HEADER_LENGTH: str(len(head))})
    assert_error(response, 400, "1 elements")


@pytest.mark.parametrize("data", [["%%%"], ["ü"], [3], [["YQ=="], ["YQ=="]]])
async def test_files_in_json_are_base64(client, data):
    document = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], "data": data}]}
    assert_error(await ask(client, ANALYSE, document), 400, "image: ")


@pytest.mark.parametrize(("path", "most"), [(INFER, 8 * 2**20), (ANALYSE, 10 * 2**20 * 4 // 3 + 2**16)])
async def test_a_large_body_is_refused_before_all_of_it_is_there(client, path, most):
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while True:
            sent += 2**20
            yield b" " * 2**20

    assert_error(await client.post(path, content=endless()), 413, str(most))
    assert sent < most + 4 * 2**20
    declared = {"Content-Length": str(2**40)}
    assert_error(await client.post(path, content=b"", headers=declared), 413)


async def test_more_rows_than_a_batch_are_refused_before_they_are_read(client):
    assert_error(await ask(client, INFER, images_of(33), b"\0"), 413, "32 rows")


async def test_compressed_bodies_are_not_read(client):
    assert_error(await client.post(INFER, content=b"x", headers={"Content-Encoding": "gzip"}), 415)


# Failures, time and load


def failing(failure: Exception) -> ModelServer:
    return ScriptedModelServer(failure=failure)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (errors.ModelServerUnavailable("gone"), 503),
        (errors.ModelServerTimeout("late"), 504),
        (errors.Overloaded("full", 3), 503),
        (errors.ModelServerError("no"), 500),
        (RuntimeError("secret"), 500),
    ],
)
async def test_failures_are_errors_of_the_protocol(failure, status):
    services = build_services(Settings(), model_server=failing(failure))
    async with client_of(build_app(Settings(), services)) as client:
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        response = await ask(client, INFER, request, bytes(150_528))
    assert_error(response, status)
    assert "secret" not in response.text
    assert ("retry-after" in response.headers) == (status == 503)


async def test_an_answer_that_is_no_number_is_a_failure_of_the_model():
    class Broken(FakeModelServer):
        async def classify(self, question: Question) -> Prediction:
            rows = len(question)
            nothing = np.full((rows, 5), np.nan, np.float32)
            return answered(nothing, nothing[:, 0], nothing)

    services = build_services(Settings(), model_server=Broken())
    async with client_of(build_app(Settings(), services)) as client:
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        assert_error(await ask(client, INFER, request, bytes(150_528)), 500, "no numbers")


async def test_another_version_than_the_one_asked_for_is_no_answer():
    class Changing(FakeModelServer):
        async def classify(self, question: Question) -> Prediction:
            self._identity = ScriptedModelServer(2)._identity
            return await super().classify(question)

    services = build_services(Settings(), model_server=Changing())
    async with client_of(build_app(Settings(), services)) as client:
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        path = "/v2/models/wbc/versions/1/infer"
        assert_error(await ask(client, path, request, bytes(150_528)), 404)


async def test_images_that_two_versions_answered_for_are_no_answer():
    class Changing(ScriptedModelServer):
        async def explain(self, question: Question) -> Prediction:
            prediction = await super().explain(question)
            self._identity = ScriptedModelServer(2)._identity
            return dataclasses.replace(
                prediction, model=self._identity if self.asked > 1 else prediction.model
            )

    services = build_services(Settings(), model_server=Changing())
    async with client_of(build_app(Settings(), services)) as client:
        texts = [base64.b64encode(whole_image("PNG")).decode()] * 2
        inputs = [{"name": "image", "datatype": "BYTES", "shape": [2], "data": texts}]
        request = {"inputs": inputs, "parameters": {"tta": "none"}}  # one question for each image
        assert_error(await ask(client, ANALYSE, request), 503, "Another version")


async def test_a_deadline_ends_the_request_and_is_counted():
    def counted() -> float:
        labels = {"endpoint": "v2_infer", "outcome": "deadline-exceeded"}
        return REGISTRY.get_sample_value("wbc_requests_total", labels) or 0.0

    server = ScriptedModelServer(gate=asyncio.Event())
    async with client_of(create_app(build_services(Settings(), model_server=server))) as client:
        before = counted()
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        response = await ask(client, INFER, request, bytes(150_528), X_Request_Timeout_Ms="200")
    assert_error(response, 504)
    assert server.cancelled == 1
    assert counted() == before + 1


async def test_requests_are_admitted_with_all_others():
    server = ScriptedModelServer(gate=asyncio.Event())
    app = create_app(build_services(Settings(), model_server=server), admission=Admission(1, 0))
    async with client_of(app) as client:
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        first = asyncio.create_task(ask(client, INFER, request, bytes(150_528)))
        await server.reached.wait()
        refused = await ask(client, INFER, request, bytes(150_528))
        assert_error(refused, 503, "no more are taken")
        assert int(refused.headers["retry-after"]) >= 1
        assert server.gate is not None
        server.gate.set()
        assert (await first).status_code == 200


async def test_a_body_that_drips_holds_no_place():
    app = create_app(build_services(Settings(), model_server=FakeModelServer()), admission=Admission(1, 0))
    dripping, enough = asyncio.Event(), asyncio.Event()

    async def body() -> AsyncIterator[bytes]:
        yield b"{"
        dripping.set()
        await enough.wait()

    async with client_of(app) as client:
        request = images_of(1) | {"outputs": [{"name": "main_out"}]}
        slow = asyncio.create_task(client.post(INFER, content=body()))
        await asyncio.wait_for(dripping.wait(), 10)
        assert (await ask(client, INFER, request, bytes(150_528))).status_code == 200
        enough.set()
        assert_error(await slow, 400)


async def test_who_may_not_ask_is_told_so_in_the_protocols_form(tmp_path):
    keys = tmp_path / "keys.json"
    keys.write_text(KeyRing().model_dump_json())
    keys.chmod(0o600)
    settings = Settings(security=SecuritySettings(api_keys_file=keys))
    app = build_app(settings, build_services(settings, model_server=FakeModelServer()))
    async with client_of(app) as client:
        assert (await client.get("/v2/health/ready")).status_code == 200  # a probe has no key
        for path in (INFER, ANALYSE, "/v2/models/wbc/versions/1/infer"):
            refused = await ask(client, path, {})
            assert_error(refused, 401)
            assert refused.headers["www-authenticate"]
        assert_error(await client.get("/v2"), 401)
        documented = (await client.get("/openapi.json")).json()["paths"]["/v2"]["get"]["responses"]
        assert set(documented["401"]["content"]) == {"application/json"}


@pytest.mark.parametrize(
    ("place", "name", "value", "told"),
    [
        ("outputs", "classification", 3, "class_count"),
        ("outputs", "class_count", 3, "class_count"),
        ("inputs", "shared_memory_region", "region", "shared memory"),
        ("outputs", "shared_memory_byte_size", 8, "shared memory"),
        ("request", "sequence_id", 7, "sequences"),
        ("request", "sequence_start", True, "sequences"),
        ("request", "priority", 1, "scheduling"),
        ("request", "timeout", 1, "scheduling"),
    ],
)
async def test_an_extension_that_is_not_there_is_refused_in_words(place, name, value, told):
    document = {"inputs": [tensor("images", "UINT8", IMAGES)], "outputs": [{"name": "main_out"}]}
    holder = document if place == "request" else document[place][0]
    holder["parameters"] = {name: value}
    async with client_of(create_app(build_services(Settings(), model_server=FakeModelServer()))) as client:
        response = await client.post(INFER, json=document)
    assert response.status_code == 400
    assert f"the extension {told}" in response.json()["error"]
    assert "is not there" in response.json()["error"]


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("request", "triton_enable_empty_final_response", True),
        ("request", "response_compression_algorithm", "gzip"),
        ("request", "profil", "default"),
        ("request", "profile", "default"),  # which the network has none of
        ("request", "tta", "full"),
        ("inputs", "codec", "np"),
        ("outputs", "class-count", 1),
    ],
)
async def test_a_parameter_that_means_nothing_here_is_refused_by_its_name(place, name, value):
    document = {"inputs": [tensor("images", "UINT8", IMAGES)], "outputs": [{"name": "main_out"}]}
    holder = document if place == "request" else document[place][0]
    holder["parameters"] = {name: value}
    async with client_of(create_app(build_services(Settings(), model_server=FakeModelServer()))) as client:
        response = await client.post(INFER, json=document)
        known = await client.post(INFER, json=document | {"parameters": {"content_type": "np"}})
    assert response.status_code == 400
    assert name in response.json()["error"]
    assert known.status_code == (200 if place == "request" else 400)


async def test_large_images_take_places_by_the_pixels_of_all_together():
    admission, cell = NotingAdmission(), cell_file("Neutrophil", 1, 130)
    app = create_app(build_services(Settings(), model_server=FakeModelServer()), admission=admission)
    data = [base64.b64encode(cell).decode()] * 3
    asked = {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [3], "data": data}]}
    async with client_of(app) as client:
        response = await client.post("/v2/models/wbc_analysis/infer", json=asked)
    assert response.status_code == 200
    assert admission.pixels == [3 * 130 * 130]
