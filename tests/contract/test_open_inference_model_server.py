"""What the client of the Open Inference Protocol does beyond the port."""

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from orchestrator.domain import ModelIdentity
from orchestrator.errors import ContractViolation, ModelServerUnavailable, Overloaded
from orchestrator.model_server.open_inference import OpenInferenceModelServer
from orchestrator.model_server.remote import RemoteOptions
from tests.contract.model_server_suite import cell_of, views_of

if TYPE_CHECKING:
    from tests.fakes.open_inference_server import OpenInferenceServer

Connect = Callable[..., Any]


@pytest.fixture
async def connect(open_inference: "OpenInferenceServer") -> AsyncIterator[Connect]:
    """``await connect(**options)`` is a started client."""
    clients = []

    async def connected(**options: Any) -> OpenInferenceModelServer:
        chosen = RemoteOptions(open_inference.target, **{"start_timeout_s": 5.0, **options})
        clients.append(client := OpenInferenceModelServer(chosen))
        await client.start()
        return client

    yield connected
    for client in clients:
        await client.close()


async def test_an_image_goes_once_to_the_model_of_views_and_rows_to_that_of_rows(
    connect: Connect, open_inference: "OpenInferenceServer"
) -> None:
    client = await connect()
    await client.explain(cell_of((0, 1, 2)))
    await client.classify(views_of(2))
    assert open_inference.asked == ["wbc_views", "wbc"]


async def test_the_newest_version_answers_or_the_one_that_is_named(connect: Connect) -> None:
    newest, pinned = await connect(), await connect(version=1)
    assert await newest.identity() == ModelIdentity("wbc", 2, None, "open-inference")
    assert (await newest.classify(views_of(1))).model.version == 2
    assert (await pinned.classify(views_of(1))).model.version == 1


async def test_a_version_that_is_not_there_is_told(connect: Connect) -> None:
    with pytest.raises(
        ModelServerUnavailable, match=r"expected wbc version 3 on the Open Inference server .*no such model"
    ):
        await connect(version=3, start_timeout_s=0.3)


def test_a_label_is_refused() -> None:
    with pytest.raises(ValueError, match="expected no label"):
        OpenInferenceModelServer(RemoteOptions("localhost:1", version_label="stable"))


async def test_a_model_that_differs_is_refused_with_all_that_differs(
    connect: Connect, open_inference: "OpenInferenceServer"
) -> None:
    def alter(told: Any) -> None:
        for tensor in (*told.inputs, *told.outputs):
            if tensor.name == "gain":
                tensor.shape[:] = [-1]
            if tensor.name == "codes":
                tensor.datatype = "INT64"
        if told.name == "wbc":
            told.outputs.add(name="heat", datatype="FP32", shape=[-1])

    open_inference.alter_metadata = alter
    with pytest.raises(ContractViolation) as refused:
        await connect()
    assert str(refused.value) == (
        "the served model is not that of the contract: "
        "model wbc, input gain: expected float32[None, 1], received float32[None]; "
        "model wbc, output heat: not in the contract; "
        "model wbc_views, input codes: expected int32[None, 8], received INT64[None, 8]"
    )


async def test_models_of_two_versions_are_refused(
    connect: Connect, open_inference: "OpenInferenceServer"
) -> None:
    def alter(told: Any) -> None:
        if told.name == "wbc_views":
            told.versions[:] = ["1"]

    open_inference.alter_metadata = alter
    with pytest.raises(ContractViolation, match=r"one version of both models, received \['1', '2'\]"):
        await connect()


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda reply: setattr(reply, "model_version", "9"), "wbc version 1, received one of wbc version 9"),
        (lambda reply: setattr(reply, "model_version", ""), "version unknown"),
        (lambda reply: setattr(reply, "model_name", "other"), "received one of other version 1"),
        (lambda reply: reply.raw_output_contents.pop(), "expected 5 raw outputs, received 4"),
        (lambda reply: reply.outputs[0].shape.append(1), r"expected main_out as float32\[1, 5\]"),
        (lambda reply: setattr(reply.outputs[0], "datatype", "FP16"), r"received FP16\[1, 5\]"),
        (lambda reply: setattr(reply.outputs[0], "name", "other"), "expected the output main_out"),
    ],
)
async def test_an_answer_that_is_not_what_was_asked_for_is_refused(
    connect: Connect, open_inference: "OpenInferenceServer", alter: Callable[[Any], None], message: str
) -> None:
    client = await connect(version=1)
    open_inference.alter_reply = alter
    with pytest.raises(ContractViolation, match=message):
        await client.classify(views_of(1))


async def test_a_full_queue_of_triton_is_overload_and_retried(
    connect: Connect, open_inference: "OpenInferenceServer"
) -> None:
    full = (grpc.StatusCode.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size")
    client = await connect(max_attempts=2)
    open_inference.failures = [full]
    await client.classify(views_of(1))
    open_inference.failures = [full, full]
    with pytest.raises(Overloaded):
        await client.classify(views_of(1))


async def test_it_is_ready_while_both_models_are(
    connect: Connect, open_inference: "OpenInferenceServer"
) -> None:
    client = await connect()
    assert await client.ready()
    open_inference.ready = False
    assert not await client.ready()
