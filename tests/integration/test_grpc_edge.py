"""Single calls of the gRPC edge over the loopback: the same answers as HTTP, and the same limits."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx2
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from prometheus_client import REGISTRY, generate_latest

from orchestrator import __version__
from orchestrator.bootstrap.services import build_services
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.rate_limits import RateLimits
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.access.security import API_KEY_PREFIX, Authenticator, Principal, Unauthenticated
from orchestrator.edge.admission import Admission
from orchestrator.edge.grpc.server import GrpcOptions
from orchestrator.edge.grpc.service import GrpcService
from orchestrator.edge.grpc.stream import StreamLimits
from orchestrator.edge.http_app import create_app
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.request_frame import Deadlines
from orchestrator.errors import ModelServerTimeout
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.observability.tracing import exported_traces
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.settings import ImageSettings, Settings
from tests.fakes.model_server import FakeModelServer
from tests.fakes.otlp_collector import OtlpCollector, attributes, tree
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.grpc_edge import Edge, grpc_edge
from tests.malformed_images import malformed_images
from tests.same_over_http import analysis_over_http
from tests.synthetic_cells import cell_file
from tests.waiting import becomes, time_passes

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with grpc_edge(FakeModelServer()) as edge:
        yield edge


async def refused(call: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """The code, the message and the details, by their names, of a call that must fail."""
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = raised.value
    status = rpc_status.from_call(error)
    details = {}
    for detail in () if status is None else status.details:
        name = detail.type_url.rpartition(".")[2]
        details[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return error.code(), error.details(), details


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# The same results as over HTTP


CHOICES = [
    (pb.AnalysisOptions(), {}),
    (
        pb.AnalysisOptions(
            profile="raabin",
            tta=pb.TEST_TIME_AUGMENTATION_LIGHT,
            language=pb.LANGUAGE_TR,
            heatmap_format=pb.HEATMAP_FORMAT_JPEG,
            colour_map=pb.COLOUR_MAP_CIVIDIS,
            outlines=True,
        ),
        {
            "profile": "raabin",
            "tta": "light",
            "language": "tr",
            "heatmap_format": "jpeg",
            "colour_map": "cividis",
            "outlines": "true",
        },
    ),
    (
        pb.AnalysisOptions(
            tta=pb.TEST_TIME_AUGMENTATION_ADAPTIVE, heatmap_style=pb.HEATMAP_STYLE_LEVELS, report=False
        ),
        {"tta": "adaptive", "heatmap_style": "levels", "report": "none"},
    ),
    (
        pb.AnalysisOptions(colour_map=pb.COLOUR_MAP_JET, heatmap_style=pb.HEATMAP_STYLE_REFERENCE),
        {"colour_map": "jet", "heatmap_style": "reference"},
    ),
    (
        pb.AnalysisOptions(tta=pb.TEST_TIME_AUGMENTATION_NONE, heatmap=False),
        {"tta": "none", "heatmap": "false"},
    ),
]


@asynccontextmanager
async def http_beside(edge: Edge) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(create_app(edge.services))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.mark.parametrize(("options", "form"), CHOICES)
async def test_both_edges_answer_the_same_bit_for_bit(edge, options, form):
    async with http_beside(edge) as client:
        for number, class_name in enumerate(CLASS_NAMES):
            suffix = (".png", ".jpg", ".bmp", ".tiff", ".webp")[number]
            image = cell_file(class_name, number, suffix=suffix)
            answer = (await edge.stub.Analyze(pb.AnalyzeRequest(image=image, options=options))).analysis
            over_http = (await client.post("/v1/analyses", files={"file": image}, data=form)).json()
            timings = over_http.pop("timings_ms")
            assert set(timings) == set(answer.timings_ms)
            assert over_http.pop("request_id") != answer.request_id
            del over_http["looks_like"]  # which gRPC leaves out
            if over_http["heatmap"] is not None:
                over_http["heatmap"]["data"] = base64.b64decode(over_http["heatmap"]["data"])
            # Doubles on both sides, and their digits in JSON are exact: equality is that of bits.
            assert analysis_over_http(answer) == over_http
            assert answer.disclaimer == DISCLAIMER


async def test_both_edges_describe_the_same_model(edge):
    found = await edge.stub.GetModel(pb.GetModelRequest())
    async with http_beside(edge) as client:
        document = (await client.get("/v1/model")).json()
    model = document["model"]
    assert (found.model.name, found.model.version) == (model["name"], model["version"])
    assert [pb.CellClass.Name(c).removeprefix("CELL_CLASS_").capitalize() for c in found.classes] == document[
        "class_names"
    ]
    assert found.input_size == document["input_size"]
    assert found.service_version == document["service_version"] == __version__
    assert {s.name: list(s.outputs) for s in found.signatures} == document["signatures"]
    assert [writer.name for writer in found.report_writers] == [w["name"] for w in document["report_writers"]]
    for profile, described in zip(found.profiles, document["profiles"], strict=True):
        for field in ("name", "description", "preprocessing", "reinhard", "temperature", "adaptive_margin"):
            assert getattr(profile, field) == described[field]
        assert profile.is_default == described["default"]
        assert pb.DeviceState.Name(profile.device) == f"DEVICE_STATE_{described['device'].upper()}"
        assert (profile.crop_scale if profile.HasField("crop_scale") else None) == described["crop_scale"]
        assert profile.max_not_wbc == described["max_not_wbc"]
        assert (profile.max_energy if profile.HasField("max_energy") else None) == described["max_energy"]
        assert pb.TestTimeAugmentation.Name(profile.tta).endswith(described["tta"].upper())
    assert found.disclaimer == DISCLAIMER


# What is wrong with a request


async def test_no_malformed_image_is_answered_and_none_does_harm(edge, cell):
    for name, image in malformed_images():
        if len(image) > 10 * 2**20:
            continue  # larger than a message may be
        code, _, details = await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=image)))
        assert code is grpc.StatusCode.INVALID_ARGUMENT, name
        assert details["ErrorInfo"].reason in ("UNDECODABLE_IMAGE", "UNSUPPORTED_IMAGE", "IMAGE_TOO_LARGE"), (
            name
        )
    assert (await edge.stub.Analyze(pb.AnalyzeRequest(image=cell))).analysis.decision.confidence > 0


async def test_an_unknown_profile_is_refused_with_those_there_are(edge, cell):
    request = pb.AnalyzeRequest(image=cell, options=pb.AnalysisOptions(profile="Yilmaz"))
    code, _, details = await refused(edge.stub.Analyze(request))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == "options.profile"
    assert "raabin" in violation.description
    assert "Yilmaz" not in str(details)


@pytest.mark.parametrize("junk", [b"\xff\xff\xff", b"\x0a\xff\xff\xff\xff\x0f"])
async def test_bytes_that_are_no_message_are_malformed(edge, junk):
    code, _, details = await refused(edge.channel.unary_unary("/wbc.v1.Analyzer/Analyze")(junk))
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "MALFORMED_UPLOAD")


async def test_a_call_without_a_message_is_malformed(edge):
    call = edge.channel.stream_unary("/wbc.v1.Analyzer/Analyze")()
    await call.done_writing()
    code, _, _ = await refused(call)
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_message_over_the_limit_is_not_taken_and_an_image_over_its_own_is_named():
    settings = Settings(images=ImageSettings(processes=0, max_bytes=100_000))
    async with grpc_edge(
        FakeModelServer(), settings=settings, options=GrpcOptions(port=0, max_message_bytes=150_000)
    ) as edge:
        code, message, _ = await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=bytes(160_000))))
        assert (code, "larger than max" in message) == (grpc.StatusCode.RESOURCE_EXHAUSTED, True)
        code, _, details = await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=bytes(120_000))))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.INVALID_ARGUMENT, "IMAGE_TOO_LARGE")


# Names, metrics and traces


@pytest.mark.parametrize(("sent", "kept"), [("lab-42", True), ("Yilmaz Ayse", False), (None, False)])
async def test_a_call_has_the_name_that_its_caller_gave_if_it_is_a_sane_one(edge, cell, sent, kept):
    metadata = () if sent is None else (("x-request-id", sent),)
    call = edge.stub.Analyze(pb.AnalyzeRequest(image=cell), metadata=metadata)
    answer = (await call).analysis
    assert dict(await call.trailing_metadata())["x-request-id"] == answer.request_id
    assert (answer.request_id == sent) is kept
    assert len(answer.request_id) >= 6
    code = edge.stub.Analyze(pb.AnalyzeRequest(image=b"x"), metadata=metadata)
    _, _, details = await refused(code)
    assert (details["RequestInfo"].request_id == sent) is kept


async def test_calls_are_counted_by_outcome(edge, cell):
    def counted(outcome: str) -> float:
        return sample("wbc_requests_total", endpoint="grpc.Analyze", outcome=outcome)

    before = counted("ok"), counted("unsupported-image")
    await edge.stub.Analyze(pb.AnalyzeRequest(image=cell))
    await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=b"x")))
    assert (counted("ok"), counted("unsupported-image")) == (before[0] + 1, before[1] + 1)
    assert sample("wbc_requests_in_flight") == 0


async def test_a_call_is_one_tree_of_spans_below_the_callers(cell):
    with OtlpCollector() as collector, exported_traces(collector.endpoint, service_version="1"):
        async with grpc_edge(FakeModelServer()) as edge:
            metadata = (("traceparent", CALLER),)
            await edge.stub.Analyze(pb.AnalyzeRequest(image=cell), metadata=metadata)
            await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=b"x")))
    _, trace_id, caller_id, _ = CALLER.split("-")
    spans = [span for span in collector.spans if span.trace_id.hex() == trace_id]
    (root,) = (span for span in spans if span.parent_span_id.hex() == caller_id)
    inside = tree(spans)["wbc.v1.Analyzer/Analyze"]["total"]
    assert {"decode", "preprocess", "predict", "route", "explain", "report"} <= set(inside)
    expected = {"rpc.system": "grpc", "rpc.service": "wbc.v1.Analyzer", "rpc.method": "Analyze"}
    assert attributes(root) == {**expected, "rpc.grpc.status_code": 0}
    assert root.kind == root.SPAN_KIND_SERVER
    (other,) = (s for s in collector.spans if s.trace_id.hex() != trace_id and not s.parent_span_id)
    assert attributes(other)["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert other.status.code == other.status.STATUS_CODE_UNSET  # the caller's fault


# Time


async def test_the_callers_deadline_ends_the_question_to_the_model_server(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server) as edge:
        asked = asyncio.create_task(refused(edge.stub.Analyze(pb.AnalyzeRequest(image=cell), timeout=10)))
        await model_server.reached.wait()
        time_passes(10)
        code, _, _ = await asked
        assert code is grpc.StatusCode.DEADLINE_EXCEEDED
        await becomes(lambda: model_server.running == 0)
        assert model_server.cancelled == 1
        await becomes(lambda: edge.admission.in_flight == 0)


async def test_the_callers_deadline_is_what_the_model_server_sees(cell):
    seen: list[float | None] = []

    class Noting(FakeModelServer):
        async def explain(self, views):
            from orchestrator.common.deadline import remaining_s

            seen.append(remaining_s())
            return await super().explain(views)

    async with grpc_edge(Noting(), deadlines=Deadlines(default_s=900, longest_s=1200)) as edge:
        options = pb.AnalysisOptions(tta=pb.TEST_TIME_AUGMENTATION_NONE)  # one question an image
        for timeout in (500, None, 6000):
            await edge.stub.Analyze(pb.AnalyzeRequest(image=cell, options=options), timeout=timeout)
    assert all(seconds is not None for seconds in seen)
    assert [400 < seen[0] <= 500, 800 < seen[1] <= 900, 1100 < seen[2] <= 1200] == [True] * 3


async def test_without_a_deadline_of_the_caller_the_services_own_holds(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, deadlines=Deadlines(default_s=20)) as edge:
        asked = asyncio.create_task(refused(edge.stub.Analyze(pb.AnalyzeRequest(image=cell))))
        await model_server.reached.wait()
        time_passes(20)
        code, _, details = await asked
    assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED")
    assert model_server.cancelled == 1


async def test_who_cancels_takes_his_work_with_him(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server) as edge:
        before = sample("wbc_requests_total", endpoint="grpc.Analyze", outcome="cancelled")
        call = edge.stub.Analyze(pb.AnalyzeRequest(image=cell))
        await asyncio.wait_for(model_server.reached.wait(), 10)
        assert edge.admission.in_flight == 1
        call.cancel()
        await becomes(lambda: model_server.cancelled == 1 and edge.admission.in_flight == 0)
        await becomes(
            lambda: sample("wbc_requests_total", endpoint="grpc.Analyze", outcome="cancelled") == before + 1
        )


async def test_a_model_server_that_is_late_is_no_fault_of_the_caller(cell):
    async with grpc_edge(ScriptedModelServer(failure=ModelServerTimeout("too late"))) as edge:
        code, message, details = await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=cell)))
    assert (code, message) == (grpc.StatusCode.DEADLINE_EXCEEDED, "too late")
    assert details["ErrorInfo"].reason == "MODEL_TIMEOUT"


# Overload


async def test_too_many_are_refused_at_once_with_the_time_to_come_back(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, admission=Admission(1, 0)) as edge:
        first = edge.stub.Analyze(pb.AnalyzeRequest(image=cell))
        await asyncio.wait_for(model_server.reached.wait(), 10)
        code, _, details = await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=cell)))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert details["RetryInfo"].retry_delay.ToMilliseconds() > 0
        model_server.gate.set()
        assert (await first).analysis.views >= 1


async def test_both_edges_share_the_places(cell):
    model_server = ScriptedModelServer(gate=asyncio.Event())
    admission = Admission(1, 0)
    async with grpc_edge(model_server, admission=admission) as edge:
        transport = httpx2.ASGITransport(create_app(edge.services, admission=admission))
        first = edge.stub.Analyze(pb.AnalyzeRequest(image=cell))
        await asyncio.wait_for(model_server.reached.wait(), 10)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            answer = await client.post("/predict", files={"file": cell})
        assert (answer.status_code, answer.json()["type"]) == (503, "urn:wbc-analyzer:problem:overloaded")
        model_server.gate.set()
        await first


async def test_a_call_that_is_refused_is_not_read(cell):
    """4 MiB do not fit into what a connection may hold unread: the sender is stopped, and told."""
    model_server = ScriptedModelServer(gate=asyncio.Event())
    async with grpc_edge(model_server, admission=Admission(1, 0)) as edge:
        first = edge.stub.Analyze(pb.AnalyzeRequest(image=cell))
        await asyncio.wait_for(model_server.reached.wait(), 10)
        large = pb.AnalyzeRequest(image=cell + bytes(4 * 2**20))
        code, _, details = await refused(edge.stub.Analyze(large))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        model_server.gate.set()
        await first


# The door


class Keys:
    """Knows two keys by heart."""

    async def verify(self, credential: str) -> Principal:
        roles = {f"{API_KEY_PREFIX}analyse": {"analyse"}, f"{API_KEY_PREFIX}sign": {"sign"}}.get(credential)
        if roles is None:
            raise Unauthenticated("This key is not known.")
        return Principal(f"key:{credential}", frozenset(roles))


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {API_KEY_PREFIX}{key}"),)


@pytest.mark.parametrize(
    ("metadata", "code", "reason"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (bearer("wrong"), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (bearer("analyse") + bearer("sign"), grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED"),
        (bearer("sign"), grpc.StatusCode.PERMISSION_DENIED, "FORBIDDEN"),
        (bearer("analyse"), None, None),
        ((("x-api-key", f"{API_KEY_PREFIX}analyse"),), None, None),
    ],
)
async def test_only_who_may_analyse_is_let_in(cell, metadata, code, reason):
    model_server = ScriptedModelServer()
    access = AccessRules(authenticator=Authenticator(api_keys=Keys()))
    async with grpc_edge(model_server, access=access) as edge:
        call = edge.stub.Analyze(pb.AnalyzeRequest(image=cell), metadata=metadata)
        if code is None:
            assert (await call).analysis.views >= 1
            return
        found, _, details = await refused(call)
        assert (found, details["ErrorInfo"].reason) == (code, reason)
        assert model_server.asked == 0


async def test_calls_that_send_nothing_hold_no_place_and_end_with_their_time(cell):
    class Counting(Keys):
        asked = 0

        async def verify(self, credential: str) -> Principal:
            self.asked += 1
            return await super().verify(credential)

    keys = Counting()
    async with grpc_edge(
        FakeModelServer(),
        admission=Admission(1, 0),
        deadlines=Deadlines(default_s=2.0),
        access=AccessRules(authenticator=Authenticator(api_keys=keys)),
    ) as edge:
        silent = [
            edge.channel.stream_unary("/wbc.v1.Analyzer/Analyze")(metadata=bearer("analyse"))
            for _ in range(20)
        ]
        await becomes(lambda: keys.asked == 20)
        request = pb.AnalyzeRequest(
            image=cell, options=pb.AnalysisOptions(tta=pb.TEST_TIME_AUGMENTATION_NONE)
        )
        assert (await edge.stub.Analyze(request, metadata=bearer("analyse"))).analysis.views == 1
        for call in silent:
            code, _, details = await refused(call)
            assert code is grpc.StatusCode.DEADLINE_EXCEEDED
            assert details["ErrorInfo"].reason == "DEADLINE_EXCEEDED"


async def test_who_asks_too_often_is_told_when_to_ask_again():
    access = AccessRules(
        authenticator=Authenticator(api_keys=Keys()), rate_limits=RateLimits(1, 60, clock=lambda: 0.0)
    )
    async with grpc_edge(FakeModelServer(), access=access) as edge:
        await edge.stub.GetModel(pb.GetModelRequest(), metadata=bearer("analyse"))
        code, _, details = await refused(edge.stub.GetModel(pb.GetModelRequest(), metadata=bearer("analyse")))
        assert (code, details["ErrorInfo"].reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
        assert details["RetryInfo"].retry_delay.seconds == 60
        await edge.stub.GetModel(pb.GetModelRequest(), metadata=bearer("sign"))  # another caller


async def test_every_method_of_the_protos_is_answered_and_none_of_them_is_for_everybody():
    services = build_services(Settings(), model_server=FakeModelServer())
    service = GrpcService(
        services,
        Admission(),
        Deadlines(),
        specimens=None,
        adaptations=None,
        order_limits=OrderLimits(),
        stream_limits=StreamLimits(),
        leaving=asyncio.Event(),
    )
    methods = service.methods()
    described = pb.DESCRIPTOR.services_by_name["Analyzer"]
    assert {method.name for method in methods} == {method.name for method in described.methods}
    assert [method.name for method in methods if not method.needs.roles] == []


# What is told


async def test_what_may_name_a_patient_reaches_neither_logs_nor_metrics(edge, cell, caplog):
    marker = "Yilmaz-Ayse-1957"
    options = pb.AnalysisOptions(profile=marker)
    metadata = (("x-patient", marker), ("x-request-id", f"{marker} x"), ("user-agent", marker))
    with caplog.at_level(logging.DEBUG, "orchestrator"):
        requests = [
            pb.AnalyzeStreamRequest(correlation_id=marker, image=cell),
            pb.AnalyzeStreamRequest(correlation_id=marker, image=b"x"),
            pb.AnalyzeStreamRequest(correlation_id=marker, image=cell, options=options),
        ]
        answers = [a async for a in edge.stub.AnalyzeStream(iter(requests), metadata=metadata)]
        await refused(edge.stub.Analyze(pb.AnalyzeRequest(image=cell, options=options), metadata=metadata))
        await refused(edge.stub.GetDifferential(pb.GetDifferentialRequest(differential_id=marker)))
    assert [answer.correlation_id for answer in answers] == [marker] * 3
    assert caplog.records
    assert marker not in caplog.text
    assert marker not in generate_latest(REGISTRY).decode()
    assert not any(marker in str(answer.error) + answer.analysis.request_id for answer in answers)
