"""What the log and the metrics of a running service tell, and what they must not: whose image it is."""

import base64
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx2
import numpy as np
import pytest
from PIL import Image

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.domain import Prediction, Question, Report, ReportRequest
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.protos.wbc.v1 import wbc_pb2_grpc
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.settings import Settings
from orchestrator.views import rows_of
from tests.dicom_files import PATIENT, native_file
from tests.fakes.model_server import FakeModelServer
from tests.fakes.otlp_collector import OtlpCollector
from tests.integration.test_serving_process import fake_service
from tests.multipart_forms import CONTENT_TYPE, form, part
from tests.running_service import RunningService, free_port, running_service

MARKER = PATIENT  # so that DICOM files name them, too
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
FAILS_WITHOUT_HEATMAP = """
import logging
from orchestrator.settings import Settings
from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.process import serve
from tests.fakes.model_server import FakeModelServer

class FailsWithoutHeatmap(FakeModelServer):
    explaining = FakeModelServer()

    async def start(self):
        await super().start()
        await self.explaining.start()
        log = logging.getLogger()
        log.setLevel(logging.DEBUG)  # as somebody does who looks for a fault
        log.handlers[0].setStream(open({log!r}, "w"))  # more than fits into a pipe that nobody reads

    async def explain(self, views):
        return await self.explaining.explain(views)

    async def classify(self, views):  # the error quotes the image, as errors of libraries do
        raise RuntimeError("{marker}, pixels " + str(views.image[100, 100:104].tolist()))

settings = Settings()
serve(settings, build_services(settings, model_server=FailsWithoutHeatmap()))
"""


@dataclass(frozen=True)
class Told:
    """All that a service wrote, and its metrics in both formats, and its spans."""

    written: str
    plain: str
    openmetrics: str
    spans: list[bytes]


def what_is_told(log_format: str, folder: Path, *, traced: bool) -> Told:
    """By a service that was sent the marker in every way."""
    log, grpc_port = folder / "service.log", free_port()
    arguments = "-c", FAILS_WITHOUT_HEATMAP.format(marker=MARKER, log=str(log))
    environment = {
        "WBC_LOG_FORMAT": log_format,
        "WBC_LOG_REQUESTS": "true",
        "WBC_STORE__URL": f"sqlite:///{folder}/store.db",
        "WBC_GRPC__PORT": str(grpc_port),
    }
    with (
        OtlpCollector() as collector,
        running_service(
            arguments, environment | ({"WBC_TRACING__ENDPOINT": collector.endpoint} if traced else {})
        ) as service,
    ):
        send_the_marker_everywhere(service)
        order_a_specimen_of_the_markers(service, dicom=not traced)
        send_the_marker_over_grpc(grpc_port)
        with httpx2.Client(base_url=service.url, timeout=30) as client:
            plain = client.get("/metrics")
            openmetrics = client.get("/metrics", headers=OPENMETRICS)
        code, out, err = service.stop()
    assert code == 0
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    assert bool(collector.spans) == traced
    return Told(
        service.announcement + out + err + log.read_text(),
        plain.text,
        openmetrics.text,
        [span.SerializeToString() for span in collector.spans],
    )


@pytest.fixture(scope="module")
def all_told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return what_is_told("json", tmp_path_factory.mktemp("store"), traced=False)


@pytest.fixture(scope="module")
def told(all_told: Told) -> tuple[list[dict[str, str]], str, str]:
    """The lines of the log in JSON, and the metrics in both formats."""
    lines = [json.loads(line) for line in all_told.written.splitlines()]
    return lines, all_told.plain, all_told.openmetrics


def image(shade: int) -> bytes:
    """With the marker in its EXIF data and in its comment."""
    exif = Image.Exif()
    exif[0x010E] = exif[0x9286] = exif[0x013B] = MARKER
    out = io.BytesIO()
    Image.new("RGB", (96, 96), (shade, shade // 2, shade)).save(out, "JPEG", exif=exif, comment=MARKER)
    assert MARKER.encode() in out.getvalue()
    return out.getvalue()


def dicom_image() -> bytes:
    """Of the marker, by every element that names somebody."""
    return native_file(np.full((96, 96, 3), (200, 100, 200), np.uint8))


def send_the_marker_everywhere(service: RunningService) -> None:
    headers = {
        "User-Agent": MARKER,
        "Referer": f"http://hospital/{MARKER}",
        "Authorization": f"Bearer {MARKER}",
        "Cookie": f"patient={MARKER}",
        "Accept-Language": MARKER,
        "X-Forwarded-For": MARKER,
        "X-Request-ID": f"patient {MARKER}",  # not a token, and so replaced
        "Baggage": f"patient={MARKER}",
        "Forwarded": f"for={MARKER}",
        MARKER: MARKER,
    }
    good = image(200)
    with httpx2.Client(base_url=service.url, headers=headers, timeout=30) as client:

        def send(path: str, content: bytes, **fields: str) -> int:
            return client.post(path, files={"file": (f"{MARKER}.jpg", content)}, data=fields).status_code

        assert send("/predict", good) == 200
        assert send("/predict", good, patient=MARKER, profile="default") == 200
        assert send("/predict", dicom_image()) == 200
        assert send("/predict", dicom_image()[:900]) in (400, 415)
        assert send("/v1/analyses", good, profile=MARKER) == 422
        assert send("/v1/analyses", good, **{MARKER: MARKER}) == 422
        assert send(f"/v1/analyses?profile={MARKER}&{MARKER}={MARKER}", good) == 422
        assert send(f"/{MARKER}", good) == 404
        assert send("/predict", good[:400]) == 400
        assert send("/predict", MARKER.encode() * 20) == 415
        assert send("/v1/analyses", good, heatmap="false") == 500
        assert client.request(MARKER, "/predict").status_code in (400, 405)
        send_the_marker_to_open_inference(client, good)
        # Broken forms: the marker in a boundary, a part header, a field's name.
        broken = form(part(MARKER, good, MARKER))
        for content_type in (CONTENT_TYPE, f"multipart/form-data; boundary={MARKER}"):
            answer = client.post("/predict", content=broken, headers={"Content-Type": content_type})
            assert answer.status_code == 400
        named = client.post("/predict", files={"file": good}, headers={"X-Request-ID": "run-17"})
        assert named.status_code == 200


def send_the_marker_to_open_inference(client: httpx2.Client, good: bytes) -> None:
    path = "/v2/models/wbc_analysis/infer"
    cell = {"name": "image", "datatype": "BYTES", "shape": [1]}
    cells = [{**cell, "data": [base64.b64encode(data).decode()]} for data in (good, dicom_image())]
    for inputs in cells:
        answer = client.post(path, json={"id": MARKER, "inputs": [inputs]})
        assert (answer.status_code, answer.json()["id"]) == (200, MARKER)
    for wrong in (
        {"inputs": [{**cells[0], "name": MARKER}]},
        {"inputs": cells[:1], "outputs": [{"name": MARKER}]},
        {"inputs": cells[:1], "parameters": {"profile": MARKER}},
        {"inputs": [{**cells[0], "data": [MARKER]}]},
    ):
        assert client.post(path, json={"id": MARKER, **wrong}).status_code == 400
    assert client.get(f"/v2/models/{MARKER}").status_code == 404


def send_the_marker_over_grpc(port: int) -> None:
    metadata = (("x-patient", MARKER), ("x-request-id", f"patient {MARKER}"), ("user-agent", MARKER))
    order = pb.SpecimenOrder(specimen_id=MARKER, images=1, idempotency_key=f"{MARKER}-2")
    without_heatmap = pb.AnalysisOptions(heatmap=False)
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = wbc_pb2_grpc.AnalyzerStub(channel)
        stream = [
            pb.AnalyzeStreamRequest(correlation_id=MARKER, image=image(200)),
            pb.AnalyzeStreamRequest(correlation_id=MARKER, image=dicom_image()),
            pb.AnalyzeStreamRequest(correlation_id=MARKER, image=MARKER.encode()),
            pb.AnalyzeStreamRequest(correlation_id=MARKER, image=image(200), options=without_heatmap),
        ]
        answers = list(stub.AnalyzeStream(iter(stream), metadata=metadata, timeout=30))
        reasons = sorted(answer.error.reason for answer in answers)
        assert reasons == ["", "", "INTERNAL_ERROR", "UNSUPPORTED_IMAGE"]
        ordered = [pb.CreateDifferentialRequest(order=order), pb.CreateDifferentialRequest(image=image(200))]
        stub.CreateDifferential(iter(ordered), metadata=metadata, timeout=30)
        for wrong in (
            lambda: stub.Analyze(
                pb.AnalyzeRequest(image=image(200), options=pb.AnalysisOptions(profile=MARKER)), timeout=30
            ),
            lambda: stub.GetDifferential(pb.GetDifferentialRequest(differential_id=MARKER), timeout=30),
            lambda: channel.unary_unary("/wbc.v1.Analyzer/Analyze")(MARKER.encode(), timeout=30),
            lambda: channel.unary_unary(f"/{MARKER}/{MARKER}")(b"", timeout=30),
        ):
            with pytest.raises(grpc.RpcError):
                wrong()


def order_a_specimen_of_the_markers(service: RunningService, *, dicom: bool) -> None:
    """``dicom``: also as a DICOM report, which takes three seconds."""
    with httpx2.Client(base_url=service.url, headers={"User-Agent": MARKER}, timeout=30) as client:
        ordered = client.post(
            "/v1/differentials",
            files=[
                ("files", (f"{MARKER}-0.jpg", image(200))),
                ("files", (f"{MARKER}-1.jpg", image(200))),
                ("files", (f"{MARKER}.dcm", dicom_image())),
            ],
            data={"specimen_id": MARKER},
            headers={"Idempotency-Key": MARKER},
        )
        assert ordered.status_code == 202, ordered.text
        where, waited_until_s = ordered.url.join(ordered.headers["location"]).path, time.monotonic() + 20
        while client.get(where).json()["state"] in ("waiting", "running"):
            assert time.monotonic() < waited_until_s
            time.sleep(0.05)
        assert MARKER in client.get(where).text  # it was kept; and it is told to who asks for it, alone
        for form in ("fhir", "hl7", "export.csv", *(["dicom"] if dicom else [])):
            assert client.get(f"{where}/{form}").status_code == 200, form
        assert client.post(f"{where}/cells/{MARKER}/decision", json={"label": MARKER}).status_code >= 400
        assert client.get(f"/v1/differentials/{MARKER}").status_code == 404


def test_every_line_is_json_and_names_its_request(told):
    lines, _, _ = told
    assert {"message", "disclaimer"} <= set(lines[0])
    rest = lines[1:]
    assert rest
    for line in rest:
        assert {"time", "level", "logger", "message"} <= set(line)
        if line["logger"] in ("orchestrator.requests", "orchestrator.edge.http.problems"):
            assert line["request_id"]
    assert [line for line in rest if line.get("request_id") == "run-17"]
    messages = [line["message"] for line in rest]
    assert any(message.startswith("predict ended: ok") for message in messages)
    assert any(message.startswith("analyses ended: internal-error") for message in messages)
    assert any("unexpected RuntimeError" in message for message in messages)


def test_the_log_holds_nothing_that_was_sent(told):
    lines, _, _ = told
    text = json.dumps(lines, ensure_ascii=False)
    assert MARKER not in text
    assert "Yilmaz" not in text
    assert ".jpg" not in text
    assert "pixels" not in text  # of the image that the model server failed on


def test_neither_a_log_of_text_nor_traces_hold_anything_that_was_sent(tmp_path):
    told = what_is_told("text", tmp_path, traced=True)
    assert len(told.spans) > 20
    assert not [span for span in told.spans if b"yilmaz" in span.lower()]
    assert "predict ended: ok" in told.written
    for text in (told.written, told.plain, told.openmetrics):
        assert "yilmaz" not in text.lower()
    assert ".jpg" not in told.written


class NotingModelServer(FakeModelServer):
    """Keeps the bytes and the words of all that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = b""

    async def explain(self, question: Question) -> Prediction:
        rows = rows_of(question)
        self.asked += rows.images.tobytes() + rows.gain.tobytes() + repr(question).encode()
        return await super().explain(question)


class NotingWriter(RuleBasedWriter):
    """Keeps the words of all that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = b""

    async def write(self, request: ReportRequest) -> Report:
        assert request.focus is not None
        self.asked += repr(request).encode()
        return await super().write(request)


async def test_model_server_and_report_writer_are_asked_nothing_of_whose_image_it_is():
    model_server, writer = NotingModelServer(), NotingWriter()
    services = build_services(Settings(), model_server=model_server, report_writer=writer)
    app = build_app(Settings(), services)
    headers = {"User-Agent": MARKER, "Referer": f"http://hospital/{MARKER}", "X-Request-ID": MARKER}
    async with (
        app.router.lifespan_context(app),
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://service") as client,
    ):
        for path in ("/predict", "/v1/analyses"):
            for name, content in (("jpg", image(200)), ("dcm", dicom_image())):
                answer = await client.post(
                    path,
                    files={"file": (f"{MARKER}.{name}", content)},
                    headers=headers,
                    data={"language": "tr"},
                )
                assert answer.status_code == 200
    for asked in (model_server.asked, writer.asked):
        assert len(asked) > 1000
        assert b"yilmaz" not in asked.lower()


def test_the_metrics_hold_nothing_that_was_sent_and_name_requests_in_exemplars_alone(told):
    _, plain, openmetrics = told
    for text in (plain, openmetrics):
        assert MARKER.lower() not in text.lower()
        assert 'outcome="invalid-parameter"' in text
    assert '# {request_id="run-17"}' in openmetrics
    assert "run-17" not in plain


def test_labels_are_bounded_whatever_callers_send():
    with (
        running_service(fake_service("FakeModelServer")) as service,
        httpx2.Client(base_url=service.url, timeout=30) as client,
    ):
        client.post("/predict", files={"file": image(200)})

        def series() -> set[str]:
            text = client.get("/metrics").text
            return {line.rsplit(" ", 1)[0] for line in text.splitlines() if line.startswith("wbc_")}

        before = series()
        for number in range(5):
            client.post(f"/v1/analyses?profile=site-{number}", files={"file": image(200)})
            client.post(f"/v1/{number}", files={"file": image(200)}, headers={"X-Request-ID": f"a-{number}"})
            client.request(f"VERB{number}", "/predict")
        assert series() == before
