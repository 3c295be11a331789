"""Sends a Bundle to a FHIR server, and again where it did not arrive: ids are the same, so nothing
doubles."""

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message as Headers
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.errors import PeerRefused, PeerUnavailable
from orchestrator.interop.fhir import MEDIA_TYPE
from orchestrator.interop.fhir_elements import Json

_AGAIN: Final = frozenset({429, 502, 503, 504})
_MAX_ANSWER_BYTES: Final = 4 * 2**20
_MAX_TOLD: Final = 500
"""Characters of a server's reasons that are repeated to a person."""


@dataclass(frozen=True, slots=True)
class FhirServer:
    """Where to send to. ``base_url`` is its base, such as ``https://host/fhir``; ``token`` is a bearer's."""

    base_url: str
    token: str | None = None
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


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would take the results, and the token, to where nobody meant to send them."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def send_bundle(
    server: FhirServer, bundle: Json, *, sleep: Callable[[float], object] = time.sleep
) -> list[str]:
    """Send a Bundle: a transaction to the base, any other as a resource under its id.

    Returns where the server put things, as far as it tells.

    Blocks; call it in a thread.

    Raises:
        PeerRefused: the server understood and did not take it.
        PeerUnavailable: no attempt got an answer, or the server was busy in each.
    """
    base = server.base_url.rstrip("/")
    is_transaction = bundle.get("type") == "transaction"
    request = urllib.request.Request(
        base if is_transaction else f"{base}/Bundle/{bundle['id']}",
        data=json.dumps(bundle, ensure_ascii=False).encode(),
        headers={"Content-Type": f"{MEDIA_TYPE}; charset=utf-8", "Accept": MEDIA_TYPE},
        method="POST" if is_transaction else "PUT",
    )
    if server.token is not None:
        request.add_unredirected_header("Authorization", f"Bearer {server.token}")
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPSHandler(context=server.tls))
    for attempt in range(1, server.attempts + 1):
        is_last = attempt == server.attempts
        wait_s = min(server.backoff_s * 2.0 ** (attempt - 1), server.longest_wait_s)
        try:
            with opener.open(request, timeout=server.timeout_s) as response:
                return _places(_document(response.read(_MAX_ANSWER_BYTES)))
        except urllib.error.HTTPError as error:
            with error:
                told = _reasons(_document(error.read(_MAX_ANSWER_BYTES)))
            if error.code not in _AGAIN:
                raise PeerRefused(f"The server refused the Bundle with {error.code}: {told}") from error
            if is_last:
                raise PeerUnavailable(f"The server was busy in {attempt} attempts ({error.code}).") from error
            wait_s = _asked_wait_s(error.headers, wait_s, server.longest_wait_s)
        except (OSError, HTTPException) as error:  # URLError and TimeoutError are OSErrors
            if is_last:
                reason = getattr(error, "reason", None) or error
                raise PeerUnavailable(
                    f"The server did not answer in {attempt} attempts ({type(reason).__name__})."
                ) from error
        sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


def _asked_wait_s(headers: Headers, otherwise_s: float, longest_s: float) -> float:
    asked = headers.get("Retry-After", "")
    return min(float(asked), longest_s) if asked.isdecimal() else otherwise_s


def _document(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _places(document: Any) -> list[str]:
    """The locations in a transaction's response."""
    entries = document.get("entry") if isinstance(document, dict) else None
    found: list[str] = []
    for entry in entries if isinstance(entries, list) else []:
        response = entry.get("response") if isinstance(entry, dict) else None
        location = response.get("location") if isinstance(response, dict) else None
        if isinstance(location, str):
            found.append(location)
    return found


def _reasons(document: Any) -> str:
    """The texts of an OperationOutcome."""
    issues = document.get("issue") if isinstance(document, dict) else None
    found: list[str] = []
    for issue in issues if isinstance(issues, list) else []:
        if isinstance(issue, dict):
            details = issue.get("details")
            text = issue.get("diagnostics") or (details.get("text") if isinstance(details, dict) else None)
            found += [text] if isinstance(text, str) else []
    return "; ".join(found)[:_MAX_TOLD] or "no reason was given"
