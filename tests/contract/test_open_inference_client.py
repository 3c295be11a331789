"""A client that somebody else wrote, NVIDIA's for Triton, speaks with this service over HTTP."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from tritonclient import http as triton
from tritonclient.utils import InferenceServerException

from orchestrator.domain import ViewBatch
from orchestrator.model_contract import CLASS_NAMES
from tests.fakes.model_server import FakeModelServer
from tests.integration.test_flow_control import listening
from tests.malformed_images import whole_image
from tests.random_images import varied_images


@pytest.fixture
async def with_client() -> AsyncIterator[Callable[..., Any]]:
    """Runs a function of a client in a thread of its own, as the client blocks."""
    async with listening(FakeModelServer()) as url:

        def run(function: Callable[[triton.InferenceServerClient], Any]) -> Any:
            with triton.InferenceServerClient(url.removeprefix("http://")) as client:
                return function(client)

        yield lambda function: asyncio.to_thread(run, function)


def tensor(name: str, array: np.ndarray, datatype: str, *, binary: bool) -> triton.InferInput:
    made = triton.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def test_it_finds_server_and_models(with_client):
    def look(client):
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("wbc")
        assert client.is_model_ready("wbc_analysis", "1")
        assert not client.is_model_ready("other")
        assert "binary_tensor_data" in client.get_server_metadata()["extensions"]
        return client.get_model_metadata("wbc", "1")

    assert [tensor["datatype"] for tensor in (await with_client(look))["inputs"]] == ["UINT8", "FP32"]


@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("binary_out", [True, False])
async def test_it_gets_what_the_model_server_answers(with_client, binary_in, binary_out):
    images, gain = varied_images(2, 224), np.array([1.1, 0.9], np.float32)
    server = FakeModelServer()
    await server.start()
    expected = await server.explain(ViewBatch(images, gain))

    def ask(client):
        inputs = [
            tensor("images", images, "UINT8", binary=binary_in),
            tensor("gain", gain, "FP32", binary=binary_in),
        ]
        wanted = [triton.InferRequestedOutput(name, binary_data=binary_out) for name in ("cams", "main_out")]
        return client.infer("wbc", inputs, outputs=wanted, request_id="42")

    answer = await with_client(ask)
    np.testing.assert_array_equal(answer.as_numpy("main_out"), expected.main_out)
    np.testing.assert_array_equal(answer.as_numpy("cams"), expected.cams)
    assert answer.as_numpy("logits") is None
    assert answer.get_response()["id"] == "42"


async def test_it_has_files_analysed(with_client):
    files = np.array([whole_image("JPEG"), whole_image("PNG")], object)

    def ask(client):
        inputs = [tensor("image", files, "BYTES", binary=True)]
        return client.infer("wbc_analysis", inputs, model_version="1", parameters={"language": "tr"})

    answer = await with_client(ask)
    assert {name.decode() for name in answer.as_numpy("class")} <= set(CLASS_NAMES)
    assert answer.as_numpy("probabilities").shape == (2, 5)
    assert answer.as_numpy("needs_review").dtype == bool
    assert answer.as_numpy("heatmap")[1].startswith(b"\x89PNG")


async def test_it_understands_why_it_is_refused(with_client):
    def ask(client):
        images = tensor("images", np.zeros((33, 224, 224, 3), np.uint8), "UINT8", binary=True)
        client.infer("wbc", [images])

    with pytest.raises(InferenceServerException, match="at most 32 rows") as refused:
        await with_client(ask)
    assert refused.value.status() == "413"
    with pytest.raises(InferenceServerException, match="Not Found"):
        await with_client(lambda client: client.get_model_config("wbc"))
