"""Storing in an archive: the emulated one, and ones that misbehave."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import uvicorn

from orchestrator.emulator.dicom_archive import DicomArchive
from orchestrator.errors import PeerRefused, PeerUnavailable, PeerUnconfirmed
from orchestrator.interop.dicom import object_of
from orchestrator.interop.http_peer import HttpPeer, authorization_of
from orchestrator.interop.mllp import client_tls
from orchestrator.interop.stow import Outcome, found, store
from tests.certificates import issued
from tests.dicom_results import made_reports
from tests.fakes.scripted_http import scripted
from tests.running_service import free_port

REPORTS = [object_of(data) for data in made_reports().values()]
UIDS = [one.sop_instance_uid for one in REPORTS]


@dataclass(frozen=True)
class Blob:
    """Something of a size, with an identifier."""

    sop_instance_uid: str
    data: bytes


@contextmanager
def running(archive: DicomArchive) -> Iterator[str]:
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(archive.app(), port=port, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/dicom-web"
    finally:
        server.should_exit = True
        thread.join(10)


def no_wait(_: float) -> None:
    pass


def answer(stored: list[str], failed: dict[str, int]) -> bytes:
    def item(uid: str, **reason: int) -> dict[str, object]:
        known: dict[str, object] = {"00081155": {"vr": "UI", "Value": [uid]}}
        return known | {tag.strip("_"): {"vr": "US", "Value": [code]} for tag, code in reason.items()}

    document = {
        "00081199": {"vr": "SQ", "Value": [item(uid) for uid in stored]},
        "00081198": {"vr": "SQ", "Value": [item(uid, _00081197=code) for uid, code in failed.items()]},
    }
    return json.dumps(document).encode()


def test_all_are_stored_once_however_often_they_are_sent():
    archive = DicomArchive()
    with running(archive) as url:
        for _ in range(2):
            outcomes = store(HttpPeer(url), REPORTS)
            assert outcomes == [Outcome(uid) for uid in UIDS]
    assert {uid: one.data for uid, one in archive.objects.items()} == {
        one.sop_instance_uid: one.data for one in REPORTS
    }


def test_an_identifier_that_is_filled_up_to_an_even_length_is_known():
    padded = [f"{uid} " for uid in UIDS]
    searched = [json.dumps([{"00080018": {"vr": "UI", "Value": [f"{uid}\0"]}}]).encode() for uid in UIDS]
    answers = [(200, {}, answer(padded, {})), *((200, {}, body) for body in searched)]
    with scripted(answers) as (url, _):
        peer = HttpPeer(url, sleep=no_wait)
        outcomes = store(peer, REPORTS)
        assert all(outcome.is_stored for outcome in outcomes)
        assert found(peer, outcomes) == outcomes


def test_a_busy_archive_is_asked_again_after_the_time_that_it_names():
    waits: list[float] = []
    busy = [(503, {"Retry-After": "7"}, b""), (429, {}, b"")]
    with scripted([*busy, (200, {}, answer(UIDS, {}))]) as (url, requests):
        outcomes = store(HttpPeer(url, sleep=waits.append), REPORTS)
    assert all(outcome.is_stored for outcome in outcomes)
    assert waits == [7.0, 1.0]
    assert {request.body for request in requests} == {requests[0].body}


def test_one_that_found_no_room_is_sent_again_alone():
    first, second = REPORTS[:2]
    answers = [
        (202, {}, answer([first.sop_instance_uid], {second.sop_instance_uid: 0xA700})),
        (200, {}, answer([second.sop_instance_uid], {})),
    ]
    with scripted(answers) as (url, requests):
        outcomes = store(HttpPeer(url, sleep=no_wait), [first, second])
    assert [outcome.is_stored for outcome in outcomes] == [True, True]
    assert first.data in requests[0].body
    assert first.data not in requests[1].body
    assert second.data in requests[1].body


def test_one_that_is_there_already_is_stored():
    first, second = REPORTS[:2]
    reply = answer([], {first.sop_instance_uid: 0x0111, second.sop_instance_uid: 0xA900})
    with scripted([(409, {}, reply)]) as (url, _):
        outcomes = store(HttpPeer(url, sleep=no_wait), [first, second])
    assert outcomes == [Outcome(first.sop_instance_uid), Outcome(second.sop_instance_uid, failure=0xA900)]


def test_one_that_is_refused_for_good_is_told_with_its_reason():
    first, second = REPORTS[:2]
    reply = answer([first.sop_instance_uid], {second.sop_instance_uid: 0x0122})
    with scripted([(202, {}, reply)]) as (url, _):
        outcomes = store(HttpPeer(url, sleep=no_wait), [first, second])
    assert outcomes == [Outcome(first.sop_instance_uid), Outcome(second.sop_instance_uid, failure=0x0122)]


def test_lists_of_several_studies_are_all_read():
    both = b"[" + answer([UIDS[0]], {}) + b"," + answer([], {UIDS[1]: 0x0122}) + b"]"
    with scripted([(202, {}, both)]) as (url, _):
        outcomes = store(HttpPeer(url, sleep=no_wait), REPORTS[:2])
    assert outcomes == [Outcome(UIDS[0]), Outcome(UIDS[1], failure=0x0122)]


HTML = {"Content-Type": "text/html"}
NO_MODULES = [
    (200, HTML, b"<form>Please sign in</form>", 'it answered 200 with text/html, "Please sign in"'),
    (200, {}, b"", "it answered 200 without a body"),
    (204, {}, b"", "it answered 204 without a body"),
    (202, {}, b"", "it answered 202 without a body"),
    (207, {"Content-Type": "application/xml"}, b"<multistatus/>", "it answered 207 with application/xml"),
    (200, {}, b'{"type": "redirect"}', "redirect"),
    (202, {}, answer([UIDS[1]], {}), "its answer does not name it"),
    (200, {}, b"{}", '"{}"'),
]


@pytest.mark.parametrize(("status", "headers", "body", "told"), NO_MODULES)
def test_what_no_store_instances_response_says_is_not_confirmed(status, headers, body, told):
    with scripted([(status, headers, body)]) as (url, _):
        (outcome,) = store(HttpPeer(url, sleep=no_wait), REPORTS[:1])
    assert not outcome.is_stored
    assert outcome.words.startswith("not confirmed: ")
    assert told in outcome.words


def test_a_conflict_that_names_no_object_is_a_refusal_with_the_archives_words():
    with scripted([(409, {"Content-Type": "text/plain"}, b"No such study\n")]) as (url, _):
        (outcome,) = store(HttpPeer(url, sleep=no_wait), REPORTS[:1])
    assert (outcome.failure, outcome.words) == (0, "409: No such study")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (0xA700, "out of resources (reason A700)"),
        (0xA901, "the data set does not match its SOP class (reason A901)"),
        (0xC123, "the archive cannot understand it (reason C123)"),
        (0xC122, "transfer syntax not supported (reason C122)"),
        (0x0122, "SOP class not supported (reason 0122)"),
        (0x0110, "processing failure (reason 0110)"),
        (0x0999, "reason 0999"),
        (0, "no reason was given"),
    ],
)
def test_a_reason_is_told_in_words(code, words):
    assert Outcome("2.25.1", failure=code).words == words


def test_a_failure_of_an_object_that_the_archive_could_not_name_is_told():
    reply = {"0008119A": {"vr": "SQ", "Value": [{"00081197": {"vr": "US", "Value": [0xC000]}}]}}
    with scripted([(202, {}, json.dumps(reply).encode())]) as (url, _):
        (outcome,) = store(HttpPeer(url, sleep=no_wait), REPORTS[:1])
    assert outcome.failure == 0xC000


def test_a_request_that_cannot_be_taken_as_a_whole_is_sent_in_parts():
    one_each = [(200, {}, answer([uid], {})) for uid in UIDS[:2]]
    bad = (400, {"Content-Type": "text/plain"}, b"not a DICOM file")
    with scripted([(400, {}, b""), *one_each, bad]) as (url, _):
        outcomes = store(HttpPeer(url, sleep=no_wait), REPORTS[:3])
    assert [outcome.is_stored for outcome in outcomes] == [True, True, False]
    assert outcomes[2].words == "400: not a DICOM file"


def test_of_a_request_with_one_bad_part_what_the_archive_names_is_not_sent_again():
    replies = [(400, {}, answer(UIDS[:1], {})), (200, {}, answer(UIDS[1:2], {})), (400, {}, answer([], {}))]
    with scripted(replies) as (url, requests):
        outcomes = store(HttpPeer(url, sleep=no_wait), REPORTS[:3])
    assert [outcome.is_stored for outcome in outcomes] == [True, True, False]
    assert outcomes[2].words == "400: no reason was given"
    assert [REPORTS[0].data in request.body for request in requests] == [True, False, False]


def test_a_search_finds_what_was_stored():
    with running(DicomArchive()) as url:
        outcomes = store(HttpPeer(url), REPORTS[:2])
        missing = Outcome(UIDS[2])
        assert found(HttpPeer(url, attempts=2, sleep=no_wait), [*outcomes, missing])[:2] == outcomes
        (outcome,) = found(HttpPeer(url, attempts=2, sleep=no_wait), [missing])
    assert outcome.words == "not confirmed: the archive said that it stored it, and does not find it"


def test_a_search_that_finds_what_the_archive_did_not_confirm_settles_it():
    there = json.dumps([{"00080018": {"vr": "UI", "Value": [UIDS[0]]}}]).encode()
    unconfirmed, refused = Outcome(UIDS[0], unconfirmed="200"), Outcome(UIDS[1], failure=0x0110)
    with scripted([(200, {}, there), (204, {}, b"")]) as (url, requests):
        assert found(HttpPeer(url), [unconfirmed, refused]) == [Outcome(UIDS[0]), refused]
    assert requests[0].path == f"/base/instances?SOPInstanceUID={UIDS[0]}"


def test_an_archive_that_indexes_later_is_asked_again():
    there = json.dumps([{"00080018": {"vr": "UI", "Value": [UIDS[0]]}}]).encode()
    waits: list[float] = []
    with scripted([(200, {}, b"[]"), (200, {}, there)]) as (url, _):
        assert found(HttpPeer(url, sleep=waits.append), [Outcome(UIDS[0])]) == [Outcome(UIDS[0])]
    assert waits == [0.5]


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (200, b"<html>Please sign in</html>", PeerUnconfirmed),
        (200, b"", PeerUnconfirmed),
        (403, b"", PeerRefused),
    ],
)
def test_what_is_no_answer_to_a_search_proves_nothing(status, body, error):
    unconfirmed = Outcome(UIDS[0], unconfirmed="200")
    with scripted([(status, {}, body)] * 2) as (url, _):
        with pytest.raises(error):
            found(HttpPeer(url), [Outcome(UIDS[0])])
        assert found(HttpPeer(url), [unconfirmed]) == [unconfirmed]


def test_large_objects_travel_in_several_requests():
    blobs = [Blob(f"2.25.{number}", bytes([number]) * 9 * 2**20) for number in range(3)]
    answers = [(200, {}, answer([blob.sop_instance_uid], {})) for blob in blobs]
    with scripted(answers) as (url, requests):
        outcomes = store(HttpPeer(url), blobs)
    assert len(requests) == 3
    assert all(outcome.is_stored for outcome in outcomes)


def test_an_object_that_holds_the_boundary_arrives_whole():
    with scripted([(200, {}, b"{}")] * 2) as (url, requests):
        store(HttpPeer(url), REPORTS[:1])
        boundary = requests[0].headers["Content-Type"].split("boundary=")[1].encode()
        tricky = Blob("2.25.9", b"\r\n--" + boundary + b"--\r\n")
        store(HttpPeer(url), [tricky])
    other = requests[1].headers["Content-Type"].split("boundary=")[1].encode()
    assert tricky.data in requests[1].body
    assert requests[1].body.count(b"--" + other) == 2


def test_a_redirect_is_not_followed_with_the_credential():
    with (
        scripted([(200, {}, b"{}")]) as (elsewhere, requests_elsewhere),
        scripted([(307, {"Location": elsewhere}, b"")]) as (url, requests),
        pytest.raises(PeerRefused, match="307"),
    ):
        store(HttpPeer(url, authorization_of("secret")), REPORTS[:1])
    assert requests[0].headers["Authorization"] == "Bearer secret"
    assert requests_elsewhere == []


@pytest.mark.parametrize("status", [401, 403, 404, 415, 500])
def test_an_archive_that_takes_nothing_of_us_is_an_error(status):
    with scripted([(status, {}, b"")]) as (url, _), pytest.raises(PeerRefused, match=str(status)):
        store(HttpPeer(url, sleep=no_wait), REPORTS)


def test_an_archive_that_stays_busy_or_is_not_there_is_an_error():
    with scripted([(503, {}, b"")] * 2) as (url, _), pytest.raises(PeerUnavailable, match="busy in 2"):
        store(HttpPeer(url, attempts=2, sleep=no_wait), REPORTS)
    nobody = f"http://127.0.0.1:{free_port()}/dicom-web"
    with pytest.raises(PeerUnavailable, match="did not answer in 3"):
        store(HttpPeer(nobody, attempts=3, sleep=no_wait), REPORTS)


def test_an_archive_that_accepts_and_never_answers_is_not_waited_for():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/dicom-web"
        with pytest.raises(PeerUnavailable, match=r"did not answer in 2 attempts \(TimeoutError\)"):
            store(HttpPeer(url, timeout_s=0.2, attempts=2, sleep=no_wait), REPORTS)


def test_an_archive_is_known_by_its_certificate(tmp_path):
    certificate, key = issued(tmp_path, "archive").files
    stranger, _ = issued(tmp_path, "stranger").files
    speaks_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    speaks_tls.load_cert_chain(certificate, key)
    with scripted([(200, {}, answer(UIDS, {}))], speaks_tls) as (url, requests):
        for trusted in (client_tls(stranger), None):
            with pytest.raises(PeerUnavailable, match="SSLCertVerificationError"):
                store(HttpPeer(url, tls=trusted, attempts=1), REPORTS)
        assert requests == []
        outcomes = store(HttpPeer(url, tls=client_tls(certificate)), REPORTS)
    assert all(outcome.is_stored for outcome in outcomes)


def test_what_is_there_already_is_told_where_the_archive_goes_away_in_the_middle():
    blobs = [Blob(f"2.25.{number}", bytes([number]) * 9 * 2**20) for number in range(2)]
    gone = [(503, {}, b"")] * 2
    with scripted([(200, {}, answer([blobs[0].sop_instance_uid], {})), *gone]) as (url, _):
        outcomes = store(HttpPeer(url, attempts=2, sleep=no_wait), blobs)
    assert [outcome.is_stored for outcome in outcomes] == [True, False]
    assert "busy in 2 attempts" in outcomes[1].words


@pytest.mark.parametrize("url", ["ftp://archive/dicom-web", "archive", "http://"])
def test_a_wrong_address_is_refused(url):
    with pytest.raises(ValueError, match="base_url"):
        HttpPeer(url)


def test_a_credential_is_basic_with_a_colon_and_a_bearers_without():
    assert authorization_of("archivist:pass word") == "Basic YXJjaGl2aXN0OnBhc3Mgd29yZA=="
    assert authorization_of("abc.def") == "Bearer abc.def"
    for wrong in ("", "a\nb", "schlüssel"):
        with pytest.raises(ValueError, match="printable ASCII"):
            authorization_of(wrong)
