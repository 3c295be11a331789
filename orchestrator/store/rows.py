"""Rows of the tables as the values that they keep."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from orchestrator.specimen import (
    CellDecision,
    Comment,
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenField,
    SpecimenOrder,
)
from orchestrator.store.base import AuditEntry
from orchestrator.store.documents import place_of, result_of
from orchestrator.store.tables import SEARCHED
from orchestrator.store.trail_replay import CommentRow, Kept


def specimen_of(kept: Kept) -> Specimen:
    """A specimen with its cells."""
    row = kept.row
    cells = tuple(cell_of(cell) for cell in kept.cells if cell.state != SEARCHED)
    return Specimen(
        differential_id=row.differential_id,
        order=SpecimenOrder(kept.specimen_id, row.total_wbc, row.profile, row.tta, row.kind or "cell"),
        state=row.state,
        created_by=row.created_by,
        created_at=datetime.fromisoformat(row.created_at),
        cells=cells,
        fields=tuple(_with_added(field_of(cell), cells) for cell in kept.cells if cell.state == SEARCHED),
        signature=signature_of(row),
        version=row.version,
        assignee=row.assignee,
        comments=tuple(comment_of(comment) for comment in kept.comments),
    )


def signature_of(row: Row[Any]) -> Signature | None:
    """The signature of a specimen; None where nobody has signed it."""
    if row.signed_by is None:
        return None
    return Signature(row.signed_by, datetime.fromisoformat(row.signed_at))


def comment_of(row: CommentRow) -> Comment:
    """What a person wrote."""
    return Comment(
        row.number,
        row.cell_id,
        row.person,
        datetime.fromisoformat(row.said_at),
        row.text,
        bool(row.is_addendum),
    )


def cell_of(row: Row[Any]) -> SpecimenCell:
    """A cell and what was decided about it."""
    return SpecimenCell(
        cell_id=row.cell_id,
        number=row.number,
        image_sha256=row.image_sha256,
        state=row.state,
        result=None if row.result is None else result_of(row.result),
        failure=row.failure,
        decision=None
        if row.label is None
        else CellDecision(row.label, row.decided_by, datetime.fromisoformat(row.decided_at)),
        version=row.version,
        place=None if row.found_in is None else place_of(row.result),
    )


def field_of(row: Row[Any]) -> SpecimenField:
    """A field whose cells have rows of their own."""
    said = json.loads(row.result)
    size = (said["image_size"][0], said["image_size"][1])
    return SpecimenField(row.cell_id, row.number, row.image_sha256, size, said["red_cell_px"], said["cells"])


def _with_added(field: SpecimenField, cells: Sequence[SpecimenCell]) -> SpecimenField:
    places = [cell.place for cell in cells if cell.place is not None]
    added = sum(place.number == field.number and place.added_by is not None for place in places)
    return replace(field, cells=field.cells + added)


def entry_of(row: Row[Any]) -> AuditEntry:
    """A row of the audit trail; one that was made unreadable has the least of times."""
    try:
        at, details = datetime.fromisoformat(row.at), dict(json.loads(row.details))
    except (ValueError, TypeError):  # changed by others; so is its hash
        at, details = datetime.min, {"unreadable": str(row.details)}
    return AuditEntry(**{**row._mapping, "at": at, "details": details})
