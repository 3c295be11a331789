"""The client against the emulated server, and against ones that misbehave."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn

from orchestrator.emulator.examples import examples, signed
from orchestrator.emulator.fhir_endpoint import FhirEndpoint
from orchestrator.errors import PeerRefused, PeerUnavailable
from orchestrator.interop.fhir import bundle
from orchestrator.interop.fhir_client import send_bundle
from orchestrator.interop.http_peer import HttpPeer, authorization_of
from tests.fakes.scripted_http import scripted
from tests.running_service import free_port

PRELIMINARY = examples()["without_total"].differential
BUNDLE = bundle(PRELIMINARY)


@contextmanager
def running(endpoint: FhirEndpoint) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(endpoint.app(), port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/fhir"
    finally:
        server.should_exit = True
        thread.join(10)


def no_wait(_: float) -> None:
    pass


def test_a_final_report_takes_the_place_of_the_preliminary_one():
    endpoint = FhirEndpoint()
    with running(endpoint) as url:
        places = send_bundle(HttpPeer(url), BUNDLE)
        assert len(places) == len(BUNDLE["entry"]) == len(endpoint.resources)
        send_bundle(HttpPeer(url), bundle(signed(PRELIMINARY, "dr.demir")))
    assert len(endpoint.resources) == len(BUNDLE["entry"])
    reports = [r for r in endpoint.resources.values() if r["resourceType"] == "DiagnosticReport"]
    assert [report["status"] for report in reports] == ["final"]


def test_a_collection_is_put_as_a_bundle_of_its_own():
    endpoint = FhirEndpoint()
    document = bundle(PRELIMINARY, bundle_type="collection")
    with running(endpoint) as url:
        send_bundle(HttpPeer(f"{url}/"), document)
    assert endpoint.resources == {f"Bundle/{document['id']}": document}


def test_a_busy_server_is_asked_again_after_the_time_that_it_names():
    waited: list[float] = []
    answers = [(503, {"Retry-After": "7"}, b""), (429, {"Retry-After": "never"}, b""), (200, {}, b"{}")]
    with scripted(answers) as (url, requests):
        send_bundle(HttpPeer(url, longest_wait_s=5, sleep=waited.append), BUNDLE)
    assert [request.path for request in requests] == ["/base"] * 3
    assert waited == [5, 1.0]


def test_a_refusal_is_told_with_the_servers_reasons_and_not_repeated():
    outcome = {
        "resourceType": "OperationOutcome",
        "issue": [{"diagnostics": "no such code"}, {"details": {"text": "b"}}],
    }
    with (
        scripted([(422, {}, json.dumps(outcome).encode())]) as (url, requests),
        pytest.raises(PeerRefused, match="422: no such code; b"),
    ):
        send_bundle(HttpPeer(url, sleep=no_wait), BUNDLE)
    assert len(requests) == 1


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"issue": {"a": 1}}', b'{"issue": [1, {"details": 2}]}']
)
def test_a_refusal_of_any_shape_is_told(body):
    with (
        scripted([(400, {}, body)]) as (url, _),
        pytest.raises(PeerRefused, match="400: no reason was given"),
    ):
        send_bundle(HttpPeer(url), BUNDLE)


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b'{"entry": [{"response": 1}, 2, {"response": {}}]}'])
def test_an_answer_of_any_shape_is_an_answer(body):
    with scripted([(200, {}, body)]) as (url, _):
        assert send_bundle(HttpPeer(url), BUNDLE) == []


def test_a_redirect_is_not_followed_and_the_token_goes_to_the_server_alone():
    with (
        scripted([(200, {}, b"")]) as (elsewhere, requests_elsewhere),
        scripted([(307, {"Location": elsewhere}, b"")]) as (url, requests),
        pytest.raises(PeerRefused, match="307"),
    ):
        send_bundle(HttpPeer(url, authorization_of("secret")), BUNDLE)
    assert requests[0].headers["Authorization"] == "Bearer secret"
    assert requests[0].headers["Content-Type"] == "application/fhir+json; charset=utf-8"
    assert requests_elsewhere == []


def test_nobody_there_is_unavailable_after_all_attempts():
    waited: list[float] = []
    with pytest.raises(PeerUnavailable, match="3 attempts"):
        send_bundle(HttpPeer(f"http://127.0.0.1:{free_port()}", attempts=3, sleep=waited.append), BUNDLE)
    assert waited == [0.5, 1.0]


def test_a_server_that_stays_busy_is_unavailable():
    with (
        scripted([(503, {}, b"")] * 2) as (url, _),
        pytest.raises(PeerUnavailable, match="busy in 2 attempts"),
    ):
        send_bundle(HttpPeer(url, attempts=2, sleep=no_wait), BUNDLE)


@pytest.mark.parametrize("url", ["ftp://host/", "host", "file:///etc/passwd", ""])
def test_only_http_is_spoken(url):
    with pytest.raises(ValueError, match="base_url"):
        HttpPeer(url)
