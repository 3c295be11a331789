"""Sends a Bundle to a FHIR server, and again where it did not arrive: ids are the same, so nothing
doubles."""

import json
from typing import Any, Final

from orchestrator.errors import PeerRefused
from orchestrator.interop.fhir import MEDIA_TYPE
from orchestrator.interop.fhir_elements import Json
from orchestrator.interop.http_peer import HttpPeer

_MAX_TOLD: Final = 500
"""Characters of a server's reasons that are repeated to a person."""


def send_bundle(server: HttpPeer, bundle: Json) -> list[str]:
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
    answer = server.asked(method, path, data, headers)
    if not 200 <= answer.status < 300:
        raise PeerRefused(
            f"The server refused the Bundle with {answer.status}: {_reasons(_document(answer.body))}"
        )
    return _places(_document(answer.body))


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
