"""The client against the emulated server, and against ones that misbehave."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
import uvicorn

from orchestrator.emulator.examples import examples, signed
from orchestrator.emulator.fhir_endpoint import FhirEndpoint
from orchestrator.errors import PeerRefused, PeerUnavailable, PeerUnconfirmed
from orchestrator.interop.fhir import bundle
from orchestrator.interop.fhir_client import send_bundle
from orchestrator.interop.http_peer import HttpPeer, authorization_of
from tests.fakes.scripted_http import scripted
from tests.running_service import free_port

PRELIMINARY = examples()["without_total"].differential
BUNDLE = bundle(PRELIMINARY)
ENTRIES = len(BUNDLE["entry"])
COLLECTION = bundle(PRELIMINARY, bundle_type="collection")


def response(*failed: dict[str, object], count: int = ENTRIES, kind: str = "transaction-response") -> bytes:
    """A server's answer to the Bundle; the first entries failed like this."""
    done = {"status": "201 Created", "location": "Observation/1"}
    entries = [{"response": one} for one in [*failed, *[done] * (count - len(failed))]]
    return json.dumps({"resourceType": "Bundle", "type": kind, "entry": entries}).encode()


def outcome(**issue: object) -> dict[str, object]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "invalid", **issue}]}


GOOD: tuple[int, dict[str, str], bytes] = (200, {}, response())


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
    answers = [(503, {"Retry-After": "7"}, b""), (429, {"Retry-After": "never"}, b""), GOOD]
    with scripted(answers) as (url, requests):
        send_bundle(HttpPeer(url, longest_wait_s=5, sleep=waited.append), BUNDLE)
    assert [request.path for request in requests] == ["/base"] * 3
    assert waited == [5, 1.0]


@pytest.mark.parametrize(
    ("retry_after", "waits"),
    [
        ("Sun, 01 Nov 2026 10:00:04 GMT", 4),
        ("Sunday, 01-Nov-26 10:00:04 GMT", 4),
        ("Sun Nov  1 10:00:04 2026", 4),
        ("Sun, 01 Nov 2026 12:00:00 GMT", 30),
        ("Sun, 01 Nov 2026 09:59:00 GMT", 0.5),
        ("Sun, 01 Nov 99999999999 10:00:00 GMT", 0.5),
        ("Sun, 01 Nov 2026 10:00:04 +99999999999999", 0.5),
        ("9" * 400, 30),
        ("soon", 0.5),
    ],
)
def test_a_busy_server_may_name_a_date_by_its_own_clock(retry_after, waits):
    peer = HttpPeer("http://localhost")
    headers = httpx2.Headers({"retry-after": retry_after, "date": "Sun, 01 Nov 2026 10:00:00 GMT"})
    assert peer.wait_s(1, headers) == waits


def test_a_date_counts_from_now_where_the_server_tells_no_time():
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=20), usegmt=True)
    assert 10 < HttpPeer("http://localhost").wait_s(1, {"Retry-After": until}) <= 20


CODED = {"coding": [{"code": "X", "display": "Parameter invalid"}, {"code": "Y"}]}
NARRATIVE = {"text": {"div": "<div>there <b>already</b></div>"}}
XML = (
    b'<?xml version="1.0"?><OperationOutcome xmlns="http://hl7.org/fhir"><issue><severity value="error"/>'
    b'<code value="duplicate"/>%s</issue></OperationOutcome>'
)
REFUSALS = [
    ({}, outcome(diagnostics="no such code"), "no such code"),
    ({}, outcome(details={"text": "a"}, diagnostics="b"), "a b"),
    ({}, outcome(details=CODED), "Parameter invalid; Y"),
    ({}, outcome(code="duplicate"), "duplicate"),
    ({}, outcome(code="duplicate") | NARRATIVE, "duplicate; there already"),
    ({}, {"resourceType": "OperationOutcome", "issue": [{"diagnostics": "a"}, {"code": "b"}]}, "a; b"),
    (
        {"Content-Type": "application/fhir+xml"},
        XML % b'<details><text value="no &quot;such&quot; code"/></details>',
        'no "such" code',
    ),
    ({"Content-Type": "application/xml"}, XML % b"<diagnostics value='a'/><expression value='x'/>", "a"),
    ({}, XML % b"", "duplicate"),
    ({"Content-Type": "application/problem+json"}, {"title": "Bad", "detail": "Too late."}, "Too late."),
    ({"Content-Type": "application/json"}, {"error": "invalid_token"}, '{"error": "invalid_token"}'),
    ({"Content-Type": "text/plain"}, b"\nLimit is 1 MB\nat com.example.Server", "Limit is 1 MB"),
    ({"Content-Type": "text/html"}, b"<html><style>p {}</style><h1>Bad &amp; wrong</h1>", "Bad & wrong"),
    ({"Location": "https://user:pass@login.example/start?code=1"}, b"", "it points to https://login.example/start,"),
    ({"Warning": "299 Archive: too many"}, b"", "299 Archive: too many"),
    ({}, b"", "no reason was given"),
    ({}, b"<html>", "no reason was given"),
    ({}, {"issue": {"a": 1}}, "{"),
    ({}, {"issue": [1, {"details": 2, "code": 3}], "text": 4}, "{"),
]  # fmt: skip


@pytest.mark.parametrize(("headers", "body", "told"), REFUSALS)
def test_a_refusal_is_told_with_the_servers_reasons_and_not_repeated(headers, body, told):
    status = 307 if "Location" in headers else 422
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    with (
        scripted([(status, headers, data)]) as (url, requests),
        pytest.raises(PeerRefused) as raised,
    ):
        send_bundle(HttpPeer(url, sleep=no_wait), BUNDLE)
    assert f"with {status}: {told}" in str(raised.value)
    assert "pass" not in str(raised.value)
    assert len(requests) == 1


def test_a_long_reason_is_cut():
    with (
        scripted([(400, {}, json.dumps(outcome(diagnostics="x" * 9000)).encode())]) as (url, _),
        pytest.raises(PeerRefused) as raised,
    ):
        send_bundle(HttpPeer(url), BUNDLE)
    assert len(str(raised.value)) < 600


HTML = {"Content-Type": "text/html; charset=utf-8"}
JSON = {"Content-Type": "application/json"}
NO_DELIVERIES = [
    (200, HTML, b"<form>Please <b>sign in</b></form>", 'it answered 200 with text/html, "Please sign in"'),
    (200, JSON, b'{"location": "/x"}', 'application/json, "{"location": "/x"}"'),
    (200, {}, b"", "it answered 200 without a body"),
    (202, {}, b"", "it answered 202 without a body"),
    (200, {}, b"[1]", "200 with no media type"),
    (200, {}, json.dumps(outcome(diagnostics="later")).encode(), '"later"'),
    (200, {}, response(kind="batch-response"), "a Bundle of type batch-response"),
    (200, {}, response(kind="searchset"), "a Bundle of type searchset"),
    (207, {}, response(kind="transaction"), "a Bundle of type transaction"),
    (207, {"Content-Type": "application/xml"}, b"<multistatus/>", "it answered 207 with application/xml"),
    (206, {}, response(count=1), f"answers 1 of {ENTRIES} entries"),
    (200, {}, response(count=0), f"answers 0 of {ENTRIES} entries"),
    (200, {}, response(count=ENTRIES - 1), f"answers {ENTRIES - 1} of {ENTRIES} entries"),
]  # fmt: skip


@pytest.mark.parametrize(("status", "headers", "body", "told"), NO_DELIVERIES)
def test_what_the_standard_does_not_define_as_the_answer_is_no_delivery(status, headers, body, told):
    with scripted([(status, headers, body)]) as (url, _), pytest.raises(PeerUnconfirmed) as raised:
        send_bundle(HttpPeer(url), BUNDLE)
    assert told in str(raised.value)


@pytest.mark.parametrize("kind", ["transaction-response", "batch-response"])
def test_entries_that_were_refused_are_told_with_their_reasons(kind):
    failed = (
        {"status": "422 Unprocessable Entity", "outcome": outcome(diagnostics="a subject is required")},
        {"status": "2000"},
        {},
    )
    with (
        scripted([(200, {}, response(*failed, kind=kind))]) as (url, _),
        pytest.raises(PeerRefused) as raised,
    ):
        send_bundle(HttpPeer(url), BUNDLE)
    said = str(raised.value)
    kinds = [entry["resource"]["resourceType"] for entry in BUNDLE["entry"]]
    assert f"refused 3 of the {ENTRIES} entries" in said
    assert f"entry 1 ({kinds[0]}) with 422 Unprocessable Entity: a subject is required; entry 2" in said
    assert f"entry 3 ({kinds[2]}) with no status: no reason was given" in said


def test_of_many_refused_entries_some_are_told():
    failed = [{"status": "400"}] * ENTRIES
    with scripted([(200, {}, response(*failed))]) as (url, _), pytest.raises(PeerRefused) as raised:
        send_bundle(HttpPeer(url), BUNDLE)
    assert f"and {ENTRIES - 5} more" in str(raised.value)


@pytest.mark.parametrize(
    "entries", [[1, {}], {"a": 1}, [{"response": 1}, 2], [{"response": {}}] * (ENTRIES + 1)]
)
def test_entries_of_any_shape_are_no_delivery(entries):
    document = {"resourceType": "Bundle", "type": "transaction-response", "entry": entries}
    with (
        scripted([(200, {}, json.dumps(document).encode())]) as (url, _),
        pytest.raises((PeerRefused, PeerUnconfirmed)),
    ):
        send_bundle(HttpPeer(url), BUNDLE)


@pytest.mark.parametrize(
    ("status", "body", "is_delivered"),
    [
        (201, b"", True),
        (200, json.dumps(COLLECTION).encode(), True),
        (200, json.dumps(outcome(severity="information")).encode(), True),
        (200, json.dumps(outcome()).encode(), False),
        (200, b'{"resourceType": "OperationOutcome"}', False),
        (200, b'{"resourceType": "OperationOutcome", "issue": [{"severity": "Error"}]}', False),
        (200, json.dumps({"resourceType": "Bundle", "id": "another"}).encode(), False),
        (200, b"<html>Please sign in</html>", False),
        (200, b"{}", False),
        (202, b"", False),
        (207, b"", False),
        (202, json.dumps(COLLECTION).encode(), False),
    ],
)
def test_a_collection_is_delivered_where_it_comes_back_or_nothing_as_was_asked_for(
    status, body, is_delivered
):
    with scripted([(status, {}, body)]) as (url, requests):
        if is_delivered:
            assert send_bundle(HttpPeer(url), COLLECTION) == []
        else:
            with pytest.raises(PeerUnconfirmed):
                send_bundle(HttpPeer(url), COLLECTION)
    assert requests[0].headers["Prefer"] == "return=minimal"


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
