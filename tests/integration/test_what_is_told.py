"""What the log and the metrics of a running service tell, and what they must not: whose image it is."""

import io
import json

import httpx2
import pytest
from PIL import Image

from tests.integration.test_serving_process import fake_service
from tests.multipart_forms import CONTENT_TYPE, form, part
from tests.running_service import RunningService, running_service

MARKER = "Yilmaz-Ayse-19570312"
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
FAILS_WITHOUT_HEATMAP = """
from orchestrator.settings import Settings
from orchestrator.wiring import build_services, serve
from tests.fakes.model_server import FakeModelServer

class FailsWithoutHeatmap(FakeModelServer):
    explaining = FakeModelServer()

    async def start(self):
        await super().start()
        await self.explaining.start()

    async def explain(self, views):
        return await self.explaining.explain(views)

    async def classify(self, views):  # the error quotes the image, as errors of libraries do
        raise RuntimeError("{marker}, pixels " + str(views.images[0, 100, 100:104].tolist()))

settings = Settings()
serve(settings, build_services(settings, model_server=FailsWithoutHeatmap()))
"""


@pytest.fixture(scope="module")
def told() -> tuple[list[dict[str, str]], str, str]:
    """The log of a service that was sent the marker in every way, and its metrics in both formats."""
    arguments = "-c", FAILS_WITHOUT_HEATMAP.format(marker=MARKER)
    with running_service(arguments, {"WBC_LOG_FORMAT": "json", "WBC_LOG_REQUESTS": "true"}) as service:
        send_the_marker_everywhere(service)
        with httpx2.Client(base_url=service.url, timeout=30) as client:
            plain = client.get("/metrics")
            openmetrics = client.get("/metrics", headers=OPENMETRICS)
        code, out, err = service.stop()
    assert code == 0
    assert plain.headers["content-type"].startswith("text/plain")
    assert openmetrics.headers["content-type"].startswith("application/openmetrics-text")
    lines = [json.loads(line) for line in (service.announcement + out + err).splitlines()]
    return lines, plain.text, openmetrics.text


def image(shade: int) -> bytes:
    """With the marker in its EXIF data and in its comment."""
    exif = Image.Exif()
    exif[0x010E] = exif[0x9286] = exif[0x013B] = MARKER
    out = io.BytesIO()
    Image.new("RGB", (96, 96), (shade, shade // 2, shade)).save(out, "JPEG", exif=exif, comment=MARKER)
    assert MARKER.encode() in out.getvalue()
    return out.getvalue()


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
        assert send("/v1/analyses", good, profile=MARKER) == 422
        assert send("/v1/analyses", good, **{MARKER: MARKER}) == 422
        assert send(f"/v1/analyses?profile={MARKER}&{MARKER}={MARKER}", good) == 422
        assert send(f"/{MARKER}", good) == 404
        assert send("/predict", good[:400]) == 400
        assert send("/predict", MARKER.encode() * 20) == 415
        assert send("/v1/analyses", good, heatmap="false") == 500
        assert client.request(MARKER, "/predict").status_code in (400, 405)
        # Broken forms: the marker in a boundary, a part header, a field's name.
        broken = form(part(MARKER, good, MARKER))
        for content_type in (CONTENT_TYPE, f"multipart/form-data; boundary={MARKER}"):
            answer = client.post("/predict", content=broken, headers={"Content-Type": content_type})
            assert answer.status_code == 400
        named = client.post("/predict", files={"file": good}, headers={"X-Request-ID": "run-17"})
        assert named.status_code == 200


def test_every_line_is_json_and_names_its_request(told):
    lines, _, _ = told
    assert {"message", "disclaimer"} <= set(lines[0])
    rest = lines[1:]
    assert rest
    for line in rest:
        assert {"time", "level", "logger", "message"} <= set(line)
        if line["logger"] in ("orchestrator.requests", "orchestrator.edge.problems"):
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
