"""Stores DICOM objects in an archive by STOW-RS (PS3.18, 10.5), each until it is taken or refused for good.

Identifiers are derived from what an object holds, so that one which is sent twice is there once, and an
archive that keeps the first object of an identifier has no other content under it. What is stored is what
the Store Instances Response Module (10.5.3) says, whatever the status; :func:`found` asks by QIDO-RS (10.6).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Protocol

from orchestrator.errors import PeerRefused, PeerUnavailable, PeerUnconfirmed
from orchestrator.interop.http_answers import NO_REASON, document_of, reason_of, what_came
from orchestrator.interop.http_peer import Answer, HttpPeer

_BOUNDARY_TEXT: Final = "wbc-analyzer-7c4f1e0a9b"
_JSON: Final = "application/dicom+json"

_MALFORMED: Final = frozenset({400, 413, 422})
"""Something in the request cannot be taken."""

_NONE_STORED: Final = 409
"""The body says why."""

_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)
"""Failure reasons (PS3.18, table 10.5.3-2) that pass."""

_DUPLICATE: Final = 0x0111
"""The archive has it already, as where the answer to an earlier attempt was lost."""

_REASONS: Final = {
    0x0105: "no such attribute",
    0x0106: "invalid attribute value",
    0x0107: "attribute list error",
    0x0110: "processing failure",
    0x0111: "duplicate SOP instance",
    0x0112: "no such object instance",
    0x0117: "invalid object instance",
    0x0118: "no such SOP class",
    0x0119: "class and instance conflict",
    0x0120: "missing attribute",
    0x0121: "missing attribute value",
    0x0122: "SOP class not supported",
    0x0124: "not authorized",
    0x0213: "resource limitation",
    0xC122: "transfer syntax not supported",
}
"""Failure reasons in words (PS3.18, table 10.5.3-2; PS3.7, annex C)."""

_RANGES: Final = (
    (_OUT_OF_RESOURCES, "out of resources"),
    (range(0xA900, 0xAA00), "the data set does not match its SOP class"),
    (range(0xC000, 0xD000), "the archive cannot understand it"),
)

_REFERENCED, _FAILED, _OTHER_FAILURES = "00081199", "00081198", "0008119A"
_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"
_SOP_INSTANCE = "00080018"
_PADDING: Final = " \0"
"""What makes the length of an identifier even in a file, and stays in some archives' JSON."""
_MODULE: Final = b'"0008119'
"""Stands in every answer that has one of the lists."""

_MAX_REQUEST_BYTES: Final = 16 * 2**20


class Sendable(Protocol):
    """A DICOM object as a file, and its identifier."""

    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object. ``failure`` is the code of the archive's reason, 0 where it has none;
    ``unconfirmed`` is what the archive answered where that says nothing of the object. It is stored where
    both are None. ``said`` are the archive's words, where it has any; ``warning`` is the code of what it
    changed in a stored one."""

    sop_instance_uid: str
    failure: int | None = None
    warning: int | None = None
    unconfirmed: str | None = None
    said: str = ""

    @property
    def is_stored(self) -> bool:
        return self.failure is None and self.unconfirmed is None

    @property
    def words(self) -> str:
        """Why it is not stored."""
        if self.unconfirmed is not None:
            return f"not confirmed: {self.unconfirmed}"
        return self.said or _failure_words(self.failure or 0)


def store(server: HttpPeer, objects: Sequence[Sendable]) -> list[Outcome]:
    """Send the objects, in requests of some MiB; what became of each, in their order.

    Where the archive goes away in the middle, what it has is told as stored and the rest as failed. Blocks;
    call it in a thread.

    Raises:
        PeerRefused: the server understood the first request and takes none of this kind, or not of us.
        PeerUnavailable: no attempt got an answer, or the server was busy in each.
    """
    known: dict[str, Outcome] = {}
    lost = ""
    try:
        for batch in _batches(objects):
            known |= _store_batch(server, batch)
    except (PeerRefused, PeerUnavailable) as error:
        if not known:
            raise
        lost = str(error)
    return [
        known.get(one.sop_instance_uid, Outcome(one.sop_instance_uid, unconfirmed=lost)) for one in objects
    ]


def found(server: HttpPeer, outcomes: Sequence[Outcome]) -> list[Outcome]:
    """The outcomes again, stored only where a search in the archive (QIDO-RS) finds the object.

    One that the archive said nothing of, and has, is stored. What is not there at once is asked for again,
    as some archives index later. Blocks; call it in a thread.

    Raises:
        PeerRefused: the archive takes no searches.
        PeerUnconfirmed: its answer is none of a search.
        PeerUnavailable: no attempt got an answer, or the archive was busy in each.
    """
    return [_found(server, one) if one.is_stored else _found_after_all(server, one) for one in outcomes]


def _found_after_all(server: HttpPeer, outcome: Outcome) -> Outcome:
    """Of one that is not known to be stored; where the search fails as well, that is all that is known."""
    try:
        return _found(server, outcome)
    except (PeerRefused, PeerUnconfirmed, PeerUnavailable):
        return outcome


def _found(server: HttpPeer, outcome: Outcome) -> Outcome:
    uid = outcome.sop_instance_uid
    attempts = server.attempts if outcome.is_stored else 1
    for attempt in range(1, attempts + 1):
        answer = server.asked("GET", f"/instances?SOPInstanceUID={uid}", headers={"Accept": _JSON})
        if uid in _searched(answer):
            return Outcome(uid, warning=outcome.warning)
        if attempt < attempts:
            server.sleep(server.wait_s(attempt))
    if not outcome.is_stored:
        return outcome
    return Outcome(uid, unconfirmed="the archive said that it stored it, and does not find it")


def _searched(answer: Answer) -> set[str]:
    """The instances that a search found."""
    if answer.status == HTTPStatus.NO_CONTENT:  # as earlier editions of the standard had it
        return set()
    if not 200 <= answer.status < 300:
        raise PeerRefused(f"The archive refused the search with {answer.status}: {reason_of(answer)}")
    document = document_of(answer)
    if not isinstance(document, list):
        raise PeerUnconfirmed(f"The archive did not answer the search: it answered {what_came(answer)}.")
    found = (uid for item in document for uid in _values(item, _SOP_INSTANCE) if isinstance(uid, str))
    return {uid.strip(_PADDING) for uid in found}


def _batches(objects: Sequence[Sendable]) -> Iterator[list[Sendable]]:
    batch: list[Sendable] = []
    held = 0
    for one in objects:
        if batch and held + len(one.data) > _MAX_REQUEST_BYTES:
            yield batch
            batch, held = [], 0
        batch.append(one)
        held += len(one.data)
    if batch:
        yield batch


def _store_batch(server: HttpPeer, batch: Sequence[Sendable]) -> dict[str, Outcome]:
    """Send until each is stored or refused for good; those that found no room go again alone."""
    settled: dict[str, Outcome] = {}
    for attempt in range(1, server.attempts + 1):
        boundary = _boundary(batch)
        kind = f'multipart/related; type="application/dicom"; boundary={boundary}'
        headers = {"Content-Type": kind, "Accept": _JSON}
        answer = server.asked("POST", "/studies", _body(batch, boundary), headers)
        outcomes = list(_outcomes(answer, batch))
        if answer.status in _MALFORMED:
            settled |= {outcome.sop_instance_uid: outcome for outcome in outcomes if outcome.is_stored}
            others = [one for one in batch if one.sop_instance_uid not in settled]
            return settled | _store_alone(server, others, answer)
        if not (200 <= answer.status < 300 or answer.status == _NONE_STORED):
            raise PeerRefused(f"The archive refused the objects with {answer.status}: {reason_of(answer)}")
        settled |= {outcome.sop_instance_uid: outcome for outcome in outcomes}
        batch = [one for one in batch if settled[one.sop_instance_uid].failure in _OUT_OF_RESOURCES]
        if not batch:
            break
        if attempt < server.attempts:
            server.sleep(server.wait_s(attempt))
    return settled


def _store_alone(server: HttpPeer, batch: Sequence[Sendable], answer: Answer) -> dict[str, Outcome]:
    """Each in a request of its own: some archives refuse all of a request for one that they cannot read."""
    if len(batch) == 1:
        (outcome,) = _outcomes(answer, batch)
        return {outcome.sop_instance_uid: outcome}
    settled: dict[str, Outcome] = {}
    for one in batch:
        settled |= _store_batch(server, [one])
    return settled


def _boundary(batch: Sequence[Sendable]) -> str:
    """One that stands in no object; they are binary, and may hold anything."""
    number = 0
    while any(f"--{_BOUNDARY_TEXT}{number}".encode() in one.data for one in batch):
        number += 1
    return f"{_BOUNDARY_TEXT}{number}"


def _body(batch: Sequence[Sendable], boundary: str) -> bytes:
    head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + one.data + b"\r\n" for one in batch) + f"--{boundary}--\r\n".encode()


def _outcomes(answer: Answer, batch: Sequence[Sendable]) -> Iterator[Outcome]:
    """By the lists of the Store Instances Response Module; one in neither is not known to be stored."""
    document = document_of(answer)
    stored = _listed(document, _REFERENCED, _WARNING)
    failed = _listed(document, _FAILED, _FAILURE)
    others = [reason for item in _values(document, _OTHER_FAILURES) for reason in _values(item, _FAILURE)]
    is_success, is_module = 200 <= answer.status < 300, _MODULE in answer.body
    for one in batch:
        uid = one.sop_instance_uid
        if failed.get(uid) == _DUPLICATE:
            yield Outcome(uid)
        elif uid in failed:
            yield Outcome(uid, failure=failed[uid] or 0)
        elif uid in stored:
            yield Outcome(uid, warning=stored[uid])
        elif others and isinstance(others[0], int):  # of an object that the archive could not even name
            yield Outcome(uid, failure=others[0])
        elif is_success:
            came = "its answer does not name it" if is_module else f"it answered {what_came(answer)}"
            yield Outcome(uid, unconfirmed=came)
        else:
            reason = NO_REASON if is_module else reason_of(answer)
            yield Outcome(uid, failure=0, said=f"{answer.status}: {reason}")


def _failure_words(code: int) -> str:
    """A failure reason by its name in the standard and its number."""
    if not code:
        return NO_REASON
    name = _REASONS.get(code) or next((name for codes, name in _RANGES if code in codes), "")
    return f"{name} (reason {code:04X})" if name else f"reason {code:04X}"


def _listed(document: Any, sequence: str, reason: str) -> Mapping[str, int | None]:
    """The instances in a sequence of a DICOM JSON document, each with its reason where it has one."""
    found: dict[str, int | None] = {}
    for item in _values(document, sequence):
        uids, reasons = _values(item, _INSTANCE), _values(item, reason)
        if uids and isinstance(uids[0], str):
            found[uids[0].strip(_PADDING)] = reasons[0] if reasons and isinstance(reasons[0], int) else None
    return found


def _values(document: Any, tag: str) -> list[Any]:
    if isinstance(document, list):  # some archives wrap the data set, or have one for each study
        return [value for one in document if isinstance(one, dict) for value in _values(one, tag)]
    element = document.get(tag) if isinstance(document, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
