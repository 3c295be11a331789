"""Deadlines, callers who hang up, overload and a stop: what is begun is finished, and nothing else."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx2
import numpy as np
import pytest
import uvicorn
from fastapi import FastAPI
from prometheus_client import REGISTRY

from orchestrator.bootstrap.services import build_services
from orchestrator.domain import Prediction, Question, ViewBatch
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.http.problems import MEDIA_TYPE
from orchestrator.edge.http_app import create_app
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.request_frame import Deadlines
from orchestrator.errors import Overloaded
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.batching import Batcher
from orchestrator.settings import Settings
from orchestrator.views import stacked
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.multipart_forms import CONTENT_TYPE, form, part
from tests.predictions import predicted
from tests.running_service import RunningService, running_service
from tests.waiting import LONGEST_S, becomes, time_passes

TIMEOUT = "X-Request-Timeout-Ms"


def in_flight() -> float:
    return REGISTRY.get_sample_value("wbc_requests_in_flight") or 0.0


class _QuietServer(uvicorn.Server):
    """Leaves the signals of the test process alone."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(model_server: ModelServer, **flow: Any) -> AsyncIterator[str]:
    """The whole application behind a real port; where it listens."""
    app: FastAPI = create_app(build_services(Settings(), model_server=model_server), **flow)
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan="off", http="httptools")
    server = _QuietServer(config)
    async with app.router.lifespan_context(app):
        serving = asyncio.create_task(server.serve())
        await becomes(lambda: server.started)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        await serving


# Deadlines


@pytest.mark.parametrize("path", ["/predict", "/v1/analyses"])
async def test_who_waits_no_longer_is_told_so_and_his_question_is_taken_back(cell, path):
    gate = asyncio.Event()
    gate.set()
    model_server = ScriptedModelServer(gate=gate)
    async with listening(model_server) as url, httpx2.AsyncClient(base_url=url, timeout=30) as client:
        assert (await client.post(path, files={"file": cell})).status_code == 200
        gate.clear()
        asked = asyncio.create_task(client.post(path, files={"file": cell}, headers={TIMEOUT: "10000"}))
        await becomes(lambda: model_server.running == 1)
        time_passes(10)
        response = await asked
    assert (response.status_code, response.headers["content-type"]) == (504, MEDIA_TYPE)
    assert response.json()["type"].endswith(":deadline-exceeded")
    assert (model_server.cancelled, model_server.running, in_flight()) == (1, 0, 0)


@pytest.mark.parametrize(("headers", "seconds"), [({}, 10), ({TIMEOUT: "60000"}, 20)])
async def test_there_is_a_default_and_a_limit(cell, headers, seconds):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with (
        listening(model_server, deadlines=Deadlines(default_s=10, longest_s=20)) as url,
        httpx2.AsyncClient(base_url=url, timeout=30) as client,
    ):
        asked = asyncio.create_task(client.post("/predict", files={"file": cell}, headers=headers))
        await model_server.reached.wait()
        time_passes(seconds - 5)
        for _ in range(10):
            await asyncio.sleep(0)
        assert model_server.running == 1
        time_passes(5)
        assert (await asked).status_code == 504


async def test_an_upload_that_does_not_arrive_in_time_is_told_so(cell):
    async with listening(FakeModelServer()) as url:
        reader, writer = await connected(url)
        head = request_head(len(cell) + 1000, f"{TIMEOUT}: 200\r\n")
        writer.write(head + part("file", cell, "cell.png"))  # and never the end of the form
        status, _, document = (await reader.readuntil(b"}")).partition(b"\r\n")
        writer.close()
    assert status == b"HTTP/1.1 408 Request Timeout"
    assert b"did not arrive within 0.2 seconds" in document


@pytest.mark.parametrize("wrong", ["0", "-5", "soon", "1.5", "", "9" * 12])
async def test_a_time_that_is_none_is_named(cell, wrong):
    async with (
        listening(FakeModelServer()) as url,
        httpx2.AsyncClient(base_url=url, timeout=30) as client,
    ):
        response = await client.post("/predict", files={"file": cell}, headers={TIMEOUT: wrong})
        document = (await client.get("/openapi.json")).json()
    assert response.status_code == 422
    assert [problem["field"] for problem in response.json()["errors"]] == [TIMEOUT]
    for path in ("/predict", "/v1/analyses"):
        parameters = {p["name"]: p for p in document["paths"][path]["post"]["parameters"]}
        assert parameters[TIMEOUT]["in"] == "header"
        assert "milliseconds" in parameters[TIMEOUT]["description"].lower()


# Callers who hang up


async def connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    return await asyncio.open_connection(host, int(port))


def request_head(body_bytes: int, more: str = "", path: str = "/predict") -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: service\r\nContent-Type: {CONTENT_TYPE}\r\n{more}"
        f"Content-Length: {body_bytes}\r\n\r\n"
    ).encode()


async def sent_request(url: str, cell: bytes) -> asyncio.StreamWriter:
    _, writer = await connected(url)
    body = form(part("file", cell, "cell.png"))
    writer.write(request_head(len(body)) + body)
    await writer.drain()
    return writer


async def test_hanging_up_cancels_the_question_to_the_model_server(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with listening(model_server) as url:
        writer = await sent_request(url, cell)
        await model_server.reached.wait()
        assert in_flight() == 1
        writer.close()
        await becomes(lambda: model_server.running == 0 and in_flight() == 0)
    assert (model_server.asked, model_server.cancelled) == (1, 1)


async def test_hanging_up_gives_a_waiting_place_back(cell):
    gate = asyncio.Event()
    model_server = ScriptedModelServer(gate=gate)
    waiting = lambda: REGISTRY.get_sample_value("wbc_admission_waiting")  # noqa: E731
    async with listening(model_server, admission=Admission(1, 4, 60.0)) as url:
        first = await sent_request(url, cell)
        await model_server.reached.wait()
        second = await sent_request(url, cell)
        await becomes(lambda: waiting() == 1)
        second.close()
        await becomes(lambda: waiting() == 0)
        gate.set()
        await becomes(lambda: in_flight() == 0)
        first.close()
    assert model_server.asked == 1


class Batched(FakeModelServer):
    """Answers through the batcher of the embedded server, one row at a time, when the gate is open."""

    def __init__(self, gate: asyncio.Event) -> None:
        super().__init__()
        self.begun = False
        self.computed_rows = 0
        self.depth = 0
        self._gate = gate
        self._batcher: Batcher | None = None

    async def start(self) -> None:
        await super().start()
        self._loop = asyncio.get_running_loop()
        self._batcher = Batcher(
            self._predict,
            lanes=1,
            max_batch_rows=1,
            max_queue_rows=100,
            seconds_per_row=0.001,
            observer=self,
        )

    async def close(self) -> None:
        if self._batcher:
            await self._batcher.close()
        await super().close()

    async def explain(self, question: Question) -> Prediction:
        assert self._batcher is not None
        return await self._batcher.submit(question)

    def _predict(self, questions: Sequence[Question]) -> Prediction:
        self.begun = True
        asyncio.run_coroutine_threadsafe(self._gate.wait(), self._loop).result(30)
        self.computed_rows += sum(map(len, questions))
        return asyncio.run(super().explain(stacked(questions)))

    def batch_executed(self, rows: int, seconds: float) -> None: ...

    def queue_depth(self, rows: int) -> None:
        self.depth = rows


async def test_what_nobody_waits_for_is_never_computed(cell):
    gate = asyncio.Event()
    model_server = Batched(gate)
    async with listening(model_server) as url, httpx2.AsyncClient(base_url=url, timeout=30) as client:
        question = {"files": {"file": cell}, "data": {"tta": "none"}}
        kept = asyncio.create_task(client.post("/predict", headers={TIMEOUT: "30000"}, **question))
        await becomes(lambda: model_server.begun)
        gone = [await sent_request(url, cell) for _ in range(3)]
        late = asyncio.create_task(client.post("/predict", headers={TIMEOUT: "10000"}, **question))
        await becomes(lambda: model_server.depth >= 4)
        for writer in gone:
            writer.close()
        time_passes(10)
        assert (await late).status_code == 504
        await becomes(lambda: model_server.depth == 0)
        gate.set()
        assert (await kept).status_code == 200
        assert in_flight() == 0
    assert model_server.computed_rows == 1


# Overload


async def begun(url: str, path: str, body_bytes: int, first: bytes) -> bytes:
    """The status line that answers an upload of which nothing comes after its ``first`` bytes."""
    reader, writer = await connected(url)
    try:
        writer.write(request_head(body_bytes, f"{TIMEOUT}: 10000\r\n", path) + first)
        return await reader.readline()
    finally:
        writer.close()


@pytest.mark.parametrize("path", ["/predict", "/v1/analyses", "/v2/models/wbc/infer"])
async def test_with_all_places_taken_a_request_is_refused_before_its_body_has_arrived(cell, path):
    gate = asyncio.Event()
    model_server = ScriptedModelServer(gate=gate)
    async with listening(model_server, admission=Admission(1, 0)) as url:
        under_way = await sent_request(url, cell)
        await model_server.reached.wait()
        assert await begun(url, path, 1000, b"") == b"HTTP/1.1 503 Service Unavailable\r\n"
        gate.set()
        await becomes(lambda: in_flight() == 0)
        under_way.close()


async def test_bodies_that_arrive_at_once_are_refused_beyond_the_memory_that_they_may_take():
    """That of one whole field, and of no order: of two that need more, one is refused while both arrive."""
    most = Settings().images.max_field_bytes
    first = part("file", bytes(most * 2 // 3), "cell.png")
    limits = {"admission": Admission(1, 0), "order_limits": OrderLimits(max_orders=0)}
    async with listening(FakeModelServer(), **limits) as url:
        both = {asyncio.create_task(begun(url, "/v1/fields", most, first)) for _ in range(2)}
        refused, others = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for other in others:
            other.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    assert {one.result() for one in refused} == {b"HTTP/1.1 503 Service Unavailable\r\n"}


async def test_past_saturation_the_answers_keep_coming_and_the_others_are_refused():
    """Three come for each who is answered: the network works in full batches, and for nobody in vain."""
    batches: list[int] = []
    answered = refused = 0

    def network(questions: Sequence[Question]) -> Prediction:
        batches.append(sum(map(len, questions)))
        main = np.zeros((batches[-1], 5), np.float32)
        return predicted(main, main[:, 0], main)

    batcher = Batcher(network, lanes=1, max_batch_rows=8, max_queue_rows=1000, seconds_per_row=0.001)
    admission = Admission(max_in_flight=16, max_waiting=16, max_wait_s=60)
    views = ViewBatch(np.zeros((1, 2, 2, 3), np.uint8), np.ones(1, np.float32))

    async def one() -> None:
        nonlocal answered, refused
        try:
            async with admission.admitted():
                await batcher.submit(views)
        except Overloaded:
            refused += 1
            return
        answered += 1
        if answered < 200:
            come(3)

    async with asyncio.TaskGroup() as tasks:

        def come(number: int) -> None:
            for _ in range(number):
                tasks.create_task(one())

        come(96)
    await batcher.close()
    assert refused > answered >= 200
    assert sum(batches) == answered
    assert set(batches[1:-4]) == {8}  # the first ones and the last are fewer


# A stop


SERVE_A_FAKE = """
import asyncio
from orchestrator.settings import Settings
from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.process import serve
from tests.fakes.model_server import FakeModelServer

class Slow(FakeModelServer):
    async def classify(self, views):
        await asyncio.sleep(0.1)
        return await super().classify(views)

settings = Settings()
serve(settings, build_services(settings, model_server=Slow()))
"""


CLASS_ALONE = {"tta": "none", "heatmap": "false", "report": "none"}


class Balancer:
    """Sends requests over lasting connections, as a load balancer only while the service is ready."""

    def __init__(self, service: RunningService, cell: bytes) -> None:
        self._client = httpx2.AsyncClient(base_url=service.url, timeout=30)
        self._cell = cell
        self.ready = asyncio.Event()
        self.not_ready_at_s = 0.0
        self.answered_s: list[float] = []
        self.lost: list[str] = []
        self.last_of_their_connection = 0

    async def watch(self) -> None:
        while (await self._client.get("/readyz")).status_code == 200:
            self.ready.set()
            await asyncio.sleep(0.05)
        self.not_ready_at_s = time.monotonic()
        # What is sent meanwhile is answered as before: another balancer may not have noticed yet.
        noticed_s = self.not_ready_at_s + 2.0
        while time.monotonic() < noticed_s and len(self.answered_after()) < 12:
            await asyncio.sleep(0.05)
        self.ready.clear()

    def answered_after(self) -> list[float]:
        """When requests were answered that ended after readiness had fallen."""
        return [at_s for at_s in self.answered_s if at_s > self.not_ready_at_s]

    async def send(self) -> None:
        await self.ready.wait()
        while self.ready.is_set():
            try:
                response = await self._client.post(
                    "/v1/analyses", files={"file": self._cell}, data=CLASS_ALONE
                )
            except httpx2.HTTPError as error:
                self.lost.append(repr(error))
                continue
            if response.status_code != 200:
                self.lost.append(f"{response.status_code} {response.text}")
            self.last_of_their_connection += response.headers.get("connection") == "close"
            self.answered_s.append(time.monotonic())


async def test_a_stop_under_load_loses_no_request(cell):
    environment = {"WBC_HTTP__DRAIN_DELAY_S": "3"}
    with running_service(("-c", SERVE_A_FAKE), environment) as service:
        balancer = Balancer(service, cell)
        sending = [asyncio.create_task(balancer.send()) for _ in range(6)]
        watching = asyncio.create_task(balancer.watch())
        await becomes(lambda: len(balancer.answered_s) > 12)
        assert balancer.last_of_their_connection == 0
        stopped_at_s = time.monotonic()
        stopping = asyncio.create_task(asyncio.to_thread(service.stop))
        await asyncio.gather(watching, *sending)
        code, _, err = await stopping

    assert balancer.lost == []
    assert code == 0
    assert not [trouble for trouble in ("ERROR", "Traceback", "Cancel") if trouble in err]
    assert balancer.not_ready_at_s - stopped_at_s < 3.0  # readiness fell first ...
    after = balancer.answered_after()
    assert len(after) > 6  # ... and more than what was under way was still answered,
    assert balancer.last_of_their_connection >= len(after)  # each as the last of its connection


async def test_a_second_signal_does_not_wait():
    with running_service(("-c", SERVE_A_FAKE), {"WBC_HTTP__DRAIN_DELAY_S": "60"}) as service:
        service.process.send_signal(signal.SIGTERM)
        async with httpx2.AsyncClient(base_url=service.url) as client, asyncio.timeout(LONGEST_S):
            while (await client.get("/readyz")).status_code != 503:
                await asyncio.sleep(0.01)
            assert (await client.get("/livez")).status_code == 200
        code, _, _ = await asyncio.to_thread(service.stop)  # which waits for half of that
    assert code == 0


async def test_readiness_is_denied_while_requests_are_answered(cell):
    draining = Draining()
    async with (
        listening(FakeModelServer(), draining=draining) as url,
        httpx2.AsyncClient(base_url=url, timeout=30) as client,
    ):
        assert (await client.get("/readyz")).status_code == 200
        draining.begin()
        denied = await client.get("/readyz")
        answered = await client.post("/predict", files={"file": cell})
    assert (denied.status_code, denied.json()["detail"]) == (503, "This process is about to stop.")
    assert (answered.status_code, answered.headers["connection"]) == (200, "close")
