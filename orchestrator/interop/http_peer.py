"""A laboratory's HTTP server: where it is, how long it is waited for and how often it is asked."""

import base64
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from orchestrator.errors import PeerUnavailable

if TYPE_CHECKING:
    import httpx2

_BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses after which it is asked again."""


class Answer(NamedTuple):
    """What a server said: any status but one of a busy server, and as much of its body as is looked at."""

    status: int
    body: bytes
    headers: Mapping[str, str] = MappingProxyType({})
    """By their names in any case."""


@dataclass(frozen=True, slots=True)
class HttpPeer:
    """Where to send to. ``base_url`` is such as ``https://host/fhir``; ``authorization`` is the value of that
    header. ``sleep`` waits between the attempts.

    Raises ``ValueError`` where the address is none, or it is to be asked less than once.
    """

    base_url: str
    authorization: str | None = None
    tls: ssl.SSLContext | None = None
    timeout_s: float = 30.0
    attempts: int = 4
    backoff_s: float = 0.5
    longest_wait_s: float = 30.0
    max_answer_bytes: int = 4 * 2**20
    sleep: Callable[[float], object] = time.sleep

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url: expected http://host/path or https://host/path")
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, received {self.attempts}")

    def asked(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Ask until there is an answer. A redirection is one: followed, it would take results, and the
        credential, to where nobody meant to send them. Blocks; call it in a thread.

        Raises :class:`~orchestrator.errors.PeerUnavailable`: no attempt got an answer, or the server was busy
        in each.
        """
        import httpx2  # not for a process that serves

        sent = {"Accept-Encoding": "identity", **(headers or {})}  # what is bounded is what arrives
        if self.authorization is not None:
            sent["Authorization"] = self.authorization
        url = self.base_url.rstrip("/") + path
        trusted = self.tls or ssl.create_default_context()  # the system's authorities; httpx2 has its own
        with httpx2.Client(headers=sent, verify=trusted, timeout=self.timeout_s) as client:
            for attempt in range(1, self.attempts + 1):
                wait_s = self.wait_s(attempt)
                try:
                    with client.stream(method, url, content=data) as response:
                        if response.status_code not in _BUSY:
                            return Answer(response.status_code, self._beginning(response), response.headers)
                        wait_s = self.wait_s(attempt, response.headers)
                        why = f"was busy in {attempt} attempts ({response.status_code})"
                except (httpx2.HTTPError, httpx2.InvalidURL) as error:
                    why = f"did not answer in {attempt} attempts ({type(_first_cause(error)).__name__})"
                if attempt < self.attempts:
                    self.sleep(wait_s)
        raise PeerUnavailable(f"The server {why}.")

    def wait_s(self, attempt: int, headers: Mapping[str, str] = MappingProxyType({})) -> float:
        """Seconds before the attempt after this one (from 1): what the server asks for, or ever longer."""
        asked_s = _retry_after_s(headers)
        return min(self.backoff_s * 2.0 ** (attempt - 1) if asked_s is None else asked_s, self.longest_wait_s)

    def _beginning(self, response: "httpx2.Response") -> bytes:
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > self.max_answer_bytes:
                break
        return bytes(body[: self.max_answer_bytes])


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """``Retry-After`` (RFC 9110, 10.2.3) in seconds; None where there is none to heed.

    It is a number of seconds or a date, which counts from the server's own: clocks differ.
    """
    asked = headers.get("Retry-After", "")
    if asked.isdecimal():
        return float(asked)
    until = _date(asked)
    if until is None:
        return None
    wait_s = (until - (_date(headers.get("Date", "")) or datetime.now(UTC))).total_seconds()
    return wait_s if wait_s > 0 else None


def _date(text: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # of a year, or a zone, that there is not
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _first_cause(error: BaseException) -> BaseException:
    """What the socket or TLS said, which tells a person more than the words of the libraries above."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    return error


def authorization_of(secret: str) -> str:
    """The header's value for ``user:password`` (RFC 7617), or else a bearer's token, which has no colon.

    Raises ``ValueError`` where the secret is empty or not ASCII.
    """
    if not secret or not secret.isascii() or not secret.isprintable():
        raise ValueError("expected a credential of printable ASCII characters")
    if ":" in secret:
        return f"Basic {base64.b64encode(secret.encode()).decode()}"
    return f"Bearer {secret}"
