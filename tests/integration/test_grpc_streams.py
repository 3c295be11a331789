"""Streams of images: bounded, answered as they finish, and ended in order."""

import asyncio
from typing import Any

import cv2
import grpc
import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.domain import DISCLAIMER
from orchestrator.edge.admission import Admission
from orchestrator.edge.grpc.server import GrpcOptions
from orchestrator.edge.grpc.stream import StreamLimits
from orchestrator.edge.request_frame import Deadlines
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.protos.wbc.v1 import wbc_pb2_grpc
from tests.fakes.long_line import long_line
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.grpc_edge import Edge, grpc_edge
from tests.waiting import becomes, time_passes


def options(window: int = 3, max_streams: int = 2, idle_s: float = 60) -> GrpcOptions:
    return GrpcOptions(port=0, streams=StreamLimits(max_streams, window, idle_s))


def image(correlation_id: str, payload: bytes, **chosen: Any) -> pb.AnalyzeStreamRequest:
    return pb.AnalyzeStreamRequest(
        correlation_id=correlation_id, image=payload, options=pb.AnalysisOptions(**chosen)
    )


async def rest_of(call) -> list[pb.AnalyzeStreamResponse]:
    return [response async for response in call]


async def test_every_image_is_answered_under_its_correlation_id(cell):
    async with grpc_edge(FakeModelServer(), options=options()) as edge:
        requests = [image(f"c{n}", cell) for n in range(10)]
        call = edge.stub.AnalyzeStream(iter(requests), metadata=(("x-request-id", "lab-7"),))
        answers = await rest_of(call)
        alone = (await edge.stub.Analyze(pb.AnalyzeRequest(image=cell))).analysis
    assert sorted(answer.correlation_id for answer in answers) == sorted(f"c{n}" for n in range(10))
    for answer in answers:
        number = int(answer.correlation_id[1:]) + 1
        assert answer.analysis.request_id == f"lab-7-{number}"
        assert answer.analysis.decision == alone.decision
        assert answer.analysis.heatmap == alone.heatmap


async def test_answers_come_as_they_are_ready_and_not_in_the_order_of_the_questions(cell):
    quick_ones_answered = asyncio.Event()

    class LateOnce(FakeModelServer):
        async def explain(self, views):
            if len(views) == 8:  # the first image alone is asked with eight views
                await quick_ones_answered.wait()
            return await super().explain(views)

    async with grpc_edge(LateOnce(), options=options()) as edge:
        requests = [
            image("slow", cell, tta=pb.TEST_TIME_AUGMENTATION_LIGHT),
            *(image(f"quick-{n}", cell, tta=pb.TEST_TIME_AUGMENTATION_NONE) for n in range(3)),
        ]
        call = edge.stub.AnalyzeStream(iter(requests))
        answers = [await call.read() for _ in range(3)]
        quick_ones_answered.set()
        assert (await call.read()).correlation_id == "slow"
    assert {answer.correlation_id for answer in answers} == {"quick-0", "quick-1", "quick-2"}


async def test_an_image_that_cannot_be_analysed_ends_nothing(cell):
    async with grpc_edge(FakeModelServer(), options=options()) as edge:
        requests = [
            image("a", cell),
            image("b", b"no image"),
            image("c", cell, profile="unknown"),
            image("x" * 129, cell),
            image("d", cell),
        ]
        call = edge.stub.AnalyzeStream(iter(requests))
        answers = {answer.correlation_id: answer for answer in await rest_of(call)}
        assert await call.code() is grpc.StatusCode.OK
    assert {key for key, answer in answers.items() if answer.WhichOneof("outcome") == "analysis"} == {
        "a",
        "d",
    }
    assert (answers["b"].error.code, answers["b"].error.reason) == (3, "UNSUPPORTED_IMAGE")
    assert answers["c"].error.field_violations[0].field == "options.profile"
    assert answers[""].error.field_violations[0].field == "correlation_id"
    assert all(
        answer.error.disclaimer == DISCLAIMER for answer in answers.values() if answer.HasField("error")
    )


async def test_no_more_than_the_window_is_under_way_and_hardly_more_is_taken(cell):
    """Over a long line, on which gRPC would by itself take whatever is sent."""
    gate = asyncio.Event()
    model_server = ScriptedModelServer(gate=gate)
    images, warm, window = 20, 8, 3
    padded = cell + bytes(3 * 2**20)
    plain: dict[str, Any] = {"tta": pb.TEST_TIME_AUGMENTATION_NONE, "heatmap": False, "report": False}
    async with (
        grpc_edge(model_server, options=options(window), deadlines=Deadlines(60)) as edge,
        long_line(edge.server.port, delay_s=0.03) as port,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        call = wbc_pb2_grpc.AnalyzerStub(channel).AnalyzeStream()
        sent = 0

        async def send() -> None:
            nonlocal sent
            for n in range(images):
                await call.write(image(str(n), padded, **plain))
                sent += 1
            await call.done_writing()

        sending = asyncio.create_task(send())
        gate.set()
        answers = [await call.read() for _ in range(warm)]
        gate.clear()
        await becomes(lambda: model_server.running == window)
        before = -1
        while before != sent:  # until the sender is stopped
            before = sent
            await asyncio.sleep(0.4)
        assert (model_server.running, edge.admission.in_flight) == (window, window)
        assert sent <= model_server.asked + 1
        gate.set()
        answers += [await call.read() for _ in range(images - warm)]
        await sending
    assert sorted(int(answer.correlation_id) for answer in answers) == list(range(images))
    assert model_server.asked == images


@pytest.fixture(scope="module")
def noise() -> bytes:
    """An image whose heatmap is megabytes large: a few fill what a connection may hold unread."""
    pixels = np.random.default_rng(1).integers(0, 255, (900, 900, 3), np.uint8)
    return bytes(cv2.imencode(".jpg", pixels)[1])


async def test_who_does_not_read_his_answers_is_not_read_either(noise):
    model_server = ScriptedModelServer()
    async with grpc_edge(model_server, options=options(window=2), deadlines=Deadlines(60)) as edge:
        call = edge.stub.AnalyzeStream(
            image(str(n), noise, tta=pb.TEST_TIME_AUGMENTATION_NONE) for n in range(12)
        )
        await becomes(lambda: model_server.asked >= 2)
        before = 0
        while before != model_server.asked:  # until nothing more is begun
            before = model_server.asked
            await asyncio.sleep(1)
        assert model_server.asked < 12
        answers = await rest_of(call)
    assert len(answers) == 12
    assert min(len(answer.analysis.heatmap.data) for answer in answers) > 2**20


async def test_who_never_reads_his_answers_is_cut_off(noise, caplog):
    async with grpc_edge(ScriptedModelServer(), options=options(window=2, idle_s=0.5)) as edge:
        call = edge.stub.AnalyzeStream(
            image(str(n), noise, tta=pb.TEST_TIME_AUGMENTATION_NONE) for n in range(12)
        )
        await becomes(lambda: "No answer was read for 0.5 seconds" in caplog.text)
        with pytest.raises(grpc.aio.AioRpcError):
            await rest_of(call)
        await becomes(lambda: edge.admission.in_flight == 0)


async def test_who_says_nothing_is_let_go_but_not_while_he_waits_for_an_answer(cell):
    gate = asyncio.Event()
    model_server = ScriptedModelServer(gate=gate)
    async with grpc_edge(model_server, options=options(idle_s=30), deadlines=Deadlines(600, 600)) as edge:
        call = edge.stub.AnalyzeStream()
        await call.write(image("a", cell))
        await becomes(lambda: model_server.running == 1)
        time_passes(60)
        await asyncio.sleep(0.1)
        gate.set()
        assert (await call.read()).correlation_id == "a"
        reading = asyncio.create_task(call.read())
        while not reading.done():
            time_passes(30)
            await asyncio.sleep(0.05)
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await reading
        assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert "No image came for 30 seconds" in raised.value.details()


async def test_a_message_that_cannot_be_read_ends_the_stream_after_the_answers_before_it(cell):
    async with grpc_edge(FakeModelServer(), options=options()) as edge:
        call = edge.channel.stream_stream("/wbc.v1.Analyzer/AnalyzeStream")()
        await call.write(image("a", cell).SerializeToString())
        await call.write(b"\xff\xff\xff")
        assert pb.AnalyzeStreamResponse.FromString(await call.read()).correlation_id == "a"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
    assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_who_cancels_takes_all_his_images_with_him(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, options=options(window=3)) as edge:
        call = edge.stub.AnalyzeStream()
        for n in range(3):
            await call.write(image(str(n), cell))
        await becomes(lambda: model_server.running == 3)
        call.cancel()
        await becomes(lambda: model_server.cancelled == 3 and edge.admission.in_flight == 0)
        # And their place among the streams is free again.
        model_server.gate.set()
        for _ in range(3):
            assert len(await rest_of(edge.stub.AnalyzeStream(iter([image("a", cell)])))) == 1


async def test_an_image_has_the_services_deadline_and_the_stream_the_callers(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, options=options(), deadlines=Deadlines(default_s=20)) as edge:
        asked = asyncio.create_task(rest_of(edge.stub.AnalyzeStream(iter([image("a", cell)]))))
        await becomes(lambda: model_server.asked == 1)
        time_passes(20)
        (answer,) = await asked
        assert answer.error.reason == "DEADLINE_EXCEEDED"
        call = edge.stub.AnalyzeStream(timeout=4)
        await call.write(image("b", cell))
        await becomes(lambda: model_server.asked == 2)
        time_passes(20)
        assert (await call.read()).error.reason == "DEADLINE_EXCEEDED"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
    assert raised.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert model_server.cancelled == 2


async def test_there_are_only_so_many_streams(cell):
    async with grpc_edge(FakeModelServer(), options=options(max_streams=1)) as edge:
        first = edge.stub.AnalyzeStream()
        await first.write(image("a", cell))
        await first.read()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await rest_of(edge.stub.AnalyzeStream(iter([image("a", cell)])))
        assert raised.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        await first.done_writing()
        assert await first.read() is grpc.aio.EOF
        assert len(await rest_of(edge.stub.AnalyzeStream(iter([image("a", cell)])))) == 1


async def test_an_overload_is_told_image_by_image_with_the_time_to_come_back(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, options=options(), admission=Admission(1, 0)) as edge:
        call = edge.stub.AnalyzeStream()
        await call.write(image("a", cell))
        await becomes(lambda: model_server.running == 1)
        await call.write(image("b", cell))
        answer = await call.read()
        assert (answer.correlation_id, answer.error.reason) == ("b", "OVERLOADED")
        assert answer.error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
        assert answer.error.retry_after.ToMilliseconds() > 0
        model_server.gate.set()
        assert (await call.read()).HasField("analysis")
        call.cancel()


async def test_a_process_that_stops_answers_what_it_has_read_and_ends_the_stream(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, options=options(), deadlines=Deadlines(20)) as edge:
        call = edge.stub.AnalyzeStream()
        await call.write(image("a", cell))
        await becomes(lambda: model_server.running == 1)
        stopping = asyncio.create_task(edge.server.stop(10))
        await asyncio.sleep(0.1)
        model_server.gate.set()
        assert (await call.read()).correlation_id == "a"
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await call.read()
        assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
        await asyncio.wait_for(stopping, 5)


async def test_images_are_counted_one_by_one(cell):
    def counted(outcome: str) -> float:
        labels = {"endpoint": "grpc.AnalyzeStream", "outcome": outcome}
        return REGISTRY.get_sample_value("wbc_requests_total", labels) or 0.0

    before = counted("ok"), counted("unsupported-image")
    async with grpc_edge(FakeModelServer(), options=options()) as edge:
        await stream_of(edge, cell, b"x", cell)
    assert (counted("ok"), counted("unsupported-image")) == (before[0] + 2, before[1] + 1)


async def stream_of(edge: Edge, *payloads: bytes) -> list[pb.AnalyzeStreamResponse]:
    requests = [image(str(n), payload) for n, payload in enumerate(payloads)]
    return await rest_of(edge.stub.AnalyzeStream(iter(requests)))
