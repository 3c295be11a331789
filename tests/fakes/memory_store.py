"""A store in memory: the port's behaviour, without a database."""

import hashlib
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from types import MappingProxyType

from orchestrator.errors import (
    ChangedMeanwhile,
    CountedAlready,
    IdempotencyConflict,
    NotReady,
    SpecimenClosed,
    TooManyComments,
    UnknownCell,
    UnknownDifferential,
)
from orchestrator.specimen import (
    ANYBODY,
    BY_STATE,
    MAX_COMMENTS,
    CellDecision,
    CellResult,
    CellState,
    Comment,
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenField,
    SpecimenOrder,
    SpecimenSearch,
    SpecimenSort,
    SpecimenState,
    SpecimenSummary,
)
from orchestrator.store.base import (
    EVERYTHING,
    NOTHING,
    AuditEntry,
    AuditVerdict,
    CutOutCell,
    FoundField,
    LeasedCell,
    Recorded,
    SameCells,
    Seen,
    require_assignee,
    require_room,
)

_FINAL: tuple[SpecimenState, ...] = ("signed", "cancelled")


class MemoryStore:
    """Keeps what it is given as long as the object lives, ``start`` and ``close`` included."""

    def __init__(self, *, keeps_images: bool = True) -> None:
        self._keeps_images = keeps_images
        self._specimens: dict[str, Specimen] = {}
        self._payloads: dict[str, bytes] = {}
        self._attempts: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._leases: dict[str, float] = {}  # by the id of a cell, when its lease ends
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._trail: list[AuditEntry] = []
        self._marks: dict[str, list[tuple[str, bytes]]] = {}
        self._cursors: dict[str, tuple[SpecimenSort, tuple[int, datetime, int]]] = {}

    async def start(self) -> None:
        pass

    async def open(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def create(
        self,
        order: SpecimenOrder,
        payloads: Sequence[bytes],
        actor: str,
        idempotency_key: str | None = None,
        refused: Mapping[int, str] = NOTHING,
    ) -> tuple[Specimen, bool]:
        hashes = [hashlib.sha256(payload).hexdigest() for payload in payloads]
        fingerprint = hashlib.sha256(repr((order, hashes)).encode()).hexdigest()
        if idempotency_key is not None and (known := self._keys.get((actor, idempotency_key))):
            if known[1] != fingerprint:
                raise IdempotencyConflict("The key was used before, for another order or other images.")
            return await self.get(known[0]), False
        differential_id = uuid.uuid4().hex
        cells = tuple(
            SpecimenCell(
                uuid.uuid4().hex,
                number,
                image_sha256,
                "failed" if number in refused else "waiting",
                failure=refused.get(number),
            )
            for number, image_sha256 in enumerate(hashes, start=1)
        )
        self._payloads.update({c.cell_id: payload for c, payload in zip(cells, payloads, strict=True)})
        state: SpecimenState = "waiting" if len(refused) < len(cells) else "analysed"
        specimen = Specimen(differential_id, order, state, actor, datetime.now(UTC), cells)
        self._specimens[differential_id] = specimen
        if idempotency_key is not None:
            self._keys[actor, idempotency_key] = (differential_id, fingerprint)
        self._note(actor, "ordered", differential_id, None, {"cells": str(len(cells))})
        for cell in cells:
            if cell.state == "failed":
                self._note("service", "failed", differential_id, cell.cell_id, {})
        return specimen, True

    async def get(self, differential_id: str) -> Specimen:
        try:
            return self._specimens[differential_id]
        except KeyError as error:
            raise UnknownDifferential("There is no differential of this id.") from error

    async def etag(self, differential_id: str) -> str:
        return (await self.get(differential_id)).etag

    async def checked(self, differential_id: str) -> Specimen:
        return await self.get(differential_id)

    async def page(
        self,
        limit: int,
        after: str | None = None,
        search: SpecimenSearch = EVERYTHING,
        sort: SpecimenSort = "-created",
    ) -> tuple[list[SpecimenSummary], str | None]:
        by, is_down = sort.removeprefix("-"), sort.startswith("-")
        placed: list[tuple[tuple[int, datetime, int], SpecimenSummary]] = []
        for place, specimen in enumerate(self._specimens.values()):
            summary = _summary(specimen)
            value = {"created": 0, "doubt": summary.unreviewed, "state": BY_STATE.index(summary.state)}[by]
            if _is_found(specimen, search):
                placed.append(((value, summary.created_at, place), summary))
        placed.sort(key=itemgetter(0), reverse=is_down)
        if after is not None:
            if after not in self._cursors or self._cursors[after][0] != sort:
                raise UnknownDifferential("There is no page after this one.")
            last = self._cursors[after][1]
            placed = [one for one in placed if (one[0] < last if is_down else one[0] > last)]
        cursor = None
        if len(placed) > limit:
            cursor = uuid.uuid4().hex
            self._cursors[cursor] = (sort, placed[limit - 1][0])
        return [summary for _, summary in placed[:limit]], cursor

    async def claim(self, differential_id: str, lease_s: float) -> LeasedCell | None:
        specimen = await self.get(differential_id)
        if specimen.state in _FINAL:
            return None
        free = [cell.cell_id for cell in specimen.cells if self._is_claimable(cell)]
        if not free:
            return None
        cell_id = min(free, key=self._attempts.__getitem__)  # of equal ones the first
        self._tokens[cell_id] += 1
        self._leases[cell_id] = time.monotonic() + lease_s
        self._attempts[cell_id] += 1
        payload = self._payloads[cell_id]
        sent = next(cell.image_sha256 for cell in specimen.cells if cell.cell_id == cell_id)
        is_as_sent = hashlib.sha256(payload).hexdigest() == sent
        return LeasedCell(cell_id, payload, self._attempts[cell_id] - 1, self._tokens[cell_id], is_as_sent)

    async def renew(self, cell_id: str, token: int, lease_s: float) -> bool:
        held = self._is_held(cell_id, token) and self._specimen_of(cell_id).state not in _FINAL
        if held:
            self._leases[cell_id] = time.monotonic() + lease_s
        return held

    async def withdraw(self, cell_id: str, token: int) -> None:
        if self._is_held(cell_id, token):
            self._attempts[cell_id] -= 1
            del self._leases[cell_id]

    def change_image(self, cell_id: str, payload: bytes) -> None:
        """What somebody does past the service."""
        self._payloads[cell_id] = payload

    def end_leases(self) -> None:
        """What time does where their holders are gone."""
        self._leases.clear()

    async def record_result(
        self, differential_id: str, cell_id: str, result: CellResult, token: int | None = None
    ) -> Recorded:
        return await self._record(differential_id, cell_id, result, None, token)

    async def record_failure(
        self, differential_id: str, cell_id: str, why: str, token: int | None = None
    ) -> Recorded:
        return await self._record(differential_id, cell_id, None, why, token)

    async def record_field(
        self, differential_id: str, cell_id: str, found: FoundField, same: SameCells, token: int | None = None
    ) -> Recorded:
        specimen = await self.get(differential_id)
        if any(field.field_id == cell_id for field in specimen.fields):
            return Recorded.REFUSED
        field = _cell(specimen, cell_id)
        taken = await self._record(differential_id, cell_id, None, None, token)
        if taken is Recorded.REFUSED:
            return taken
        known = self._marks.setdefault(differential_id, [])
        doubles = same([cell.mark for cell in found.cells], [mark for _, mark in known])
        numbers = [one.number for one in specimen.cells] + [one.number for one in specimen.fields]
        earlier, last = tuple(known), max(numbers)
        cells = [c for c in specimen.cells if c.cell_id != cell_id]
        for index, (cell, double) in enumerate(zip(found.cells, doubles, strict=True)):
            same_as = None if double is None else earlier[double][0]
            place = replace(cell.place, number=field.number, same_as=same_as)
            cut_out = hashlib.sha256(cell.image).hexdigest()
            number = last + index + 1
            new = SpecimenCell(uuid.uuid4().hex, number, cut_out, "analysed", cell.result, place=place)
            self._payloads[new.cell_id] = cell.image
            cells.append(new)
            if same_as is None:
                known.append((new.cell_id, cell.mark))
        searched = SpecimenField(
            cell_id,
            field.number,
            field.image_sha256,
            found.image_size,
            found.red_cell_px,
            found.white_cells,
        )
        fields = tuple(sorted((*specimen.fields, searched), key=lambda one: one.number))
        state = self._specimens[differential_id].state
        self._put(replace(specimen, cells=tuple(cells), fields=fields, state=state))
        return taken

    async def add_cell(
        self, differential_id: str, field_id: str, cell: CutOutCell, person: str, seen: Seen = None
    ) -> Specimen:
        specimen = await self.get(differential_id)
        field = require_room(specimen, field_id, cell.box)
        _require_seen(seen, specimen.etag)
        numbers = [one.number for one in specimen.cells] + [one.number for one in specimen.fields]
        number = 1 + max(numbers)
        image_sha256 = hashlib.sha256(cell.image).hexdigest()
        place = replace(cell.place, number=field.number)
        new = SpecimenCell(uuid.uuid4().hex, number, image_sha256, "analysed", cell.result, place=place)
        self._payloads[new.cell_id] = cell.image
        fields = tuple(
            replace(one, cells=one.cells + 1) if one.field_id == field_id else one for one in specimen.fields
        )
        self._note(person, "added", differential_id, new.cell_id, {"class": cell.result.class_name})
        return self._put(replace(specimen, cells=(*specimen.cells, new), fields=fields))

    async def decide(
        self, differential_id: str, cell_id: str, label: str, person: str, seen: Seen = None
    ) -> Specimen:
        cell = await self._open_cell(differential_id, cell_id, seen)
        if cell.is_double:
            raise CountedAlready(CountedAlready.kind.example)
        decided = replace(cell, decision=CellDecision(label, person, datetime.now(UTC)))
        self._note(person, "decided", differential_id, cell_id, {"label": label})
        return self._with_cell(differential_id, decided)

    async def undecide(self, differential_id: str, cell_id: str, person: str, seen: Seen = None) -> Specimen:
        cell = await self._open_cell(differential_id, cell_id, seen)
        self._note(person, "undecided", differential_id, cell_id, {})
        return self._with_cell(differential_id, replace(cell, decision=None))

    async def comment(
        self, differential_id: str, text: str, person: str, cell_id: str | None = None, seen: Seen = None
    ) -> Specimen:
        specimen = await self._open(differential_id)
        if any(field.field_id == cell_id for field in specimen.fields):
            raise UnknownCell("This is a field, not a cell of it.")
        if cell_id is not None and _cell(specimen, cell_id).state == "waiting":
            raise NotReady("The cell waits to be analysed.")
        return self._say(specimen, text, person, cell_id, seen, is_addendum=False)

    async def add(self, differential_id: str, text: str, person: str, seen: Seen = None) -> Specimen:
        specimen = await self.get(differential_id)
        if specimen.state == "cancelled":
            raise SpecimenClosed("The differential is cancelled.")
        if specimen.state != "signed":
            raise NotReady("The differential is not signed: comment on it instead of adding to it.")
        return self._say(specimen, text, person, None, seen, is_addendum=True)

    async def note(
        self, differential_id: str, cell_id: str, actor: str, action: str, details: Mapping[str, str]
    ) -> None:
        _cell(await self.get(differential_id), cell_id)
        self._note(actor, action, differential_id, cell_id, details)

    async def assign(
        self, differential_id: str, assignee: str | None, actor: str, instead_of: str | None = ANYBODY
    ) -> Specimen:
        specimen = await self._open(differential_id)
        require_assignee(specimen, instead_of)
        if specimen.assignee == assignee:
            return specimen
        details = {} if assignee is None else {"assignee": assignee}
        self._note(actor, "assigned" if details else "given_back", differential_id, None, details)
        return self._put(replace(specimen, assignee=assignee))

    async def sign(self, differential_id: str, person: str, seen: Seen = None) -> Specimen:
        specimen = await self._open(differential_id)
        if any(cell.state == "waiting" for cell in specimen.cells):
            raise NotReady("Cells wait to be analysed.")
        _require_seen(seen, specimen.etag)
        self._note(person, "signed", differential_id, None, {})
        return self._put(replace(specimen, state="signed", signature=Signature(person, datetime.now(UTC))))

    async def cancel(self, differential_id: str, actor: str, seen: Seen = None) -> Specimen:
        specimen = await self._open(differential_id)
        _require_seen(seen, specimen.etag)
        self._note(actor, "cancelled", differential_id, None, {})
        return self._put(replace(specimen, state="cancelled"))

    async def image(self, differential_id: str, cell_id: str) -> bytes | None:
        specimen = await self.get(differential_id)
        if all(field.field_id != cell_id for field in specimen.fields):
            _cell(specimen, cell_id)
        return self._payloads[cell_id] if self._keeps_images else None

    async def unfinished(self) -> list[str]:
        return [
            specimen.differential_id
            for specimen in self._specimens.values()
            if specimen.state not in _FINAL and any(map(self._is_claimable, specimen.cells))
        ]

    async def purge(self, now: datetime) -> int:  # noqa: ARG002 (the port's signature)
        return 0

    async def confirm_clock(self, now: datetime, actor: str) -> None:
        pass

    async def probe(self) -> None:
        pass

    async def audit(self, differential_id: str | None = None) -> list[AuditEntry]:
        return [e for e in self._trail if differential_id is None or e.differential_id == differential_id]

    async def head(self) -> tuple[int, str]:
        return len(self._trail), self._trail[-1].row_hash if self._trail else ""

    async def verify(self, anchors: Mapping[int, str] = MappingProxyType({})) -> AuditVerdict:
        del anchors
        return AuditVerdict(ok=True, rows=len(self._trail))

    async def _record(
        self,
        differential_id: str,
        cell_id: str,
        result: CellResult | None,
        why: str | None,
        token: int | None,
    ) -> Recorded:
        specimen = await self.get(differential_id)
        cell = _cell(specimen, cell_id)
        if cell.state != "waiting" or specimen.state in _FINAL:
            return Recorded.REFUSED
        if token is not None and not self._is_held(cell_id, token):
            return Recorded.REFUSED
        self._leases.pop(cell_id, None)
        state: CellState = "failed" if result is None else "analysed"
        self._with_cell(differential_id, replace(cell, state=state, result=result, failure=why))
        specimen = self._specimens[differential_id]
        left = any(other.state == "waiting" for other in specimen.cells)
        self._put(replace(specimen, state="running" if left else "analysed"))
        return Recorded.TAKEN if left else Recorded.LAST

    def _is_claimable(self, cell: SpecimenCell) -> bool:
        return cell.state == "waiting" and self._leases.get(cell.cell_id, 0.0) <= time.monotonic()

    def _is_held(self, cell_id: str, token: int) -> bool:
        cells = {cell.cell_id: cell for cell in self._specimen_of(cell_id).cells}
        return cells[cell_id].state == "waiting" and self._tokens[cell_id] == token

    def _specimen_of(self, cell_id: str) -> Specimen:
        return next(
            specimen
            for specimen in self._specimens.values()
            if any(cell.cell_id == cell_id for cell in specimen.cells)
        )

    async def _open(self, differential_id: str) -> Specimen:
        specimen = await self.get(differential_id)
        if specimen.state in _FINAL:
            raise SpecimenClosed("The differential is signed or cancelled.")
        return specimen

    async def _open_cell(self, differential_id: str, cell_id: str, seen: Seen) -> SpecimenCell:
        specimen = await self._open(differential_id)
        cell = _cell(specimen, cell_id)
        _require_seen(seen, specimen.etag, cell.etag)
        return cell

    def _say(
        self,
        specimen: Specimen,
        text: str,
        person: str,
        cell_id: str | None,
        seen: Seen,
        *,
        is_addendum: bool,
    ) -> Specimen:
        etags = [] if cell_id is None else [_cell(specimen, cell_id).etag]
        _require_seen(seen, specimen.etag, *etags)
        said = specimen.comments
        if sum(comment.is_addendum == is_addendum for comment in said) >= MAX_COMMENTS:
            raise TooManyComments("The differential takes no more comments.")
        new = Comment(len(said) + 1, cell_id, person, datetime.now(UTC), text, is_addendum)
        action = "addendum" if is_addendum else "commented"
        self._note(person, action, specimen.differential_id, cell_id, {"number": str(new.number)})
        return self._put(replace(specimen, comments=(*said, new)))

    def _with_cell(self, differential_id: str, changed: SpecimenCell) -> Specimen:
        specimen = self._specimens[differential_id]
        changed = replace(changed, version=changed.version + 1)
        cells = tuple(changed if cell.cell_id == changed.cell_id else cell for cell in specimen.cells)
        return self._put(replace(specimen, cells=cells))

    def _put(self, specimen: Specimen) -> Specimen:
        specimen = replace(specimen, version=specimen.version + 1)
        self._specimens[specimen.differential_id] = specimen
        return specimen

    def _note(
        self, actor: str, action: str, differential_id: str, cell_id: str | None, details: Mapping[str, str]
    ) -> None:
        sequence = len(self._trail) + 1
        previous = self._trail[-1].row_hash if self._trail else ""
        row_hash = hashlib.sha256(f"{previous}{sequence}{actor}{action}".encode()).hexdigest()
        self._trail.append(
            AuditEntry(
                sequence,
                datetime.now(UTC),
                actor,
                action,
                differential_id,
                cell_id,
                details,
                previous,
                row_hash,
            )
        )


def _cell(specimen: Specimen, cell_id: str) -> SpecimenCell:
    for cell in specimen.cells:
        if cell.cell_id == cell_id:
            return cell
    raise UnknownCell("The differential has no cell of this id.")


def _require_seen(seen: Seen, *current: str) -> None:
    if seen is not None and set(seen).isdisjoint(current):
        raise ChangedMeanwhile("It was changed since it was read; read it again and decide anew.")


def _is_found(specimen: Specimen, search: SpecimenSearch) -> bool:
    return (
        search.specimen_id in (None, specimen.order.specimen_id)
        and specimen.state in search.in_states
        and (search.assignee is None or search.assignee == (specimen.assignee or ""))
        and (not search.needs_review or any(cell.needs_review for cell in specimen.cells))
        and (search.text is None or _is_meant(specimen, search.text))
        and (search.created_from is None or specimen.created_at >= search.created_from)
        and (search.created_before is None or specimen.created_at < search.created_before)
    )


def _is_meant(specimen: Specimen, text: str) -> bool:
    begins = len(text) >= 4 and specimen.differential_id.startswith(text.lower())
    return begins or specimen.order.specimen_id == text


def _summary(specimen: Specimen) -> SpecimenSummary:
    states = Counter(cell.state for cell in specimen.cells)
    return SpecimenSummary(
        specimen.differential_id,
        specimen.order.specimen_id,
        specimen.state,
        specimen.created_at,
        len(specimen.cells),
        states["waiting"],
        states["failed"],
        sum(cell.needs_review for cell in specimen.cells),
        specimen.signature,
        specimen.assignee,
    )
