"""The whole HTTP edge over the real pipeline, with a model server that needs no model."""

import asyncio
import base64
import dataclasses
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from importlib import resources
from typing import Any

import cv2
import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray

from orchestrator import __version__, errors
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.domain import DISCLAIMER, Prediction, Question
from orchestrator.edge.admission import Admission
from orchestrator.edge.http.problems import MEDIA_TYPE
from orchestrator.edge.http_app import create_app
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.model_server.base import ModelServer
from orchestrator.settings import ImageSettings, Settings
from tests.fakes.model_server import FakeModelServer
from tests.http_edge import asking, client_of
from tests.malformed_images import malformed_images
from tests.synthetic_cells import image_file, synthetic_cell

HEIGHT, WIDTH = 300, 360
PREDICT_FIELDS = {
    "class", "confidence", "all_probabilities", "gradcam_image", "llm_report",  # the reference system's
    "request_id", "needs_review", "review_reasons", "focus_ratio", "views", "model", "profile",
    "device_state", "head", "disclaimer", "report_writer", "report_model", "decided_by",
}  # fmt: skip


@pytest.fixture(scope="module")
def cell() -> bytes:
    return image_file(synthetic_cell("Neutrophil", 3, WIDTH)[:HEIGHT])


def decoded(data_base64: str) -> NDArray[np.uint8]:
    image = cv2.imdecode(np.frombuffer(base64.b64decode(data_base64), np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image, np.uint8)


def service(model_server: ModelServer | None = None) -> AbstractAsyncContextManager[httpx2.AsyncClient]:
    services = build_services(Settings(), model_server=model_server or FakeModelServer())
    return client_of(build_app(Settings(), services))


def assert_problem(response: httpx2.Response, status: int, name: str) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == MEDIA_TYPE
    document: dict[str, Any] = response.json()
    assert document["status"] == status
    assert document["type"] == f"urn:wbc-analyzer:problem:{name}"
    assert document["title"]
    assert document["detail"]
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["disclaimer"] == DISCLAIMER
    return document


# POST /predict


async def test_predict_answers_the_reference_systems_fields_and_ours(client, cell):
    response = await client.post("/predict", files={"file": ("cell.png", cell, "image/png")})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert set(answer) == PREDICT_FIELDS
    assert answer["class"] in CLASS_NAMES
    assert list(answer["all_probabilities"]) == list(CLASS_NAMES)
    assert sum(answer["all_probabilities"].values()) == pytest.approx(1)
    assert answer["confidence"] == answer["all_probabilities"][answer["class"]]
    assert 0 < len(answer["llm_report"].split()) <= 80
    assert (answer["report_writer"], answer["report_model"]) == ("rule-based", None)
    assert answer["decided_by"] == "none"
    assert answer["needs_review"] == bool(answer["review_reasons"])
    assert 0 <= answer["focus_ratio"] <= 1
    assert answer["profile"] == "default"
    assert (answer["device_state"], answer["review_reasons"][-1]) == ("unknown", "device_unknown")
    assert answer["disclaimer"] == DISCLAIMER


async def test_predicts_heatmap_is_a_plain_base64_jpeg_of_the_images_size(client, cell):
    answer = (await client.post("/predict", files={"file": cell})).json()
    assert base64.b64decode(answer["gradcam_image"], validate=True).startswith(b"\xff\xd8\xff")
    assert decoded(answer["gradcam_image"]).shape == (HEIGHT, WIDTH, 3)


async def test_predict_draws_in_the_colours_and_the_style_asked_for(client, cell):
    jet_alone = {"colour_map": "jet"}
    viridis, jet, reference = [
        (await client.post("/predict", params=params, files={"file": cell})).json()["gradcam_image"]
        for params in ({}, jet_alone, {**jet_alone, "heatmap_style": "reference"})
    ]
    assert len({viridis, jet, reference}) == 3
    redder = decoded(jet).astype(float) - decoded(viridis)
    assert redder[..., 0].max() > 50
    refused = await client.post("/predict", params={"colour_map": "pink"}, files={"file": cell})
    assert refused.status_code == 422


async def test_predict_speaks_the_language_asked_for(client, cell):
    english, turkish = [
        (await client.post("/predict", params={"language": language}, files={"file": cell})).json()
        for language in ("en", "tr")
    ]
    assert english["class"] == turkish["class"]
    assert english["llm_report"] != turkish["llm_report"]


async def test_predict_takes_a_profile_and_ignores_fields_it_does_not_know(client, cell):
    form = {"profile": "raabin", "comment": "from another client"}
    answer = (await client.post("/predict", files={"file": cell}, data=form)).json()
    assert (answer["profile"], answer["device_state"]) == ("raabin", "known")
    assert "device_unknown" not in answer["review_reasons"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".tiff", ".webp"])
async def test_every_supported_format_is_read(client, suffix):
    image = image_file(synthetic_cell("Monocyte", 1, 240), suffix)
    # A claimed media type and a file name say nothing: the bytes do.
    files = {"file": ("cell.txt", image, "text/plain")}
    assert (await client.post("/predict", files=files)).status_code == 200


# POST /v1/analyses


async def test_an_analysis_is_answered_whole(client, cell):
    response = await client.post("/v1/analyses", files={"file": cell}, headers={"X-Request-ID": "lab-42"})
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["request_id"] == "lab-42"
    assert set(answer["model"]) == {"name", "version", "sha256", "server"}
    assert answer["image"] == {"height": HEIGHT, "width": WIDTH}
    decision = answer["decision"]
    assert decision["class"] == max(answer["probabilities"], key=answer["probabilities"].__getitem__)
    assert decision["confidence"] == answer["probabilities"][decision["class"]]
    assert 0 <= decision["margin"] <= decision["confidence"]
    assert decision["decided_by"] == "none"
    assert answer["review"]["needed"] == bool(answer["review"]["reasons"])
    assert 0 <= answer["aux_neutrophil_probability"] <= 1
    assert -20 < answer["energy"] < 0  # of a handful of logits from 0 to 8
    assert sum(answer["focus"]["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert answer["heatmap"]["media_type"] == "image/png"
    assert answer["heatmap"]["colour_map"] == "viridis"
    assert decoded(answer["heatmap"]["data"]).shape == (HEIGHT, WIDTH, 3)
    assert answer["report"]["writer"] == "rule-based"
    assert answer["report"]["language"] == "en"
    assert {"decode", "preprocess", "predict", "route", "explain", "report", "total"} <= set(
        answer["timings_ms"]
    )
    assert answer["disclaimer"] == DISCLAIMER


@pytest.mark.parametrize("where", ["params", "data"])
async def test_choices_may_stand_in_the_query_or_in_the_form(client, cell, where):
    chosen = {
        "profile": "raabin",
        "language": "tr",
        "heatmap_format": "jpeg",
        "colour_map": "inferno",
    }
    answer = (await client.post("/v1/analyses", files={"file": cell}, **{where: chosen})).json()
    assert answer["profile"] == "raabin"
    assert answer["report"]["language"] == "tr"
    assert (answer["heatmap"]["media_type"], answer["heatmap"]["colour_map"]) == ("image/jpeg", "inferno")


async def test_the_form_counts_where_query_and_form_differ(client, cell):
    answer = await client.post(
        "/v1/analyses?profile=raabin&language=tr", files={"file": cell}, data={"language": "en"}
    )
    assert (answer.json()["profile"], answer.json()["report"]["language"]) == ("raabin", "en")


async def test_a_forms_empty_field_is_one_not_filled_in(client, cell):
    answer = await client.post("/v1/analyses", files={"file": cell}, data={"profile": "", "language": ""})
    assert (answer.json()["profile"], answer.json()["report"]["language"]) == ("default", "en")


async def test_colour_maps_paint_differently(client, cell):
    viridis, jet = [
        (await client.post("/v1/analyses", files={"file": cell}, data={"colour_map": name})).json()
        for name in ("viridis", "jet")
    ]
    assert viridis["heatmap"]["data"] != jet["heatmap"]["data"]


async def test_levels_of_heat_and_outlines_come_where_they_are_asked_for(client, cell):
    drawn = (await client.post("/v1/analyses", files={"file": cell})).json()
    asked = {"heatmap_style": "levels", "outlines": "true"}
    answer = (await client.post("/v1/analyses", files={"file": cell}, data=asked)).json()

    levels = cv2.imdecode(
        np.frombuffer(base64.b64decode(answer["heatmap"]["data"]), np.uint8), cv2.IMREAD_UNCHANGED
    )
    assert (levels.shape, levels.dtype, levels.max()) == ((HEIGHT, WIDTH), np.uint8, 255)
    rows, columns = np.array(answer["outlines"]["cell"][0]).T
    assert 0 < np.ptp(rows) < 2 * HEIGHT
    assert 0 < np.ptp(columns) < 2 * WIDTH
    assert drawn["outlines"] is None


async def test_heatmap_and_report_may_be_left_out(client, cell):
    form = {"heatmap": "false", "report": "none"}
    answer = (await client.post("/v1/analyses", files={"file": cell}, data=form)).json()
    assert answer["heatmap"] is answer["focus"] is answer["report"] is None
    assert answer["decision"]["class"] in CLASS_NAMES


@pytest.mark.parametrize(
    ("headers", "form", "language"),
    [
        ({"Accept-Language": "tr-TR,tr;q=0.9,en;q=0.8"}, {}, "tr"),
        ({"Accept-Language": "tr"}, {"language": "en"}, "en"),
        ({"Accept-Language": "de"}, {}, "en"),
    ],
)
async def test_the_language_is_the_callers(client, cell, headers, form, language):
    answer = await client.post("/v1/analyses", files={"file": cell}, data=form, headers=headers)
    assert answer.json()["report"]["language"] == language


# What is wrong with a request


@pytest.mark.parametrize("path", ["/predict", "/v1/analyses"])
@pytest.mark.parametrize("where", ["params", "data"])
async def test_an_unknown_profile_is_answered_with_those_there_are(client, cell, path, where):
    response = await client.post(path, files={"file": cell}, **{where: {"profile": "leica"}})
    (problem,) = assert_problem(response, 422, "invalid-parameter")["errors"]
    assert problem["field"] == "profile"
    assert {"default", "raabin"} <= set(problem["allowed"])


@pytest.mark.parametrize("where", ["params", "data"])
@pytest.mark.parametrize(
    "wrong",
    [{"language": "de"}, {"heatmap": "maybe"}, {"colour_map": "rainbow"}, {"report": "long"}, {"lang": "tr"}],
)
async def test_a_wrong_choice_is_named(client, cell, where, wrong):
    response = await client.post("/v1/analyses", files={"file": cell}, **{where: wrong})
    (problem,) = assert_problem(response, 422, "invalid-parameter")["errors"]
    assert problem["field"] == next(iter(wrong))


async def test_malformed_images_are_refused_and_the_service_still_answers(client, cell):
    payloads = malformed_images()
    assert len(payloads) >= 100
    wrong = {}
    for name, payload in payloads:
        response = await client.post("/predict", files={"file": ("cell.jpg", payload, "image/jpeg")})
        document = response.json()
        if response.status_code not in (400, 413, 415) or document.get("status") != response.status_code:
            wrong[name] = (response.status_code, document)
    assert wrong == {}
    assert (await client.post("/predict", files={"file": cell})).status_code == 200


async def test_an_empty_file_is_undecodable(client):
    assert_problem(await client.post("/predict", files={"file": ("a.png", b"")}), 400, "undecodable-image")


async def test_what_is_no_image_is_unsupported(client):
    files = {"file": ("cell.jpg", b"PK\x03\x04" + b"not an image" * 100, "image/jpeg")}
    assert_problem(await client.post("/predict", files=files), 415, "unsupported-image")


@pytest.mark.parametrize("path", ["/predict", "/v1/analyses"])
async def test_a_request_without_an_image_is_malformed(client, path, cell):
    for request in (
        client.post(path),
        client.post(path, data={"file_name": "cell.png"}),
        client.post(path, files={"image": cell}),
        client.post(path, files=[("file", cell), ("file", cell)]),
    ):
        assert_problem(await request, 400, "malformed-upload")


async def test_a_body_that_is_no_form_is_unsupported(client):
    assert_problem(await client.post("/predict", json={"file": "cell.png"}), 415, "unsupported-body")


async def test_an_oversize_upload_is_refused_with_and_without_a_length():
    settings = Settings(images=ImageSettings(processes=0, max_bytes=100_000))
    services = build_services(settings, model_server=FakeModelServer())
    head = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    sent_chunks = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent_chunks
        yield head
        for _ in range(10_000):
            sent_chunks += 1
            yield b"x" * 10_000

    async with client_of(build_app(settings, services)) as client:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        streamed = await client.post("/predict", content=endless(), headers=headers)
        assert "content-length" not in streamed.request.headers
        assert_problem(streamed, 413, "image-too-large")
        assert sent_chunks < 20
        whole = await client.post("/predict", files={"file": b"x" * 1_000_000})
        assert_problem(whole, 413, "image-too-large")


async def test_too_many_pixels_are_refused_before_they_are_decoded(cell):
    settings = Settings(images=ImageSettings(processes=0, max_pixels=1000))
    services = build_services(settings, model_server=FakeModelServer())
    async with client_of(build_app(settings, services)) as client:
        assert_problem(await client.post("/predict", files={"file": cell}), 413, "image-too-large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("POST", "/predict/", 404),
        ("GET", "/predict", 405),
        ("PUT", "/v1/analyses", 405),
    ],
)
async def test_the_frameworks_errors_are_problem_documents_too(client, method, path, status):
    response = await client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == MEDIA_TYPE
    assert response.json()["status"] == status
    assert response.json()["disclaimer"] == DISCLAIMER
    if status == 405:
        assert response.headers["allow"] == "POST"


# The model server fails


class FailingModelServer(FakeModelServer):
    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    async def explain(self, question: Question) -> Prediction:  # noqa: ARG002 (the port's signature)
        raise self.error


@pytest.mark.parametrize(
    ("error", "status", "name"),
    [
        (errors.Overloaded("The queue is full.", retry_after_s=2.4), 503, "overloaded"),
        (errors.ModelServerUnavailable("It is gone."), 503, "model-unavailable"),
        (errors.ModelServerTimeout("It is late."), 504, "model-timeout"),
        (errors.ContractViolation("It has other outputs."), 500, "contract-violation"),
        (RuntimeError("a bug with a path /home/lab"), 500, "internal-error"),
    ],
)
async def test_a_failing_model_server_is_a_problem_and_no_stack_trace(cell, error, status, name):
    async with service(FailingModelServer(error)) as client:
        for path in ("/predict", "/v1/analyses"):
            response = await client.post(path, files={"file": cell})
            assert_problem(response, status, name)
            assert "Traceback" not in response.text
            assert "/home" not in response.text
            if name == "overloaded":
                assert response.headers["retry-after"] == "3"


class GatedModelServer(FakeModelServer):
    """Answers when the gate is opened."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.reached = asyncio.Event()

    async def explain(self, question: Question) -> Prediction:
        self.reached.set()
        await self.gate.wait()
        return await super().explain(question)


async def test_more_than_may_be_under_way_is_refused_and_may_try_again(cell):
    model_server = GatedModelServer()
    services = build_services(Settings(), model_server=model_server)
    app = create_app(services, admission=Admission(1, max_waiting=0))
    async with client_of(app) as client:
        first = asyncio.create_task(client.post("/predict", files={"file": cell}))
        await model_server.reached.wait()
        refused = await client.post("/predict", files={"file": cell})
        assert_problem(refused, 503, "overloaded")
        assert int(refused.headers["retry-after"]) >= 1
        model_server.gate.set()
        assert (await first).status_code == 200
        assert (await client.post("/predict", files={"file": cell})).status_code == 200


async def test_the_event_loop_answers_while_an_analysis_waits(cell):
    model_server = GatedModelServer()
    async with service(model_server) as client:
        analysis = asyncio.create_task(client.post("/predict", files={"file": cell}))
        await model_server.reached.wait()
        assert (await client.get("/livez")).status_code == 200
        assert "wbc_requests_in_flight 1.0" in (await client.get("/metrics")).text
        model_server.gate.set()
        await analysis
        assert "wbc_requests_in_flight 0.0" in (await client.get("/metrics")).text


# Identity, privacy


async def test_concurrent_requests_keep_their_identities_apart(client):
    cells = [image_file(synthetic_cell(name, seed, 240)) for seed, name in enumerate(CLASS_NAMES * 2)]
    responses = await asyncio.gather(
        *(
            client.post("/v1/analyses", files={"file": data}, headers={"X-Request-ID": f"request-{i}"})
            for i, data in enumerate(cells)
        )
    )
    for i, response in enumerate(responses):
        assert response.json()["request_id"] == response.headers["x-request-id"] == f"request-{i}"


async def test_a_request_without_an_identity_gets_one(client, cell):
    responses = [await client.post("/predict", files={"file": cell}) for _ in range(2)]
    identities = {response.json()["request_id"] for response in responses}
    assert identities == {response.headers["x-request-id"] for response in responses}
    assert len(identities) == 2


async def test_a_file_name_reaches_neither_answer_nor_log(cell, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    async with service(FailingModelServer(RuntimeError("a bug"))) as client:
        for payload in (cell, b"not an image"):
            files = {"file": ("Yilmaz_Ayse_1984.png", payload, "image/png")}
            response = await client.post("/predict", files=files)
            assert "Yilmaz" not in response.text
            assert "Yilmaz" not in str(response.headers)
    from_the_service = [record.getMessage() for record in caplog.records if "orchestrator" in record.name]
    assert from_the_service
    assert not any("Yilmaz" in message for message in from_the_service)


async def test_results_are_not_to_be_stored_or_guessed_about(client, cell):
    for response in (await client.post("/predict", files={"file": cell}), await client.post("/predict")):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


SITE_PROFILE = """
description = "A site that knows how often each class occurs."
tta = "none"
[preprocessing]
version = "v1"
crop_scale = 1.4
[routing]
mode = "prior"
review_threshold = 0.0
review_margin = 0.0
max_energy = -15.0
prior = [0.96, 0.01, 0.01, 0.01, 0.01]
training_prior = [0.2, 0.2, 0.2, 0.2, 0.2]
"""


async def test_a_site_profile_weighs_by_its_shares_and_marks_what_is_unlike_the_training_images(
    tmp_path, cell
):
    (tmp_path / "site.toml").write_text(SITE_PROFILE)
    without_shares = [
        line for line in SITE_PROFILE.splitlines() if not line.startswith(("prior", "training"))
    ]
    lenient_text = "\n".join(without_shares).replace('"prior"', '"none"').replace("-15.0", "0.0")
    (tmp_path / "lenient.toml").write_text(lenient_text)
    settings = Settings(profiles_dir=tmp_path)
    services = build_services(settings, model_server=FakeModelServer())
    async with client_of(build_app(settings, services)) as client:
        answers = {
            name: (await client.post("/v1/analyses", params={"profile": name}, files={"file": cell})).json()
            for name in ("site", "lenient")
        }
        described = {p["name"]: p for p in (await client.get("/v1/model")).json()["profiles"]}

    site, lenient = answers["site"], answers["lenient"]
    assert (site["decision"]["decided_by"], lenient["decision"]["decided_by"]) == ("prior", "none")
    assert site["decision"]["class"] == "Basophil" != lenient["decision"]["class"]
    weighed = {
        name: p * (0.96 if name == "Basophil" else 0.01) for name, p in lenient["probabilities"].items()
    }
    expected = {name: p / sum(weighed.values()) for name, p in weighed.items()}
    assert site["probabilities"] == pytest.approx(expected, abs=1e-6)
    assert site["energy"] == lenient["energy"]
    assert "out_of_distribution" in [reason["code"] for reason in site["review"]["reasons"]]
    assert "out_of_distribution" not in [reason["code"] for reason in lenient["review"]["reasons"]]
    assert "unlike the training images" in site["report"]["text"]
    assert "Weighed by the class shares" in site["report"]["text"]
    assert described["site"]["max_energy"] == -15.0
    assert described["site"]["prior"] == [0.96, 0.01, 0.01, 0.01, 0.01]
    assert described["default"]["prior"] is None


# Operation


async def test_the_model_tells_of_itself(client):
    answer = (await client.get("/v1/model")).json()
    assert answer["class_names"] == list(CLASS_NAMES)
    assert answer["input_size"] == 224
    assert answer["service_version"] == __version__
    assert answer["signatures"]["classify"] == ["main_out", "aux_binary_out", "logits", "not_wbc"]
    assert {"name", "version", "sha256", "server"} == set(answer["model"])
    profiles = {profile["name"]: profile for profile in answer["profiles"]}
    assert [name for name, profile in profiles.items() if profile["default"]] == ["default"]
    assert all(profile["description"] for profile in profiles.values())
    assert answer["disclaimer"] == DISCLAIMER


@pytest.mark.parametrize("path", ["/predict", "/v1/analyses"])
async def test_no_profile_of_a_sites_own_and_no_parameter_releases_an_answer_of_an_unaudited_microscope(
    path, cell, tmp_path
):
    """Though all that asks for a review is switched off."""
    default = (resources.files("orchestrator.profiles") / "default.toml").read_text()
    generous = default.replace("threshold = 0.6", "threshold = 0.0").replace("max_energy = -2.59", "")
    generous = generous.replace('"unknown"', '"profiled"').replace("margin = 0.15", "margin = 0.0")
    (tmp_path / "site.toml").write_text(generous)
    settings = Settings(profiles_dir=tmp_path, profile="site")
    services = build_services(settings, model_server=FakeModelServer())
    async with client_of(build_app(settings, services)) as client:
        form = {"tta": "none", **({"device_state": "known"} if path == "/predict" else {"heatmap": "false"})}
        answer = (await client.post(path, files={"file": cell}, data=form)).json()
        (described,) = [p for p in (await client.get("/v1/model")).json()["profiles"] if p["name"] == "site"]
    reasons = answer["review_reasons"] if path == "/predict" else answer["review"]["reasons"]
    assert (answer["profile"], answer["device_state"], described["device"]) == (
        "site", "profiled", "profiled",
    )  # fmt: skip
    assert "device_unknown" in str(reasons)


class Audits:
    """One audit passed; it releases what it is told to."""

    def __init__(self, *, released: bool) -> None:
        self.released = released

    def state_of(self, profile, model):
        return "audited" if (profile.name, model.name) == ("motic-tecom", "wbc") else None

    def releases(self, profile, model, class_index, confidence):
        return self.released and self.state_of(profile, model) and 0 <= class_index < 5 and confidence > 0

    def sample_of(self, profile, model, image_sha256):
        assert (profile.name, model.name, len(image_sha256)) == ("motic-tecom", "wbc", 64)


@pytest.mark.parametrize("released", [True, False])
async def test_an_audited_microscope_releases_what_its_audit_releases(cell, released):
    services = build_services(Settings(), model_server=FakeModelServer())
    services = dataclasses.replace(services, audits=Audits(released=released))
    async with client_of(build_app(Settings(), services)) as client:
        audited, default = [
            (await client.post("/v1/analyses", params={"profile": name}, files={"file": cell})).json()
            for name in ("motic-tecom", "default")
        ]
    codes = [reason["code"] for reason in audited["review"]["reasons"]]
    assert audited["device_state"] == "audited"
    assert ("not_audited_class" in codes) != released
    assert "device_unknown" not in codes
    assert default["device_state"] == "unknown"


async def test_the_service_is_ready_once_its_model_server_has_started():
    app = build_app(Settings(), build_services(Settings(), model_server=FakeModelServer()))
    async with asking(app) as client:
        assert (await client.get("/livez")).status_code == 200
        before = await client.get("/readyz")
        assert_problem(before, 503, "model-unavailable")
        assert int(before.headers["retry-after"]) >= 1
        async with app.router.lifespan_context(app):
            ready = await client.get("/readyz")
            assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert (await client.get("/readyz")).status_code == 503


class SilentModelServer(FakeModelServer):
    async def ready(self) -> bool:
        await asyncio.sleep(60)
        return True


async def test_a_model_server_that_does_not_say_whether_it_is_ready_is_not():
    async with service(SilentModelServer()) as client:
        assert_problem(await client.get("/readyz"), 503, "model-unavailable")


async def test_metrics_tell_of_stages_outcomes_and_model(client, cell):
    await client.post("/predict", files={"file": cell})
    await client.post("/v1/analyses", files={"file": b"not an image"})
    await client.post("/v1/analyses", files={"file": cell}, params={"language": "de"})
    response = await client.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    for stage in ("decode", "preprocess", "quality", "predict", "route", "explain", "report", "total"):
        assert f'wbc_stage_duration_seconds_bucket{{le="0.1",stage="{stage}"}}' in response.text
    for endpoint, outcome in (
        ("predict", "ok"),
        ("analyses", "unsupported-image"),
        ("analyses", "invalid-parameter"),
    ):
        assert f'wbc_requests_total{{endpoint="{endpoint}",outcome="{outcome}"}}' in response.text
    assert "wbc_model_info{" in response.text
    assert "wbc_findings_total{" in response.text


# Documentation


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [ref for child in node.values() for ref in references(child)]
    return [ref for child in node for ref in references(child)] if isinstance(node, list) else []


async def test_the_openapi_document_describes_every_operation(client):
    document = (await client.get("/openapi.json")).json()
    assert document["info"]["version"] == __version__
    elsewhere = ("/v1/differentials", "/v2")  # described, and tested, with their own
    assert {path for path in document["paths"] if not path.startswith(elsewhere)} == {
        "/predict", "/v1/analyses", "/v1/fields", "/v1/model", "/livez", "/readyz", "/metrics",
        "/v1/device-audits",
        "/v1/device-audits/{audit_name}", "/v1/device-audits/{audit_name}/verdict",
        "/v1/device-audits/{audit_name}/cells/{image_sha256}/image",
        "/v1/device-audits/{audit_name}/cells/{image_sha256}/label",
    }  # fmt: skip
    for ref in references(document):
        assert ref.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    for path in ("/predict", "/v1/analyses"):
        operation = document["paths"][path]["post"]
        form = operation["requestBody"]["content"]["multipart/form-data"]["schema"]
        assert form["required"] == ["file"]
        assert set(operation["responses"]) == {
            "200", "400", "401", "403", "408", "413", "415", "422", "429", "500", "503", "504",
        }  # fmt: skip
        for status, response in operation["responses"].items():
            answers = {"application/json", *(["text/event-stream"] if path == "/v1/analyses" else [])}
            assert set(response["content"]) == (answers if status == "200" else {MEDIA_TYPE})
    result = document["components"]["schemas"]["Decision"]["properties"]
    assert result["class"]["enum"] == list(CLASS_NAMES)
    analyses = document["paths"]["/v1/analyses"]["post"]
    choices = {p["name"]: p["schema"] for p in analyses["parameters"]}
    assert choices["colour_map"]["enum"] == ["viridis", "inferno", "cividis", "jet"]


async def test_the_documentation_is_one_page_that_loads_nothing_from_elsewhere(client):
    response = await client.get("/docs")
    assert response.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in response.headers["content-security-policy"]
    for text in ("POST /predict", "POST /v1/analyses", "colour_map", "image-too-large", DISCLAIMER):
        assert text in response.text
    for loaded in ("<script", "<link", "<img", "src=", "https://"):
        assert loaded not in response.text


async def test_the_documented_fields_are_those_that_the_service_answers(client, cell):
    document = (await client.get("/openapi.json")).json()
    fields = set(document["components"]["schemas"]["PredictResult"]["properties"])
    answer = (await client.post("/predict", files={"file": cell})).json()
    assert set(answer) == fields == PREDICT_FIELDS
