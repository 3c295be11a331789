"""Both clients against the edge: results, errors, repetitions, streams that outlive their connection."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

import grpc
import pytest

from orchestrator.client import (
    AnalysisOptions,
    AnalyzerError,
    AsyncClient,
    Client,
    Connection,
    StreamResult,
)
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.access.security import API_KEY_PREFIX, Authenticator, Principal
from orchestrator.edge.grpc.server import GrpcOptions
from orchestrator.errors import ModelServerTimeout, ModelServerUnavailable
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.grpc_edge import Edge, grpc_edge, using
from tests.waiting import LONGEST_S, becomes

T = TypeVar("T")

SEVEN = [(f"Yilmaz-{n}", n) for n in range(7)]


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with grpc_edge(FakeModelServer()) as edge:
        yield edge


@pytest.fixture(params=["sync", "async"])
def kind(request) -> str:
    return request.param


async def test_an_analysis_is_a_typed_value(kind, edge, cell):
    options = AnalysisOptions(language="tr", tta="none", outlines=True, heatmap_format="jpeg")
    connection = Connection(edge.target)
    found = await using(kind, connection, "analyze", cell, options, request_id="lab-42")
    message = (
        await edge.stub.Analyze(
            pb.AnalyzeRequest(image=cell, options=options.message()), metadata=(("x-request-id", "lab-42"),)
        )
    ).analysis
    assert found.request_id == "lab-42"
    assert f"CELL_CLASS_{found.class_name.upper()}" == pb.CellClass.Name(message.decision.cell_class)
    assert found.confidence == found.probabilities[found.class_name] == message.decision.confidence
    assert found.image_size == (160, 160)
    assert (found.views, found.profile, found.disclaimer) == (1, "default", DISCLAIMER)
    assert found.device_state == "unknown"
    assert found.review_reasons[-1].code == "device_unknown"
    assert found.heatmap is not None
    assert (found.heatmap.media_type, found.heatmap.data) == ("image/jpeg", message.heatmap.data)
    assert found.report is not None
    assert (found.report.text, found.report.language) == (message.report.text, "tr")
    assert found.focus is not None
    assert found.focus.ratio == message.focus.ratio
    assert found.outlines is not None
    assert found.outlines.cell[0][0] == (
        message.outlines.cell[0].points[0].row,
        message.outlines.cell[0].points[0].column,
    )


async def test_what_is_not_asked_for_is_none(kind, edge, cell):
    options = AnalysisOptions(heatmap=False, report=False)
    found = await using(kind, Connection(edge.target), "analyze", cell, options)
    assert found.heatmap is found.focus is found.outlines is found.report is None


def test_a_word_that_is_none_is_refused_before_anything_is_sent():
    with pytest.raises(ValueError, match="LANGUAGE_DE"):
        AnalysisOptions(language="de").message()


async def test_the_model_is_described(kind, edge):
    found = await using(kind, Connection(edge.target), "model")
    assert (found.model.name, found.default_profile, found.input_size) == ("wbc", "default", 224)
    assert set(found.profiles) == set(edge.services.profiles)


async def test_errors_say_what_is_wrong(kind, edge, cell):
    connection = Connection(edge.target)
    with pytest.raises(AnalyzerError) as raised:
        await using(kind, connection, "analyze", cell, AnalysisOptions(profile="x"), request_id="lab-1")
    error = raised.value
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_PARAMETER")
    assert (error.request_id, list(error.fields)) == ("lab-1", ["options.profile"])
    assert "options.profile: there is no such profile" in str(error)
    assert error.retry_after_s is None


async def test_a_credential_is_shown(kind, cell):
    class Keys:
        async def verify(self, credential: str) -> Principal:
            assert credential == f"{API_KEY_PREFIX}mine"
            return Principal("key:mine", frozenset({"analyse"}))

    access = AccessRules(authenticator=Authenticator(api_keys=Keys()))
    async with grpc_edge(FakeModelServer(), access=access) as edge:
        shown = Connection(edge.target, credential=f"{API_KEY_PREFIX}mine")
        assert (await using(kind, shown, "analyze", cell)).views >= 1
        assert len(await using(kind, shown, "analyze_stream", [("a", cell)])) == 1
        with pytest.raises(AnalyzerError) as raised:
            await using(kind, Connection(edge.target), "analyze", cell)
    assert raised.value.code is grpc.StatusCode.UNAUTHENTICATED


# Repetitions


class FailingFirst(ScriptedModelServer):
    """Raises ``failure`` as often as it is told, then answers."""

    def __init__(self, failure: Exception, times: int) -> None:
        super().__init__(failure=failure)
        self._times = times

    async def classify(self, views):
        if self.asked >= self._times:
            self.failure = None
        return await super().classify(views)


async def test_a_call_is_repeated_where_the_service_is_not_available(kind, cell):
    model_server = FailingFirst(ModelServerUnavailable("away"), 1)
    async with grpc_edge(model_server) as edge:
        assert (await using(kind, Connection(edge.target), "analyze", cell)).views >= 1
    assert model_server.asked == 2


@pytest.mark.parametrize(
    ("failure", "attempts", "asked"),
    [
        (ModelServerUnavailable("away"), 2, 2),
        (ModelServerUnavailable("away"), 1, 1),
        (ModelServerTimeout("late"), 3, 1),
    ],
)
async def test_nothing_else_is_repeated_and_nothing_for_ever(kind, cell, failure, attempts, asked):
    model_server = ScriptedModelServer(failure=failure)
    async with grpc_edge(model_server) as edge:
        with pytest.raises(AnalyzerError):
            await using(kind, Connection(edge.target, max_attempts=attempts), "analyze", cell)
    assert model_server.asked == asked


def test_the_number_of_attempts_is_bounded():
    with pytest.raises(ValueError, match="max_attempts: expected 1 to 5"):
        Connection("localhost:1", max_attempts=6)


# Streams


async def test_a_stream_answers_every_image_under_its_key(kind, edge, cell):
    images = [(key, cell if n != 3 else b"no image") for key, n in SEVEN]
    results: list[StreamResult[str]] = await using(kind, Connection(edge.target), "analyze_stream", images)
    by_key = {result.key: result for result in results}
    assert set(by_key) == {key for key, _ in SEVEN}
    refused = by_key.pop("Yilmaz-3")
    with pytest.raises(AnalyzerError, match="UNSUPPORTED_IMAGE"):
        refused.unwrap()
    assert refused.error is not None
    assert refused.error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert {result.unwrap().class_name for result in by_key.values()} == {
        (await using(kind, Connection(edge.target), "analyze", cell)).class_name
    }


async def test_images_are_read_only_so_far_ahead_of_the_answers(kind, cell):
    read = 0
    model_server = ScriptedModelServer(gate=asyncio.Event())

    def images() -> Iterator[tuple[int, bytes]]:
        nonlocal read
        for read in range(1, 21):
            yield read, cell

    async with grpc_edge(model_server) as edge:
        stream = using(kind, Connection(edge.target), "analyze_stream", images(), window=4)
        asking = asyncio.create_task(stream)
        await becomes(lambda: model_server.running == 4)
        await asyncio.sleep(0.2)
        assert read <= 5  # four that are on their way, and one that waits
        model_server.gate.set()
        assert sorted(result.key for result in await asking) == list(range(1, 21))


async def test_an_error_of_the_images_reaches_who_asked(kind, edge, cell):
    def images() -> Iterator[tuple[int, bytes]]:
        yield 1, cell
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        await using(kind, Connection(edge.target), "analyze_stream", images())


async def test_no_image_is_lost_or_answered_twice_where_the_service_is_exchanged(kind, cell):
    """The first process stops in the middle; a second one takes its port over."""

    class AnswersThree(ScriptedModelServer):
        async def classify(self, views):
            if self.asked == 3:
                self.gate = asyncio.Event()  # and nobody ever sets it
            return await super().classify(views)

    first = AnswersThree()
    async with grpc_edge(first) as edge:
        asking = asyncio.create_task(
            using(
                kind,
                Connection(edge.target, max_attempts=5),
                "analyze_stream",
                [(n, cell) for n in range(30)],
                window=6,
            )
        )
        await becomes(lambda: first.running == 6)
        port = edge.server.port
        await edge.server.stop(0.2)
    second = ScriptedModelServer(version=2)
    async with grpc_edge(second, options=GrpcOptions(port=port)):
        results = await asyncio.wait_for(asking, LONGEST_S)
    assert sorted(result.key for result in results) == list(range(30))
    assert [result.unwrap().model.version for result in results].count(1) == 3
    assert second.asked == 27


async def test_a_stream_that_nobody_answers_any_more_ends_with_unavailable(kind, cell):
    async with grpc_edge(FakeModelServer()) as edge:
        target = edge.target
    with pytest.raises(AnalyzerError) as raised:
        await using(kind, Connection(target, max_attempts=2), "analyze_stream", [("a", cell)])
    assert raised.value.code is grpc.StatusCode.UNAVAILABLE


async def test_who_stops_listening_leaves_nothing_behind(edge, cell):
    def first_of_many() -> str:
        with Client(Connection(edge.target)) as client:
            stream = client.analyze_stream(((f"{n}", cell) for n in range(1000)), window=4)
            key = next(stream).key
            stream.close()
            return key

    assert await asyncio.to_thread(first_of_many)
    async with AsyncClient(Connection(edge.target)) as client:
        stream = client.analyze_stream(((f"{n}", cell) for n in range(1000)), window=4)
        assert (await anext(stream)).key
        await stream.aclose()
    await becomes(lambda: not any(thread.name == "wbc images" for thread in threading.enumerate()))
    await becomes(lambda: not any(task.get_name() == "wbc images" for task in asyncio.all_tasks()))
    await becomes(lambda: edge.admission.in_flight == 0)


async def test_images_may_come_from_an_async_source(edge, cell):
    async def images() -> AsyncIterator[tuple[int, bytes]]:
        for n in range(3):
            await asyncio.sleep(0.01)
            yield n, cell

    async with AsyncClient(Connection(edge.target)) as client:
        keys = [result.key async for result in client.analyze_stream(images())]
    assert sorted(keys) == [0, 1, 2]
