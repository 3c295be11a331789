"""Attacks on the running service: who drips, floods or lies is cut off soon, and others are served meanwhile.

The named attacks are those of CVE-2024-47874, CVE-2024-53981, CVE-2025-54121, CVE-2026-40347 and
CVE-2026-42561.
"""

import contextlib
import os
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from tests.integration.test_serving_process import fake_service
from tests.multipart_forms import BOUNDARY, CONTENT_TYPE, form, part
from tests.running_service import PROJECT_ROOT, RunningService, running_service
from tests.waiting import becomes_meanwhile

IMAGE = (PROJECT_ROOT / "tests/golden/example.png").read_bytes()
HEADER_TIMEOUT_S = 1.0
SOON_S = 20.0
"""However busy the machine is; without its bounds, the service would wait for ever."""
MAX_CONNECTIONS = 60
MIB = 2**20


@pytest.fixture(scope="module")
def service() -> Iterator[RunningService]:
    environment = {
        "WBC_SECURITY__HEADER_TIMEOUT_S": str(HEADER_TIMEOUT_S),
        "WBC_SECURITY__SEND_TIMEOUT_S": "1",
        "WBC_SECURITY__MAX_CONNECTIONS": str(MAX_CONNECTIONS),
        "WBC_ADMISSION__MAX_IN_FLIGHT": "2",
        "WBC_ADMISSION__MAX_WAITING": "0",
    }
    with running_service(fake_service("FakeModelServer"), environment) as running:
        httpx2.post(f"{running.url}/predict", files={"file": IMAGE}, timeout=30).raise_for_status()
        yield running


def connected(service: RunningService) -> socket.socket:
    host, port = service.url.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def head(body_bytes: int | None, more: str = "") -> bytes:
    length = "Transfer-Encoding: chunked" if body_bytes is None else f"Content-Length: {body_bytes}"
    return (
        f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {CONTENT_TYPE}\r\n{more}{length}\r\n\r\n"
    ).encode()


def answer_of(connection: socket.socket, drip: bytes = b"", every_s: float = 0.2) -> tuple[bytes, float]:
    """What comes until the other side closes, and when; meanwhile one ``drip`` after the other is sent."""
    begun_s, received = time.monotonic(), b""
    connection.settimeout(every_s)
    while time.monotonic() - begun_s < SOON_S:
        try:
            if drip:
                connection.sendall(drip)
            data = connection.recv(65536)
        except TimeoutError:
            continue
        except OSError:
            break
        if not data:
            break
        received += data
    else:
        raise AssertionError(f"still open after {SOON_S:g} s, and said {received[:200]!r}")
    return received, time.monotonic() - begun_s


def is_closed(connection: socket.socket) -> bool:
    """Whether the other side has closed it; what it said before is read."""
    try:
        while connection.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    return True


def is_well(service: RunningService) -> None:
    answer = httpx2.post(f"{service.url}/predict", files={"file": IMAGE}, timeout=SOON_S)
    assert answer.status_code == 200, answer.text


def cpu_s(service: RunningService) -> float:
    """What its process has computed so far."""
    status = Path(f"/proc/{service.process.pid}/stat")
    if not status.exists():
        pytest.skip("the time of a process is read from /proc")
    user, system = status.read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def resident_mib(service: RunningService) -> float:
    status = Path(f"/proc/{service.process.pid}/status")
    if not status.exists():
        pytest.skip("the memory of a process is read from /proc")
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


# Ambiguously


@pytest.mark.parametrize(
    ("hosts", "status"),
    [
        (b"Host: localhost\r\n", b"200"),
        (b"Host: localhost\r\nHost: evil.test\r\n", b"400"),
        (b"Host: localhost\r\nhost: localhost\r\n", b"400"),
        (b"", b"400"),
    ],
    ids=["one", "two", "one twice", "none"],
)
def test_a_request_names_one_host(service, hosts, status):
    with connected(service) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\n" + hosts + b"Connection: close\r\n\r\n")
        received, _ = answer_of(connection, b"")
    assert received.startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Idempotency-Key", ("a", "b")),
        ("X-API-Key", ("a", "a")),
        ("Authorization", ("Bearer a", "Bearer b")),
        ("Content-Type", ("text/plain", CONTENT_TYPE)),
        ("X-Request-Timeout-Ms", ("1000", "2000")),
    ],
)
def test_a_header_that_says_one_thing_comes_once(service, name, values):
    def status(*those: str) -> bytes:
        lines = "".join(f"{one}\r\n" for one in those)
        with connected(service) as connection:
            request = f"POST /v1/differentials HTTP/1.1\r\nHost: localhost\r\n{lines}Content-Length: 0\r\n"
            connection.sendall(f"{request}Connection: close\r\n\r\n".encode())
            received, _ = answer_of(connection, b"")
        return received

    assert b"This is not HTTP" in status(f"{name}: {values[0]}", f"{name.lower()}: {values[1]}")
    assert b"This is not HTTP" not in status(f"{name}: {values[0]}")


@pytest.mark.parametrize(
    "host",
    ["localhost:port", "localhost, localhost", "me@localhost", "localhost/x", "[::1]evil.test", "local host"],
)
def test_a_host_that_is_none_is_not_http(service, host):
    with connected(service) as connection:
        connection.sendall(f"GET /v1/model HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        received, _ = answer_of(connection, b"")
    assert received.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("http://localhost/livez", "200"),
        ("HTTP://LOCALHOST/livez", "200"),
        ("http://evil.test/v1/model", "400"),
        ("http://localhost:1/livez", "400"),
        ("http://localhost@evil.test/livez", "400"),
    ],
)
def test_an_absolute_target_names_the_host_that_the_header_names(service, target, status):
    with connected(service) as connection:
        connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        received, _ = answer_of(connection, b"")
    assert received.startswith(f"HTTP/1.1 {status}".encode())


@pytest.mark.parametrize(
    ("version", "codings", "status"),
    [
        ("1.1", ["xchunked"], "400"),
        ("1.1", ["identity"], "400"),
        ("1.1", ["chunked, identity"], "400"),
        ("1.1", ["gzip, chunked"], "501"),
        ("1.1", ["gzip", "chunked"], "501"),
        ("1.0", ["chunked"], "400"),
    ],
)
def test_a_body_whose_end_is_not_known_is_refused_at_once(service, version, codings, status):
    lines = "".join(f"Transfer-Encoding: {coding}\r\n" for coding in codings)
    with connected(service) as connection:
        connection.sendall(
            f"POST /predict HTTP/{version}\r\nHost: localhost\r\n{lines}\r\n0\r\n\r\n".encode()
        )
        received, _ = answer_of(connection, b"")
    assert received.startswith(f"HTTP/1.1 {status}".encode())


# Slowly


@pytest.mark.parametrize(
    ("begin", "drip"),
    [
        (b"", b""),
        (b"", b"\r\n"),
        (b"GET /livez HT", b""),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"X-A: b\r\n"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"a"),
    ],
    ids=["silence", "empty lines", "half a line", "header by header", "letter by letter"],
)
def test_headers_that_drip_are_cut_off(service, begin, drip):
    with connected(service) as connection:
        connection.sendall(begin)
        received, took_s = answer_of(connection, drip)
    assert received.startswith(b"HTTP/1.1 408 Request Timeout")
    assert b"application/problem+json" in received
    assert took_s > HEADER_TIMEOUT_S * 0.9


def test_headers_that_drip_behind_an_answer_are_cut_off_too(service):
    with connected(service) as connection:
        connection.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        answer_of(connection, b"\r\n")


def test_bodies_that_drip_hold_no_place_and_end_with_their_time(service):
    """Twenty of them, with two places: others are answered meanwhile."""
    with contextlib.ExitStack() as open_until, ThreadPoolExecutor(20) as threads:
        slow = [open_until.enter_context(connected(service)) for _ in range(20)]
        for connection in slow:
            connection.sendall(head(len(IMAGE) + 500, "X-Request-Timeout-Ms: 1500\r\n") + part("file", b""))
        answers = [threads.submit(answer_of, connection, b"x", 0.1) for connection in slow]
        time.sleep(0.3)
        for _ in range(3):
            is_well(service)
        ended = [answer.result() for answer in answers]
    for received, _ in ended:
        assert received.startswith(b"HTTP/1.1 408"), received[:200]
        assert b"upload-timeout" in received


def test_a_client_who_does_not_read_is_cut_off(service):
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # little fits on the way
        host, port = service.url.removeprefix("http://").split(":")
        connection.connect((host, int(port)))
        request = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
        connection.settimeout(0.2)
        begun_s, is_open = time.monotonic(), True
        while is_open and time.monotonic() - begun_s < SOON_S:
            try:
                connection.sendall(request)
            except TimeoutError:
                continue
            except OSError:
                is_open = False
            time.sleep(0.02)
        assert not is_open
    is_well(service)


def test_connections_beyond_the_limit_are_closed_and_the_service_recovers(service):
    with contextlib.ExitStack() as open_until:
        idle = [open_until.enter_context(connected(service)) for _ in range(MAX_CONNECTIONS + 20)]
        for connection in idle:
            connection.setblocking(False)
        becomes_meanwhile(lambda: sum(map(is_closed, idle)) >= 20)
        becomes_meanwhile(lambda: all(map(is_closed, idle)))
        is_well(service)


# Too much


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"a" * MIB, b"431"),
        (b"GET /livez HTTP/1.1\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(200)) + b"\r\n", b"431"),
        (b"GET /" + b"a" * MIB + b" HTTP/1.1\r\n\r\n", b"431"),
        (b"GET /livez HTTP/1.1\r\n" + b"X" * MIB, b"431"),
        (head(None) + b"0\r\nX-Trailer: " + b"a" * MIB, b"4"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"400"),
        (b"GET / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX-A: a\rb\r\n\r\n", b"400"),
    ],
    ids=[
        "long header",
        "many headers",
        "long path",
        "long name",
        "long trailer",
        "TLS",
        "smuggling",
        "bare CR",
    ],
)
def test_what_is_no_request_of_reasonable_size_is_refused_at_once(service, request_bytes, status):
    with connected(service) as connection:
        with contextlib.suppress(OSError):  # it may be closed before all of it is sent
            connection.sendall(request_bytes)
        received, _ = answer_of(connection)
    # Where more was under way than was read, the answer may be lost with the connection.
    assert not received or received.startswith(b"HTTP/1.1 " + status), received[:200]
    is_well(service)


def test_a_trailer_is_no_header_of_the_request(service):
    """What comes after the body must not say who asks. So small a request is parsed to its end before its
    answer begins."""
    body = form(part("file", b"x", "cell.png"))
    request = head(None) + b"%x\r\n" % len(body) + body + b"\r\n0\r\nX-Request-ID: from-a-trailer\r\n\r\n"
    with connected(service) as connection:
        connection.sendall(request)
        received = connection.recv(65536)
    assert b"x-request-id: " in received.lower()
    assert b"from-a-trailer" not in received


def test_requests_without_end_on_one_connection_are_cut_off(service):
    with connected(service) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5000)
        received, _ = answer_of(connection)
    assert received.count(b"HTTP/1.1 200") < 5000
    is_well(service)


# By name


def _field_without_end() -> bytes:
    """CVE-2024-47874: a text field of any size was kept in memory."""
    return form(part("comment", b"a" * (9 * MIB)), part("file", IMAGE, "cell.png"))


def _lines_before_the_form() -> bytes:
    """CVE-2024-53981: each byte before the first boundary was logged."""
    return b"\r\n" * (4 * MIB) + form(part("file", IMAGE, "cell.png"))


def _bytes_after_the_form() -> bytes:
    """CVE-2024-53981: each byte after the last boundary was logged."""
    return form(part("file", IMAGE, "cell.png")) + b"a" * (8 * MIB)


def _preamble() -> bytes:
    """CVE-2026-40347: time grew with what stood before the first boundary."""
    return b"\r\n--" * (2 * MIB) + form(part("file", IMAGE, "cell.png"))


def _headers_without_number() -> bytes:
    """CVE-2026-42561: a part could have headers without number."""
    return form(part("file", IMAGE, "cell.png", tuple(b"X-%d: a" % n for n in range(400_000))))


def _header_without_end() -> bytes:
    """CVE-2026-42561: a header of a part could have any size."""
    return b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; name=" + b"a" * (9 * MIB)


@pytest.mark.parametrize(
    ("attack", "statuses"),
    [
        (_field_without_end, {400}),
        (_lines_before_the_form, {200, 400}),
        (_bytes_after_the_form, {200, 400}),
        (_preamble, {400}),
        (_headers_without_number, {400}),
        (_header_without_end, {400}),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_crafted_form_ends_soon_in_bounded_memory(
    service, attack: Callable[[], bytes], statuses: set[int], chunked: bool
):
    body = attack()
    assert len(body) > 4 * MIB
    before_mib = resident_mib(service)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(body), 65536):
            yield body[start : start + 65536]

    before_s = cpu_s(service)
    answer = httpx2.post(
        f"{service.url}/predict",
        content=pieces() if chunked else body,
        headers={"Content-Type": CONTENT_TYPE},
        timeout=60,
    )
    assert cpu_s(service) - before_s < 2
    assert answer.status_code in statuses, answer.text
    if answer.status_code == 400:
        assert answer.headers["content-type"] == "application/problem+json"
    assert resident_mib(service) - before_mib < 40
    is_well(service)


def test_large_uploads_do_not_stop_the_others(service):
    """CVE-2025-54121: an upload that grew beyond its buffer was written to disk on the event loop."""
    body = form(part("file", IMAGE + bytes(9 * MIB), "cell.png"))

    def upload() -> int:
        return httpx2.post(
            f"{service.url}/predict", content=body, headers={"Content-Type": CONTENT_TYPE}, timeout=30
        ).status_code

    longest_s = 0.0
    with ThreadPoolExecutor(4) as threads, httpx2.Client(base_url=service.url, timeout=10) as client:
        uploads = [threads.submit(upload) for _ in range(8)]
        while not all(one.done() for one in uploads):
            begun_s = time.monotonic()
            assert client.get("/livez").status_code == 200
            longest_s = max(longest_s, time.monotonic() - begun_s)
    assert {one.result() for one in uploads} <= {200, 503}
    assert longest_s < 1.0


def test_none_of_it_was_worth_a_word(service):
    """The last of this module: the log of all the attacks is short, and shows nothing of the inside."""
    code, _, err = service.stop()
    assert code == 0
    assert len(err) < 4000
    assert "Traceback" not in err
    assert "Exception in ASGI" not in err
