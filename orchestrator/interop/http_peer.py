"""A laboratory's HTTP server: where it is, how long it is waited for and how often it is asked."""

import base64
import ssl
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

BUSY: Final = frozenset({429, 502, 503, 504})
"""Statuses after which it is asked again."""

_MAX_ANSWER_BYTES: Final = 4 * 2**20


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take results, and the credential, to where nobody meant to send them."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class HttpPeer:
    """Where to send to. ``base_url`` is such as ``https://host/fhir``; ``authorization`` is the value of that
    header.

    Raises ``ValueError`` where the address is none, or it is to be asked less than once.
    """

    base_url: str
    authorization: str | None = None
    tls: ssl.SSLContext | None = None
    timeout_s: float = 30.0
    attempts: int = 4
    backoff_s: float = 0.5
    longest_wait_s: float = 30.0

    def __post_init__(self) -> None:
        parts = urlsplit(self.base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("base_url: expected http://host/path or https://host/path")
        if self.attempts < 1:
            raise ValueError(f"attempts: expected at least 1, received {self.attempts}")

    def sent(self, method: str, path: str, data: bytes, headers: Mapping[str, str]) -> tuple[int, bytes]:
        """Send one request; the answer's status and the beginning of its body. Blocks.

        Raises:
            urllib.error.HTTPError: a status that is no success; it is to be closed.
            OSError, http.client.HTTPException: no answer.
        """
        request = urllib.request.Request(
            self.base_url.rstrip("/") + path, data=data, headers=dict(headers), method=method
        )
        if self.authorization is not None:
            request.add_unredirected_header("Authorization", self.authorization)
        opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=self.tls))
        with opener.open(request, timeout=self.timeout_s) as response:
            return response.status, beginning(response)

    def wait_s(self, attempt: int, retry_after: str | None = None) -> float:
        """Seconds before the attempt after this one (from 1): what the server asks for, or ever longer."""
        is_asked = retry_after is not None and retry_after.isdecimal()
        wait_s = float(retry_after or 0) if is_asked else self.backoff_s * 2.0 ** (attempt - 1)
        return min(wait_s, self.longest_wait_s)


def beginning(body: Any) -> bytes:
    """As much of an answer as is looked at."""
    return bytes(body.read(_MAX_ANSWER_BYTES))


def authorization_of(secret: str) -> str:
    """The header's value for ``user:password`` (RFC 7617), or else a bearer's token, which has no colon.

    Raises ``ValueError`` where the secret is empty or not ASCII.
    """
    if not secret or not secret.isascii() or not secret.isprintable():
        raise ValueError("expected a credential of printable ASCII characters")
    if ":" in secret:
        return f"Basic {base64.b64encode(secret.encode()).decode()}"
    return f"Bearer {secret}"
