"""Sends a Bundle to a FHIR server, and again where it did not arrive: ids are the same, so nothing
doubles."""

import json
import time
import urllib.error
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, Final

from orchestrator.errors import PeerRefused, PeerUnavailable
from orchestrator.interop.fhir import MEDIA_TYPE
from orchestrator.interop.fhir_elements import Json
from orchestrator.interop.http_peer import BUSY, HttpPeer, beginning

_MAX_TOLD: Final = 500
"""Characters of a server's reasons that are repeated to a person."""


def send_bundle(
    server: HttpPeer, bundle: Json, *, sleep: Callable[[float], object] = time.sleep
) -> list[str]:
    """Send a Bundle: a transaction to the base, any other as a resource under its id.

    Returns where the server put things, as far as it tells.

    Blocks; call it in a thread.

    Raises:
        PeerRefused: the server understood and did not take it.
        PeerUnavailable: no attempt got an answer, or the server was busy in each.
    """
    is_transaction = bundle.get("type") == "transaction"
    method, path = ("POST", "") if is_transaction else ("PUT", f"/Bundle/{bundle['id']}")
    data = json.dumps(bundle, ensure_ascii=False).encode()
    headers = {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8", "Accept": MEDIA_TYPE}
    for attempt in range(1, server.attempts + 1):
        is_last, wait_s = attempt == server.attempts, server.wait_s(attempt)
        try:
            _, answer = server.sent(method, path, data, headers)
            return _places(_document(answer))
        except urllib.error.HTTPError as error:
            with error:
                told = _reasons(_document(beginning(error)))
            if error.code not in BUSY:
                raise PeerRefused(f"The server refused the Bundle with {error.code}: {told}") from error
            if is_last:
                raise PeerUnavailable(f"The server was busy in {attempt} attempts ({error.code}).") from error
            wait_s = server.wait_s(attempt, error.headers.get("Retry-After"))
        except (OSError, HTTPException) as error:  # URLError and TimeoutError are OSErrors
            if is_last:
                reason = getattr(error, "reason", None) or error
                raise PeerUnavailable(
                    f"The server did not answer in {attempt} attempts ({type(reason).__name__})."
                ) from error
        sleep(wait_s)
    raise AssertionError("unreachable: the last attempt returns or raises")


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
