"""What a specimen must be by its rows of the audit trail, and where what is kept differs from it.

The trail is the record, specimens and cells are what follows from it: each column that an answer or a message
is made of stands in a row of the trail, itself or in a digest (SHA-256 of one canonical text). Rows of
versions before digests lack those; of them the values that they name are compared all the same.
"""

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from sqlalchemy import Row

from orchestrator.store.base import AuditEntry
from orchestrator.store.tables import SEARCHED

CLOSING: Final = {"signed": "signed", "cancelled": "cancelled"}
"""Actions that end a specimen, and the state that each leaves."""

ADDED: Final = "added"
"""What a person does who draws a cell of a field."""

_RECORDED: Final = {"analysed": "analysed", "failed": "failed", SEARCHED: SEARCHED, ADDED: "analysed"}
"""Actions after which a cell is not waiting, and the state that each leaves."""


COMMENTED: Final = ("commented", "addendum")
"""Actions that add a comment; the second one after the signature."""


class CommentRow(NamedTuple):
    """A row of the comments, its text deciphered."""

    number: int
    cell_id: str | None
    person: str
    said_at: str
    text: str
    is_addendum: int

    def digest(self) -> str:
        """Of all that it says."""
        return _digest(self)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the tables hold of one specimen: its row, the laboratory's name of it deciphered, its cells by
    number without their images, the keys under which it was ordered: one or none; and what was written about
    it, by number."""

    row: Row[Any]
    specimen_id: str
    cells: Sequence[Row[Any]]
    keys: Sequence[tuple[str, str, str]]
    """Actor, idempotency key, fingerprint."""
    comments: Sequence[CommentRow] = ()

    @property
    def ordered(self) -> Sequence[Row[Any]]:
        """Of the cells those that were sent."""
        return [cell for cell in self.cells if cell.found_in is None]

    def found_digest(self, number: int, added: Collection[str] = ()) -> str:
        """Of what was found in the field of this number, without what persons ``added``, by their ids."""
        found = [cell for cell in self.cells if cell.found_in == number and cell.cell_id not in added]
        return _digest([_image(cell) for cell in found])

    def order_digest(self) -> str:
        """Of what was ordered."""
        row = self.row
        cells = [_image(cell) for cell in self.ordered]
        order = [row.differential_id, self.specimen_id, row.total_wbc, row.profile, row.tta, *_kind(row.kind)]
        return _digest([*order, row.created_by, row.created_at, cells, list(self.keys)])

    def closing_digest(self) -> str:
        """Of the whole as it was signed or cancelled."""
        row = self.row
        cells = [_cell_parts(cell) for cell in self.cells]
        return _digest([self.order_digest(), row.state, row.signed_by, row.signed_at, cells])


def cell_digest(cell: Row[Any]) -> str:
    """Of a cell and what was decided about it."""
    return _digest(_cell_parts(cell))


def added_digest(cell: Row[Any]) -> str:
    """Of a cell that a person added: its image and its field."""
    return _digest([*_image(cell), cell.found_in])


def text_digest(text: str) -> str:
    """Of a result's document, or of the words of a failure."""
    return hashlib.sha256(text.encode()).hexdigest()


def order_fingerprint(
    specimen_id: str,
    total_wbc: float | None,
    profile: str | None,
    tta: str | None,
    kind: str | None,
    hashes: Sequence[str],
) -> str:
    """Of an order and its images, whoever orders them and when; ``kind`` is None where each is a cell."""
    asked = [specimen_id, total_wbc, profile, tta, list(hashes), *_kind(kind)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def is_older(trail: Sequence[AuditEntry]) -> bool:
    """Whether the specimen of these rows was closed before digests were kept."""
    return any(entry.action in CLOSING and "digest" not in entry.details for entry in trail)


def differences(kept: Kept, trail: Sequence[AuditEntry]) -> Iterator[str]:
    """Where the tables differ from the rows of the trail about this specimen, in words."""
    yield from order_differences(kept, trail)
    of_cells: dict[str, list[AuditEntry]] = {}
    for entry in trail:
        if entry.cell_id is not None:
            of_cells.setdefault(entry.cell_id, []).append(entry)
    for cell in kept.cells:
        for what in _cell_differences(cell, of_cells.get(cell.cell_id, ())):
            yield f"cell {cell.number}: {what}"
    assigned = next((entry for entry in reversed(trail) if entry.action in ("assigned", "given_back")), None)
    if kept.row.assignee != (None if assigned is None else assigned.details.get("assignee")):
        yield "who has taken it is not what the trail says"
    yield from _comment_differences(kept, trail)
    yield from _closing_differences(kept, trail)


def order_differences(kept: Kept, trail: Sequence[AuditEntry]) -> Iterator[str]:
    """The same of what was ordered, the images that came with it and those that were found in them; of its
    cells no more is looked at."""
    ordered = next((entry for entry in trail if entry.action == "ordered"), None)
    if ordered is None:
        yield "no row of the trail tells of its order"
        return
    row, place = kept.row, f"row {ordered.sequence}"
    hashes = [cell.image_sha256 for cell in kept.ordered]
    asked = order_fingerprint(kept.specimen_id, row.total_wbc, row.profile, row.tta, row.kind, hashes)
    if asked != ordered.details.get("order"):
        yield f"what was ordered, or its images, are not those of {place}"
    elif (row.created_by, row.created_at) != (ordered.actor, ordered.at.isoformat()):
        yield f"who ordered it, or when, is not what {place} says"
    elif any((actor, fingerprint) != (ordered.actor, asked) for actor, _, fingerprint in kept.keys):
        yield f"the key of its order belongs to another than that of {place}"
    elif "digest" in ordered.details and ordered.details["digest"] != kept.order_digest():
        yield f"the ids of its cells, or the key of its order, are not those of {place}"
    numbers = {cell.cell_id: cell.number for cell in kept.ordered}
    added = {entry.cell_id or "": entry for entry in trail if entry.action == ADDED}
    drawn = {cell.cell_id: added_digest(cell) for cell in kept.cells if cell.cell_id in added}
    for cell_id, entry in added.items():
        if drawn.get(cell_id) != entry.details.get("digest"):
            yield f"the cell that a person added is not that of row {entry.sequence}"
    searched = {numbers.get(entry.cell_id or ""): entry for entry in trail if entry.action == SEARCHED}
    for number, entry in searched.items():
        if number is not None and entry.details.get("digest") != kept.found_digest(number, added):
            yield f"the cells of field {number} are not those of row {entry.sequence}"
    if any(cell.found_in is not None and cell.found_in not in searched for cell in kept.cells):
        yield "it has cells of a field of which no row of the trail tells"


def _cell_differences(cell: Row[Any], trail: Sequence[AuditEntry]) -> Iterator[str]:
    recorded = next((entry for entry in trail if entry.action in _RECORDED), None)
    decided = next((entry for entry in reversed(trail) if entry.action in ("decided", "undecided")), None)
    if cell.state != ("waiting" if recorded is None else _RECORDED[recorded.action]):
        yield f"its state is {cell.state}, which no row of the trail says"
        return
    said = {} if recorded is None else recorded.details
    result = None if cell.result is None else text_digest(cell.result)
    if result != said.get("result"):
        yield "its result is not the one that was recorded"
    failure = None if cell.failure is None else text_digest(cell.failure)
    words_are_known = recorded is None or recorded.action != "failed" or "failure" in said
    if failure != said.get("failure") and words_are_known:
        yield "the reason why it failed is not the one that was recorded"
    found = (cell.label, cell.decided_by, cell.decided_at)
    if decided is None or decided.action == "undecided":
        if found != (None, None, None):
            yield "it has a decision, which no row of the trail says"
        return
    place = f"row {decided.sequence}"
    when = decided.at.isoformat() if "digest" in decided.details else cell.decided_at
    if found != (decided.details.get("label"), decided.actor, when):
        yield f"the decision about it is not that of {place}"
    is_newest = recorded is None or recorded.sequence < decided.sequence
    if is_newest and decided.details.get("digest", cell_digest(cell)) != cell_digest(cell):
        yield f"what was decided about in {place} is not what is kept"


def _comment_differences(kept: Kept, trail: Sequence[AuditEntry]) -> Iterator[str]:
    told = [entry for entry in trail if entry.action in COMMENTED]
    for comment, entry in zip(kept.comments, told, strict=False):
        if comment.digest() != entry.details.get("digest"):
            yield f"comment {comment.number} is not that of row {entry.sequence}"
    if len(kept.comments) != len(told):
        yield f"it has {len(kept.comments)} comments, and the trail tells of {len(told)}"


def _closing_differences(kept: Kept, trail: Sequence[AuditEntry]) -> Iterator[str]:
    row = kept.row
    closing = next((entry for entry in reversed(trail) if entry.action in CLOSING), None)
    signature = (row.signed_by, row.signed_at)
    if closing is None:
        waits = any(cell.state == "waiting" for cell in kept.cells)
        if row.state not in (("waiting", "running") if waits else ("analysed",)):
            yield f"its state is {row.state}, which no row of the trail says"
        if signature != (None, None):
            yield "it has a signature, which no row of the trail says"
        return
    place = f"row {closing.sequence}"
    if row.state != CLOSING[closing.action]:
        yield f"its state is {row.state}, and by {place} it is {CLOSING[closing.action]}"
    elif signature != ((closing.actor, closing.at.isoformat()) if row.state == "signed" else (None, None)):
        yield f"its signature is not that of {place}"
    elif closing.details.get("digest", kept.closing_digest()) != kept.closing_digest():
        yield f"it is not what was {row.state} in {place}"


def _cell_parts(cell: Row[Any]) -> list[Any]:
    result = None if cell.result is None else text_digest(cell.result)
    decision = [cell.label, cell.decided_by, cell.decided_at]
    return [cell.cell_id, cell.number, cell.image_sha256, cell.state, result, cell.failure, *decision]


def _image(cell: Row[Any]) -> list[Any]:
    return [cell.cell_id, cell.number, cell.image_sha256]


def _kind(kind: str | None) -> list[str]:
    """Nothing of an order as those before there were others."""
    return [] if kind is None else [kind]


def _digest(parts: Sequence[Any]) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
