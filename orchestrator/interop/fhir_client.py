"""Sends a Bundle to a FHIR server, and again where it did not arrive: ids are the same, so nothing
doubles.

A status of 200 is no delivery: a proxy that wants a sign-in answers with one, too. What the standard defines
as the answer decides (FHIR R4, http.html, 3.1.0.11.2).
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

from orchestrator.errors import PeerRefused, PeerUnconfirmed
from orchestrator.interop.fhir import MEDIA_TYPE
from orchestrator.interop.fhir_elements import Json
from orchestrator.interop.http_answers import (
    NO_REASON,
    document_of,
    first_words,
    is_success,
    outcome_words,
    reason_of,
    what_came,
)
from orchestrator.interop.http_peer import Answer, HttpPeer

_FAILURES_TOLD: Final = 5

_MINIMAL: Final = "return=minimal"
_DONE: Final = frozenset({200, 201, 204})


def send_bundle(server: HttpPeer, bundle: Json) -> list[str]:
    """Send a Bundle: a transaction to the base, any other as a resource under its id.

    Returns where the server put things, as far as it tells.

    Blocks; call it in a thread.

    Raises:
        PeerRefused: the server understood and did not take it, or not all of it.
        PeerUnconfirmed: the server answered with something else than a confirmation.
        PeerUnavailable: no attempt got an answer, or the server was busy in each.
    """
    is_transaction = bundle.get("type") == "transaction"
    method, path = ("POST", "") if is_transaction else ("PUT", f"/Bundle/{bundle['id']}")
    data = json.dumps(bundle, ensure_ascii=False).encode()
    headers = {"Content-Type": f"{MEDIA_TYPE}; charset=utf-8", "Accept": MEDIA_TYPE}
    if not is_transaction:  # whose answer is defined; of another, nothing that was sent has to come back
        headers["Prefer"] = _MINIMAL
    answer = server.asked(method, path, data, headers)
    if not 200 <= answer.status < 300:
        raise PeerRefused(f"The server refused the Bundle with {answer.status}: {reason_of(answer)}")
    if is_transaction:
        return _places(answer, bundle)
    if not _is_kept(answer, bundle):
        raise PeerUnconfirmed(f"The server did not confirm the Bundle: it answered {what_came(answer)}.")
    return []


def _places(answer: Answer, bundle: Json) -> list[str]:
    """The locations in a transaction's response, once it says of every entry that it is done."""
    document = document_of(answer)
    is_bundle = isinstance(document, dict) and document.get("resourceType") == "Bundle"
    responses = list(_responses(document)) if is_bundle else []
    if failures := list(_failures(responses, bundle)):
        more = len(failures) - _FAILURES_TOLD
        told = "; ".join(failures[:_FAILURES_TOLD]) + (f"; and {more} more" if more > 0 else "")
        raise PeerRefused(
            f"The server refused {len(failures)} of the {len(bundle['entry'])} entries of the Bundle: {told}"
        )
    kind = document.get("type") if is_bundle else None
    if kind != "transaction-response":
        came = f"a Bundle of type {first_words(str(kind))}" if is_bundle else what_came(answer)
        raise PeerUnconfirmed(
            f"The server did not confirm the Bundle: expected a transaction-response, it answered {came}."
        )
    if len(responses) != len(bundle["entry"]):
        raise PeerUnconfirmed(
            f"The server did not confirm the Bundle: its transaction-response answers {len(responses)} of "
            f"{len(bundle['entry'])} entries."
        )
    return [place for response in responses if isinstance(place := response.get("location"), str)]


def _responses(document: Any) -> Iterator[dict[str, Any]]:
    """The response of each entry; empty where an entry has none."""
    entries = document.get("entry")
    for entry in entries if isinstance(entries, list) else []:
        response = entry.get("response") if isinstance(entry, dict) else None
        yield response if isinstance(response, dict) else {}


def _failures(responses: list[dict[str, Any]], bundle: Json) -> Iterator[str]:
    """The entries that are not done, by number and kind, each with its status and the server's reasons."""
    for number, response in enumerate(responses, start=1):
        status = str(response.get("status", ""))
        if re.match(r"2\d\d(?!\d)", status):
            continue
        sent = (
            bundle["entry"][number - 1]["resource"]["resourceType"] if number <= len(bundle["entry"]) else "?"
        )
        reason = outcome_words(response.get("outcome")) or NO_REASON
        yield f"entry {number} ({sent}) with {first_words(status) or 'no status'}: {reason}"


def _is_kept(answer: Answer, bundle: Json) -> bool:
    """Of one resource: it came back, or an outcome without an error, or nothing, as was asked for."""
    if answer.status not in _DONE:
        return False
    if not answer.body:
        return True
    document = document_of(answer)
    kind = document.get("resourceType") if isinstance(document, dict) else None
    if kind == "OperationOutcome":
        return is_success(document)
    return kind == "Bundle" and document.get("id") == bundle["id"]
