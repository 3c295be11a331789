"""Stores DICOM objects in an archive by STOW-RS (PS3.18, 10.5), each until it is taken or refused for good.

Identifiers are derived from what an object holds, so that one which is sent twice is there once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from orchestrator.errors import PeerRefused, PeerUnavailable
from orchestrator.interop.http_peer import HttpPeer

_BOUNDARY_TEXT: Final = "wbc-analyzer-7c4f1e0a9b"
_JSON: Final = "application/dicom+json"

_ANSWERED: Final = frozenset({200, 202, 409})
"""All were stored; some; none. The body says which."""

_MALFORMED: Final = frozenset({400, 413, 422})
"""Something in the request cannot be taken."""

_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)
"""Failure reasons (PS3.18, table 10.5.3-2) that pass."""

_DUPLICATE: Final = 0x0111
"""The archive has it already, as where the answer to an earlier attempt was lost."""

_REFERENCED, _FAILED = "00081199", "00081198"
_INSTANCE, _FAILURE, _WARNING = "00081155", "00081197", "00081196"

_MAX_REQUEST_BYTES: Final = 16 * 2**20


class Sendable(Protocol):
    """A DICOM object as a file, and its identifier."""

    @property
    def sop_instance_uid(self) -> str: ...
    @property
    def data(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one object. ``failure`` is the reason's code, 0 where none was told; None where it is
    stored. ``warning`` is the code of what the archive changed in a stored one."""

    sop_instance_uid: str
    failure: int | None = None
    warning: int | None = None

    @property
    def is_stored(self) -> bool:
        return self.failure is None


def store(server: HttpPeer, objects: Sequence[Sendable]) -> list[Outcome]:
    """Send the objects, in requests of some MiB; what became of each, in their order.

    Where the archive goes away in the middle, what it has is told as stored and the rest as failed. Blocks;
    call it in a thread.

    Raises:
        PeerRefused: the server understood the first request and takes none of this kind, or not of us.
        PeerUnavailable: no attempt got an answer, or the server was busy in each.
    """
    known: dict[str, Outcome] = {}
    try:
        for batch in _batches(objects):
            known |= _store_batch(server, batch)
    except (PeerRefused, PeerUnavailable):
        if not known:
            raise
    return [known.get(one.sop_instance_uid, Outcome(one.sop_instance_uid, failure=0)) for one in objects]


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
        status, data = server.asked("POST", "/studies", _body(batch, boundary), headers)
        if status in _MALFORMED:
            return settled | _store_alone(server, batch)
        if status not in _ANSWERED:
            raise PeerRefused(f"The archive refused the objects with {status}.")
        settled |= {outcome.sop_instance_uid: outcome for outcome in _outcomes(status, data, batch)}
        batch = [one for one in batch if settled[one.sop_instance_uid].failure in _OUT_OF_RESOURCES]
        if not batch:
            break
        if attempt < server.attempts:
            server.sleep(server.wait_s(attempt))
    return settled


def _store_alone(server: HttpPeer, batch: Sequence[Sendable]) -> dict[str, Outcome]:
    """Each in a request of its own: some archives refuse all of a request for one that they cannot read."""
    if len(batch) == 1:
        uid = batch[0].sop_instance_uid
        return {uid: Outcome(uid, failure=0)}
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


def _outcomes(status: int, data: bytes, batch: Sequence[Sendable]) -> Iterator[Outcome]:
    """By the lists in the answer; an object in neither is stored where the status says that all are."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    stored = _listed(document, _REFERENCED, _WARNING)
    failed = _listed(document, _FAILED, _FAILURE)
    for one in batch:
        uid = one.sop_instance_uid
        if failed.get(uid) == _DUPLICATE:
            yield Outcome(uid)
        elif uid in failed:
            yield Outcome(uid, failure=failed[uid] or 0)
        elif uid in stored:
            yield Outcome(uid, warning=stored[uid])
        else:
            yield Outcome(uid, failure=None if status == 200 else 0)


def _listed(document: Any, sequence: str, reason: str) -> Mapping[str, int | None]:
    """The instances in a sequence of a DICOM JSON document, each with its reason where it has one."""
    found: dict[str, int | None] = {}
    for item in _values(document, sequence):
        uids, reasons = _values(item, _INSTANCE), _values(item, reason)
        if uids and isinstance(uids[0], str):
            found[uids[0]] = reasons[0] if reasons and isinstance(reasons[0], int) else None
    return found


def _values(document: Any, tag: str) -> list[Any]:
    if isinstance(document, list):  # some archives wrap the data set
        document = document[0] if document else None
    element = document.get(tag) if isinstance(document, dict) else None
    values = element.get("Value") if isinstance(element, dict) else None
    return values if isinstance(values, list) else []
