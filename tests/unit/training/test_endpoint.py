"""Judging by a service: what is sent, how a busy one is waited for, and what is said of a wrong one."""

import asyncio
import json

import httpx2
import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import (
    ConfigurationError,
    InvalidImage,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
)
from orchestrator.model_contract import CLASS_NAMES
from tests.painted_splits import paint_splits
from training.datasets import read_split
from training.endpoint import Endpoint
from training.evaluate import EvaluationSettings, evaluate_through

URL = "http://service"
SHARES = (0.1, 0.2, 0.05, 0.6, 0.1 - 0.05)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return paint_splits(tmp_path_factory.mktemp("cells"), {"TestA": 1}, size=64)


@pytest.fixture
def samples(data_root):
    return read_split(data_root, "TestA")


def analysis(**changes):
    document = {
        "request_id": "a",
        "model": {"name": "wbc", "version": 3, "sha256": "f" * 64},
        "profile": "default",
        "decision": {"class": "Monocyte", "confidence": 0.6, "margin": 0.4, "decided_by": "none"},
        "review": {
            "needed": True,
            "reasons": [
                {"code": "close_call", "message": "close"},
                {"code": "device_unknown", "message": "of the microscope"},
            ],
        },
        "probabilities": dict(zip(CLASS_NAMES, SHARES, strict=True)),
        "aux_neutrophil_probability": 0.1 + 0.2,
        "energy": -4.25,
        "focus": None,
    }
    return httpx2.Response(200, json=document | changes)


def problem(status, detail="not today", **more):
    headers = more.pop("headers", {})
    return httpx2.Response(status, json={"title": "t", "detail": detail, **more}, headers=headers)


class Service:
    """Gives the answers in turn, and the last one ever after; remembers what it was asked."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.requests = []
        self.under_way = self.most_under_way = 0

    async def __call__(self, request):
        self.requests.append(request)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        await asyncio.sleep(0.01)
        self.under_way -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx2.Response(answer.status_code, content=answer.content, headers=answer.headers)

    def endpoint(self, **settings):
        return Endpoint(URL, transport=httpx2.MockTransport(self), **settings)


def test_answers_become_findings_to_the_last_digit(samples):
    service = Service(analysis(focus={"ratio": 0.7, "shares": {}}))

    answered = service.endpoint().evaluate(samples, "default", focus=True)

    assert [cell.sample for cell in answered.cells] == samples
    finding = answered.cells[0].finding
    assert finding.probabilities == SHARES
    assert finding.aux_neutrophil == 0.1 + 0.2  # not 0.3
    assert (finding.class_name, finding.decided_by, finding.energy) == ("Monocyte", "none", -4.25)
    assert [reason.code for reason in finding.review_reasons] == ["close_call"]
    assert (answered.cells[0].focus.ratio, answered.cells[0].focus.masks) == (0.7, "own")
    assert (answered.model.version, answered.model.sha256) == (3, "f" * 64)


def test_a_request_has_the_bytes_of_the_file_and_not_its_name(samples):
    service = Service(analysis())

    service.endpoint().evaluate(samples[:1], "default")

    (request,) = service.requests
    assert request.url.path == "/v1/analyses"
    assert dict(request.url.params) == {"profile": "default", "heatmap": "false", "report": "none"}
    assert samples[0].path.read_bytes() in request.content
    assert samples[0].path.stem.encode() not in request.content


def test_no_more_images_are_under_way_than_allowed(samples):
    service = Service(analysis())

    service.endpoint(concurrency=2).evaluate(samples, "default")

    assert service.most_under_way == 2
    assert len(service.requests) == 5


def test_a_busy_service_is_asked_again_after_the_time_it_asks_for(samples):
    service = Service(
        problem(503, headers={"Retry-After": "0"}), problem(503, headers={"Retry-After": "0"}), analysis()
    )

    answered = service.endpoint(concurrency=1).evaluate(samples[:1], "default")

    assert len(answered.cells) == 1
    assert len(service.requests) == 3


@pytest.mark.parametrize("headers", [{"Retry-After": "5"}, {}])
def test_a_service_that_stays_busy_is_given_up(samples, headers):
    service = Service(problem(503, "no model is loaded", headers=headers))

    with pytest.raises(ModelServerUnavailable, match=r"for 0\.5 s: no model is loaded"):
        service.endpoint(patience_s=0.5).evaluate(samples[:1], "default")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("answer", "error", "message"),
    [
        (problem(400, "The file is truncated."), InvalidImage, r"Basophil_0\.png: The file is truncated"),
        (problem(500, "The model failed."), ModelServerError, "answered 500 .* The model failed"),
        (problem(504), ModelServerTimeout, "not today"),
        (httpx2.Response(404, text="<h1>no</h1>"), ConfigurationError, "does not take the request: <h1>no"),
        (
            problem(422, errors=[{"field": "profile", "message": "no such", "allowed": ["default"]}]),
            ConfigurationError,
            r"profile: no such \(allowed: default\)",
        ),
        (httpx2.Response(200, text="hello"), ConfigurationError, "something else than an analysis"),
        (analysis(profile="other"), ModelServerError, "expected profile default"),
        (analysis(probabilities=dict.fromkeys("abcde", 0.2)), ModelServerError, "expected the classes"),
        (httpx2.ConnectError("refused"), ModelServerUnavailable, "cannot be reached: refused"),
        (httpx2.ReadTimeout("slow"), ModelServerTimeout, "within 60 s"),
    ],
)
def test_what_is_wrong_is_said(samples, answer, error, message):
    with pytest.raises(error, match=message):
        Service(answer).endpoint().evaluate(samples, "default")


def test_a_model_that_changes_on_the_way_is_no_evaluation(samples):
    other = analysis(model={"name": "wbc", "version": 4, "sha256": None})

    with pytest.raises(ModelServerError, match="one model to answer"):
        Service(other, analysis()).endpoint().evaluate(samples, "default")


@pytest.mark.parametrize("settings", [{"url": "localhost:8000"}, {"url": URL, "concurrency": 0}])
def test_settings_that_cannot_work_are_refused_at_once(settings):
    with pytest.raises(ConfigurationError, match=r"--endpoint|--concurrency"):
        Endpoint(**settings)


def test_files_are_written_as_for_an_evaluation_in_this_process(data_root, tmp_path):
    settings = EvaluationSettings(data_root, tmp_path, splits=("TestA",), resamples=50)

    scores = evaluate_through(Service(analysis()).endpoint(), settings)

    assert scores["TestA"].accuracy.value == pytest.approx(0.2)
    document = json.loads((tmp_path / "TestA" / "metrics.json").read_text())
    assert document["evaluated"]["way"] == f"POST {URL}/v1/analyses"
    assert document["evaluated"]["model"]["version"] == 3
    assert document["notice"] == DISCLAIMER


def test_what_the_service_decides_cannot_be_asked_for(data_root, tmp_path):
    settings = EvaluationSettings(data_root, tmp_path, tta="none", testb_binary_mode="main")

    with pytest.raises(ConfigurationError, match="leave out --tta, --testb-binary-mode"):
        evaluate_through(Service(analysis()).endpoint(), settings)
