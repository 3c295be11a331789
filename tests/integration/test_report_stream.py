"""``report=stream``: the result at once, the report when it is written, as server-sent events."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp

from orchestrator.analyse import AnalysisOptions, analyse, with_report
from orchestrator.bootstrap.services import build_services
from orchestrator.domain import DISCLAIMER, Report, ReportRequest
from orchestrator.edge.admission import Admission
from orchestrator.edge.http_app import create_app
from orchestrator.edge.request_frame import Deadlines
from orchestrator.report.base import ReportWriter
from orchestrator.report.fallback_writer import FallbackWriter, Provider
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer
from tests.fakes.scripted_writer import ScriptedWriter
from tests.report_requests import finding, focus, request
from tests.waiting import time_passes

Event = tuple[str, dict[str, Any]]


class Waiting(ScriptedWriter):
    """Writes when it may, and doubts the heatmap."""

    def __init__(self, name: str = "waiting") -> None:
        super().__init__(name)
        self.may_write = asyncio.Event()
        self.began = asyncio.Event()
        self.cancelled = 0

    async def write(self, request: ReportRequest) -> Report:
        self.began.set()
        try:
            await self.may_write.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return Report("Written late.", self.name, request.language, model="m", focus_opinion="background")


@asynccontextmanager
async def service(
    writer: ReportWriter | None = None, default_s: float = 15, places: int = 4
) -> AsyncIterator[httpx2.AsyncClient]:
    services = build_services(Settings(), model_server=FakeModelServer(), report_writer=writer)
    app = create_app(services, admission=Admission(places, 0), deadlines=Deadlines(default_s))
    transport = httpx2.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=transport, base_url="http://service", timeout=20) as client,
    ):
        yield client


def events_of(text: str) -> list[Event]:
    found = []
    for block in text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def streamed(client: httpx2.AsyncClient, cell: bytes, **form: str) -> list[Event]:
    response = await client.post("/v1/analyses", files={"file": cell}, data={"report": "stream", **form})
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    return events_of(response.text)


async def test_the_result_comes_first_then_the_report_then_the_end(cell):
    async with service() as client:
        events = await streamed(client, cell, language="tr", heatmap_format="jpeg", colour_map="inferno")
        whole = await client.post("/v1/analyses", files={"file": cell}, data={"language": "tr"})
    assert [name for name, _ in events] == ["analysis", "report", "done"]
    analysis, report, done = (data for _, data in events)
    assert analysis["report"] is None
    assert (analysis["heatmap"]["media_type"], analysis["heatmap"]["colour_map"]) == ("image/jpeg", "inferno")
    assert {"text": report["text"], "writer": "rule-based", "language": "tr", "model": None} == whole.json()[
        "report"
    ]
    assert report["focus"] == analysis["focus"] == whole.json()["focus"]
    assert {data["disclaimer"] for data in (analysis, report, done)} == {DISCLAIMER}


class Caller:
    """Asks for a stream over a real ASGI channel, as the test client hands out an answer only when all of it
    is there; ``parts`` are those of the answer so far, and ``leave`` hangs up."""

    def __init__(self) -> None:
        self.parts: asyncio.Queue[bytes] = asyncio.Queue()
        self.leave = asyncio.Event()

    async def ask(self, app: ASGIApp, cell: bytes) -> None:
        request = httpx2.Request(
            "POST", "http://service/v1/analyses?report=stream", files={"file": ("cell.png", cell)}
        )
        messages = iter([{"type": "http.request", "body": await request.aread(), "more_body": False}])

        async def receive() -> Any:
            message = next(messages, None)
            if message is None:
                await self.leave.wait()
            return message or {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body" and message.get("body"):
                await self.parts.put(message["body"])

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/v1/analyses",
            "raw_path": b"/v1/analyses",
            "query_string": b"report=stream",
            "root_path": "",
            "headers": [(k.lower().encode(), v.encode()) for k, v in request.headers.items()],
            "client": ("127.0.0.1", 1),
            "server": ("service", 80),
        }
        await app(scope, receive, send)


async def test_the_result_does_not_wait_for_its_report(cell):
    writer, caller = Waiting(), Caller()
    app = create_app(build_services(Settings(), model_server=FakeModelServer(), report_writer=writer))
    async with app.router.lifespan_context(app), asyncio.timeout(10):
        answering = asyncio.create_task(caller.ask(app, cell))
        ((name, analysis),) = events_of((await caller.parts.get()).decode())
        assert name == "analysis"
        assert analysis["decision"]["class"]
        await writer.began.wait()
        assert caller.parts.empty()
        writer.may_write.set()
        ((name, report),) = events_of((await caller.parts.get()).decode())
        assert (name, report["text"]) == ("report", "Written late.")
        await answering


async def test_a_caller_who_leaves_takes_his_report_with_him(cell):
    """Nobody pays for what nobody reads, and the place among the reports under way is free at once."""
    writer, caller = Waiting(), Caller()
    chain = FallbackWriter([Provider(writer)], RuleBasedWriter(), deadline_s=30, max_concurrent=1)
    app = create_app(build_services(Settings(), model_server=FakeModelServer(), report_writer=chain))
    async with app.router.lifespan_context(app), asyncio.timeout(10):
        answering = asyncio.create_task(caller.ask(app, cell))
        await writer.began.wait()
        caller.leave.set()
        await answering
        assert writer.cancelled == 1
        events = [name for name, _ in events_of(caller.parts.get_nowait().decode())]
        assert (events, caller.parts.empty()) == (["analysis"], True)
        writer.may_write.set()
        assert (await chain.write(request())).writer == writer.name


async def test_the_writer_s_opinion_enters_the_verdict(cell):
    writer = Waiting()
    writer.may_write.set()
    services = build_services(Settings(), model_server=FakeModelServer(), report_writer=writer)
    await services.model_server.start()
    analysis = await analyse(cell, services, AnalysisOptions(report=False))
    sound = dataclasses.replace(analysis, finding=finding(), focus=focus(0.72, 0.2, 0.08))
    written = await with_report(sound, services, "tr")
    assert written.report is not None
    assert (written.report.text, written.report.language) == ("Written late.", "tr")
    assert written.focus is not None
    assert written.focus.verdict is not None
    assert written.focus.verdict.judgement == "doubtful"
    assert [reason.code for reason in written.focus.verdict.reasons] == ["writer_doubts"]
    assert set(written.timings_ms) == {*analysis.timings_ms, "report"}


async def test_a_shortcut_is_told_with_the_result_and_with_its_report(cell):
    """The stand-in for a model looks at what is bright, which is the background."""
    async with service() as client:
        events = dict(await streamed(client, cell))
    for focus_of in (events["analysis"]["focus"], events["report"]["focus"]):
        assert focus_of["verdict"] == "background"
        assert [reason["code"] for reason in focus_of["reasons"]] == ["off_cell"]


async def test_a_bad_file_is_a_problem_with_its_status_and_no_stream():
    async with service() as client:
        response = await client.post("/v1/analyses", files={"file": b"no image"}, data={"report": "stream"})
    assert response.status_code == 415
    assert response.headers["content-type"] == "application/problem+json"


async def test_a_writer_that_fails_ends_in_an_error_event(cell, caplog):
    async with service(ScriptedWriter("broken", RuntimeError("a secret"))) as client:
        events = await streamed(client, cell)
    assert [name for name, _ in events] == ["analysis", "error", "done"]
    problem = events[1][1]
    assert (problem["status"], problem["type"]) == (500, "urn:wbc-analyzer:problem:internal-error")
    assert problem["request_id"] == events[0][1]["request_id"]
    assert "a secret" not in json.dumps(problem) + caplog.text


async def test_a_report_that_is_not_there_in_time_ends_in_an_error_event(cell):
    writer = Waiting()
    async with service(writer, default_s=20) as client:
        asked = asyncio.create_task(streamed(client, cell))
        await writer.began.wait()
        time_passes(20)
        events = await asked
    assert [name for name, _ in events] == ["analysis", "error", "done"]
    assert events[1][1]["status"] == 504


@pytest.mark.parametrize("path", ["/predict", "/v1/analyses"])
async def test_a_slow_provider_does_not_make_an_answer_late(cell, path):
    slow = Waiting()

    def now_s() -> float:
        return asyncio.get_running_loop().time()

    providers = [Provider(slow, timeout_s=60, clock=now_s)]
    writer = FallbackWriter(providers, RuleBasedWriter(), deadline_s=30, reserve_s=9, clock=now_s)
    async with service(writer, default_s=29) as client:
        asked = asyncio.create_task(client.post(path, files={"file": cell}))
        await slow.began.wait()
        time_passes(20)
        response = await asked
    assert response.status_code == 200, response.text
    document = response.json()
    text = document["llm_report"] if path == "/predict" else document["report"]["text"]
    assert "heatmap" in text


async def test_while_a_report_is_written_others_are_let_in(cell):
    writer = Waiting()
    async with service(writer, places=1) as client:
        first = asyncio.create_task(streamed(client, cell))
        await asyncio.wait_for(writer.began.wait(), 10)
        other = await client.post("/v1/analyses", files={"file": cell}, data={"report": "none"})
        assert other.status_code == 200, other.text
        writer.may_write.set()
        assert [name for name, _ in await first] == ["analysis", "report", "done"]


async def test_who_writes_and_where_facts_go_is_told():
    async with service() as client:
        writers = (await client.get("/v1/model")).json()["report_writers"]
    assert writers == [{"name": "rule-based", "model": None, "leaves": False, "sends_to": None}]


@pytest.mark.parametrize("report", ["inline", "stream"])
async def test_a_caller_may_have_the_service_itself_write_so_that_nothing_is_sent_on(cell, report):
    provider = ScriptedWriter("provider")
    async with service(provider) as client:
        form = {"report": report, "writer": "rule-based"}
        response = await client.post("/v1/analyses", files={"file": cell}, data=form)
        assert '"rule-based"' in response.text
        assert provider.asked == []
        await client.post("/v1/analyses", files={"file": cell}, data={"report": report})
        assert len(provider.asked) == 1
