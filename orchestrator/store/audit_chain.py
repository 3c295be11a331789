"""The hash chain of the audit trail: whoever changes, removes or reorders a row breaks it from there on.

Each row's hash covers the row and the hash of the row before (Haber and Stornetta 1991, "How to time-stamp a
digital document", Journal of Cryptology 3:99-111). Who can write to the database could still compute all of
it anew: a site that fears that keeps heads of the chain elsewhere (:mod:`orchestrator.store.anchors`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from orchestrator.store.base import AuditEntry, AuditVerdict

GENESIS: Final = "0" * 64
"""What stands for the hash before the first row."""


def chained(
    sequence: int,
    at: datetime,
    actor: str,
    action: str,
    differential_id: str | None,
    cell_id: str | None,
    details: Mapping[str, str],
    previous_hash: str,
) -> AuditEntry:
    """The row with its hash."""
    row_hash = _row_hash(sequence, at, actor, action, differential_id, cell_id, details, previous_hash)
    return AuditEntry(
        sequence, at, actor, action, differential_id, cell_id, dict(details), previous_hash, row_hash
    )


def verified(
    entries: Iterable[AuditEntry], head: tuple[int, str], anchors: Mapping[int, str]
) -> AuditVerdict:
    """Whether the rows, in the order of their sequence, are all there as they were written.

    ``head`` is the number and the hash of the last row as noted beside the trail, ``anchors`` are hashes of
    rows by their number as noted elsewhere.
    """
    expected, previous = 1, GENESIS
    for entry in entries:
        if entry.sequence != expected:
            return AuditVerdict(False, expected - 1, expected, f"row {expected} is missing")
        if entry.previous_hash != previous:
            return AuditVerdict(
                False, expected - 1, expected, f"row {expected} does not follow the one before"
            )
        if entry.row_hash != hash_of(entry):
            return AuditVerdict(False, expected - 1, expected, f"row {expected} was changed")
        if anchors.get(expected, entry.row_hash) != entry.row_hash:
            why = (
                f"row {expected}, or one before it, was written anew: its hash was noted elsewhere as another"
            )
            return AuditVerdict(False, expected - 1, expected, why)
        expected, previous = expected + 1, entry.row_hash
    rows = expected - 1
    if (rows, previous) != head:
        why = f"the trail ends at row {rows}, and its head says {head[0]}"
        return AuditVerdict(False, rows, min(rows, head[0]) + 1, why)
    if any(number > rows for number in anchors):
        why = f"the trail ends at row {rows}, and row {max(anchors)} was noted elsewhere"
        return AuditVerdict(False, rows, rows + 1, why)
    return AuditVerdict(True, rows, head=previous)


def hash_of(entry: AuditEntry) -> str:
    """What the hash of a row must be."""
    return _row_hash(
        entry.sequence,
        entry.at,
        entry.actor,
        entry.action,
        entry.differential_id,
        entry.cell_id,
        entry.details,
        entry.previous_hash,
    )


def _row_hash(
    sequence: int,
    at: datetime,
    actor: str,
    action: str,
    differential_id: str | None,
    cell_id: str | None,
    details: Mapping[str, str],
    previous_hash: str,
) -> str:
    row = [sequence, at.isoformat(), actor, action, differential_id, cell_id, dict(details), previous_hash]
    # One way to write it (after RFC 8785): sorted keys, no spaces, UTF-8.
    text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
