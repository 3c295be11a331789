"""A request is one tree of spans, from the caller's through the edge and the stages to the model server."""

import subprocess
import sys
from collections.abc import AsyncIterator

import grpc
import httpx2
import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.exposition import generate_latest

from orchestrator.analyse import Services
from orchestrator.bootstrap.services import build_services
from orchestrator.edge.http_app import create_app, running
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.failover import FailoverModelServer
from orchestrator.model_server.remote import RemoteOptions
from orchestrator.model_server.tf_serving import TfServingModelServer
from orchestrator.observability.tracing import current_trace_id, exported_traces
from orchestrator.settings import ImageSettings, Settings
from tests.fakes.model_server import FakeModelServer
from tests.fakes.otlp_collector import OtlpCollector, Tree, attributes, tree
from tests.fakes.pixel_serving import PixelServing, handlers
from tests.running_service import PROJECT_ROOT, free_port

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
MARKER = "Yilmaz-Ayse-1957"
PREDICT = "tensorflow.serving.PredictionService/Predict"
IN_PREPARATION: Tree = {"decode": {}, "preprocess": {}, "quality": {}}
AFTERWARDS: Tree = {"route": {}, "explain": {}, "report": {}}


in_threads_and_processes = pytest.mark.parametrize("processes", [0, 1])
"""Of the steps on pixels."""


class NotingServing(PixelServing):
    """Notes what travels beside the questions."""

    def __init__(self) -> None:
        super().__init__()
        self.metadata_seen: list[dict[str, str]] = []
        self.failing = False

    async def predict(self, request, context):
        self.metadata_seen.append(dict(context.invocation_metadata()))
        if self.failing:
            await context.abort(grpc.StatusCode.INTERNAL, MARKER)
        return await super().predict(request, context)


@pytest.fixture
async def serving() -> AsyncIterator[tuple[NotingServing, ModelServer]]:
    noting = NotingServing()
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 * 2**20)])
    server.add_generic_rpc_handlers(handlers(noting))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    yield noting, TfServingModelServer(RemoteOptions(f"127.0.0.1:{port}"))
    await server.stop(None)


def services_with(model_server: ModelServer, processes: int = 0) -> Services:
    return build_services(Settings(images=ImageSettings(processes=processes)), model_server=model_server)


async def ask(services: Services, collector: OtlpCollector | None, *requests: httpx2.Request) -> list[int]:
    app = create_app(services)
    endpoint = collector.endpoint if collector else None
    with exported_traces(endpoint, service_version="1.2.3"):
        async with (
            running(services),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app, raise_app_exceptions=False), base_url="http://service"
            ) as client,
        ):
            answers = [await client.send(request) for request in requests]
    return [answer.status_code for answer in answers]


def predict_request(cell: bytes, **headers: str) -> httpx2.Request:
    """Of one view, so that the network is asked once."""
    return httpx2.Request(
        "POST", "http://service/predict", files={"file": cell}, data={"tta": "none"}, headers=headers
    )


@in_threads_and_processes
async def test_the_spans_of_a_request_are_one_tree_below_the_callers(serving, cell, processes):
    noting, model_server = serving
    with OtlpCollector() as collector:
        status = await ask(
            services_with(model_server, processes),
            collector,
            predict_request(cell, traceparent=CALLER, tracestate="a=b"),
        )
    assert status == [200]
    assert tree(collector.spans) == {
        "POST /predict": {"total": {**IN_PREPARATION, "predict": {PREDICT: {}}, **AFTERWARDS}}
    }
    named = {span.name: span for span in collector.spans}
    root, call = named["POST /predict"], named[PREDICT]
    for within in IN_PREPARATION:
        span, total = named[within], named["total"]
        assert total.start_time_unix_nano <= span.start_time_unix_nano < span.end_time_unix_nano
        assert span.end_time_unix_nano <= total.end_time_unix_nano
    _, trace_id, caller_id, _ = CALLER.split("-")
    assert (root.trace_id.hex(), root.parent_span_id.hex()) == (trace_id, caller_id)
    assert root.trace_state == ""
    assert attributes(root) == {
        "http.request.method": "POST",
        "http.route": "/predict",
        "http.response.status_code": 200,
    }
    assert (root.kind, call.kind) == (root.SPAN_KIND_SERVER, root.SPAN_KIND_CLIENT)
    # What leaves for the model server names the trace, and the span of this very call as its parent.
    assert [seen["traceparent"] for seen in noting.metadata_seen] == [
        f"00-{trace_id}-{call.span_id.hex()}-01"
    ]
    assert "tracestate" not in noting.metadata_seen[0]
    assert collector.resource["service.name"] == "wbc-orchestrator"
    assert collector.resource["service.version"] == "1.2.3"


async def test_without_a_caller_s_trace_each_request_begins_one_and_probes_begin_none(serving, cell):
    _, model_server = serving
    probe = httpx2.Request("GET", "http://service/readyz")
    with OtlpCollector() as collector:
        await ask(services_with(model_server), collector, probe, predict_request(cell), predict_request(cell))
    traces = {span.trace_id for span in collector.spans}
    assert len(traces) == 2
    for trace in traces:
        spans = [span for span in collector.spans if span.trace_id == trace]
        assert list(tree(spans)) == ["POST /predict"]


@in_threads_and_processes
async def test_what_fails_is_marked_by_its_kind_alone(serving, cell, processes):
    noting, model_server = serving
    noting.failing = True
    with OtlpCollector() as collector:
        status = await ask(
            services_with(model_server, processes),
            collector,
            predict_request(cell),
            predict_request(MARKER.encode()),
        )
    assert status == [500, 415]
    failed = {
        span.name: span for span in collector.spans if span.status.code == span.status.STATUS_CODE_ERROR
    }
    assert set(failed) == {"POST /predict", "total", "predict", PREDICT, "decode"}
    assert attributes(failed["predict"]) == {"error.type": "ModelServerError"}
    assert attributes(failed["decode"]) == {"error.type": "UnsupportedImage"}
    assert not any(span.events for span in collector.spans)


async def test_a_failover_shows_both_ways_in_the_tree(serving, cell):
    noting, model_server = serving
    noting.failing = True
    with OtlpCollector() as collector:
        status = await ask(
            services_with(FailoverModelServer(model_server, FakeModelServer())),
            collector,
            predict_request(cell),
        )
    assert status == [200]
    assert tree(collector.spans)["POST /predict"]["total"]["predict"] == {PREDICT: {}}


async def test_spans_hold_nothing_that_a_caller_sends_but_the_trace(serving, cell):
    _, model_server = serving
    headers = {
        "User-Agent": MARKER,
        "X-Request-ID": MARKER,
        "Baggage": f"patient={MARKER}",
        "tracestate": f"patient={MARKER}",
        "traceparent": CALLER,
        "Authorization": MARKER,
    }
    with OtlpCollector() as collector:
        await ask(
            services_with(model_server),
            collector,
            httpx2.Request(
                "POST",
                f"http://service/v1/analyses?profile={MARKER}",
                files={"file": (f"{MARKER}.png", cell)},
                headers=headers,
            ),
            httpx2.Request("POST", f"http://service/v1/{MARKER}", headers=headers),
            httpx2.Request(MARKER, "http://service/predict", headers=headers),
            predict_request(cell, **headers),
        )
    assert len([span for span in collector.spans if span.name == "POST /predict"]) == 1
    assert {span.name for span in collector.spans} >= {"POST", "HTTP /predict"}
    assert MARKER not in str(collector.spans)


async def test_fastapi_s_own_telemetry_stays_off(serving, cell, monkeypatch):
    """It would export paths and queries."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    # What a site's own start-up code might do; OpenTelemetry lets it be done once in a process.
    monkeypatch.setattr("opentelemetry.trace._TRACER_PROVIDER", provider)
    _, model_server = serving
    assert await ask(services_with(model_server), None, predict_request(cell)) == [200]
    assert exporter.get_finished_spans() == ()


async def test_without_a_collector_there_is_no_trace_and_no_header(serving, cell):
    noting, model_server = serving
    assert await ask(services_with(model_server), None, predict_request(cell, traceparent=CALLER)) == [200]
    assert current_trace_id() == ""
    assert "traceparent" not in noting.metadata_seen[0]


async def test_exemplars_name_the_trace_or_else_the_request(serving, cell):
    _, model_server = serving
    services = services_with(model_server)
    with OtlpCollector() as collector:
        await ask(services, collector, predict_request(cell, traceparent=CALLER))
    trace_id = CALLER.split("-")[1]
    text = generate_latest(REGISTRY).decode()
    counted = [line for line in text.splitlines() if f'trace_id="{trace_id}"' in line]
    for metric in ("wbc_stage_duration_seconds_bucket", "wbc_requests_total", "wbc_confidence_bucket"):
        assert any(line.startswith(metric) for line in counted), metric

    await ask(services, None, predict_request(cell, **{"X-Request-ID": "lab-77"}))
    text = generate_latest(REGISTRY).decode()
    assert any('{request_id="lab-77"}' in line for line in text.splitlines() if "wbc_requests_total" in line)


def test_without_a_collector_nothing_of_the_sdk_is_imported():
    """FastAPI itself imports the interface of OpenTelemetry; what costs time and memory is behind it."""
    code = (
        "import sys, orchestrator.settings as s\n"
        "from orchestrator.bootstrap import model_servers as m, services as w\n"
        "w.build_app(s.Settings())\n"
        "m.remote_model_server(s.Settings(), 'localhost:1')\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert ended.stdout == "[]\n"


def test_a_collector_that_is_gone_holds_the_end_up_for_seconds_alone():
    import time

    from orchestrator.observability.tracing import request_span, span

    begun_s = time.monotonic()
    endpoint = f"http://127.0.0.1:{free_port()}"
    with exported_traces(endpoint, service_version="1"), request_span("GET", None), span("step"):
        assert len(current_trace_id()) == 32
    assert time.monotonic() - begun_s < 30
