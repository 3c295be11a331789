"""A store in memory: the port's behaviour, without a database."""

import hashlib
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType

from orchestrator.errors import (
    IdempotencyConflict,
    NotReady,
    SpecimenClosed,
    UnknownCell,
    UnknownDifferential,
)
from orchestrator.specimen import (
    CellDecision,
    CellResult,
    CellState,
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenOrder,
    SpecimenState,
)
from orchestrator.store.base import AuditEntry, AuditVerdict, WaitingCell

_FINAL: tuple[SpecimenState, ...] = ("signed", "cancelled")


class MemoryStore:
    """Keeps what it is given as long as the object lives, ``start`` and ``close`` included."""

    def __init__(self, *, keeps_images: bool = True) -> None:
        self._keeps_images = keeps_images
        self._specimens: dict[str, Specimen] = {}
        self._payloads: dict[str, bytes] = {}
        self._attempts: Counter[str] = Counter()
        self._keys: dict[tuple[str, str], tuple[str, str]] = {}
        self._trail: list[AuditEntry] = []

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
    ) -> tuple[Specimen, bool]:
        hashes = [hashlib.sha256(payload).hexdigest() for payload in payloads]
        fingerprint = hashlib.sha256(repr((order, hashes)).encode()).hexdigest()
        if idempotency_key is not None and (known := self._keys.get((actor, idempotency_key))):
            if known[1] != fingerprint:
                raise IdempotencyConflict("The key was used before, for another order or other images.")
            return await self.get(known[0]), False
        differential_id = uuid.uuid4().hex
        cells = tuple(
            SpecimenCell(uuid.uuid4().hex, number, image_sha256, "waiting")
            for number, image_sha256 in enumerate(hashes, start=1)
        )
        self._payloads.update({c.cell_id: payload for c, payload in zip(cells, payloads, strict=True)})
        specimen = Specimen(differential_id, order, "waiting", actor, datetime.now(UTC), cells)
        self._specimens[differential_id] = specimen
        if idempotency_key is not None:
            self._keys[actor, idempotency_key] = (differential_id, fingerprint)
        self._note(actor, "ordered", differential_id, None, {"cells": str(len(cells))})
        return specimen, True

    async def get(self, differential_id: str) -> Specimen:
        try:
            return self._specimens[differential_id]
        except KeyError as error:
            raise UnknownDifferential("There is no differential of this id.") from error

    async def checked(self, differential_id: str) -> Specimen:
        return await self.get(differential_id)

    async def page(self, limit: int, after: str | None = None) -> tuple[list[Specimen], str | None]:
        newest_first = list(reversed(self._specimens.values()))
        ids = [specimen.differential_id for specimen in newest_first]
        if after is not None and after not in ids:
            raise UnknownDifferential("There is no page after this one.")
        start = 0 if after is None else ids.index(after) + 1
        found = newest_first[start : start + limit]
        more = start + limit < len(newest_first)
        return found, found[-1].differential_id if more else None

    async def waiting(self, differential_id: str, limit: int) -> list[WaitingCell]:
        specimen = await self.get(differential_id)
        if specimen.state in _FINAL:
            return []
        cells = [
            WaitingCell(cell.cell_id, self._payloads[cell.cell_id], self._attempts[cell.cell_id])
            for cell in specimen.cells
            if cell.state == "waiting"
        ]
        return sorted(cells, key=lambda cell: cell.attempts)[:limit]

    async def begin(self, differential_id: str, cell_id: str) -> None:
        self._attempts[_cell(await self.get(differential_id), cell_id).cell_id] += 1

    async def withdraw(self, differential_id: str, cell_id: str) -> None:
        self._attempts[_cell(await self.get(differential_id), cell_id).cell_id] -= 1

    async def record_result(self, differential_id: str, cell_id: str, result: CellResult) -> bool:
        return await self._record(differential_id, cell_id, result, None)

    async def record_failure(self, differential_id: str, cell_id: str, why: str) -> bool:
        return await self._record(differential_id, cell_id, None, why)

    async def decide(self, differential_id: str, cell_id: str, label: str, person: str) -> Specimen:
        cell = await self._open_cell(differential_id, cell_id)
        decided = replace(cell, decision=CellDecision(label, person, datetime.now(UTC)))
        self._note(person, "decided", differential_id, cell_id, {"label": label})
        return self._with_cell(differential_id, decided)

    async def undecide(self, differential_id: str, cell_id: str, person: str) -> Specimen:
        cell = await self._open_cell(differential_id, cell_id)
        self._note(person, "undecided", differential_id, cell_id, {})
        return self._with_cell(differential_id, replace(cell, decision=None))

    async def note(
        self, differential_id: str, cell_id: str, actor: str, action: str, details: Mapping[str, str]
    ) -> None:
        _cell(await self.get(differential_id), cell_id)
        self._note(actor, action, differential_id, cell_id, details)

    async def sign(self, differential_id: str, person: str) -> Specimen:
        specimen = await self._open(differential_id)
        if any(cell.state == "waiting" for cell in specimen.cells):
            raise NotReady("Cells wait to be analysed.")
        self._note(person, "signed", differential_id, None, {})
        return self._put(replace(specimen, state="signed", signature=Signature(person, datetime.now(UTC))))

    async def cancel(self, differential_id: str, actor: str) -> Specimen:
        specimen = await self._open(differential_id)
        self._note(actor, "cancelled", differential_id, None, {})
        return self._put(replace(specimen, state="cancelled"))

    async def image(self, differential_id: str, cell_id: str) -> bytes | None:
        cell = _cell(await self.get(differential_id), cell_id)
        return self._payloads[cell.cell_id] if self._keeps_images else None

    async def unfinished(self) -> list[str]:
        return [s.differential_id for s in self._specimens.values() if s.state in ("waiting", "running")]

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
        self, differential_id: str, cell_id: str, result: CellResult | None, why: str | None
    ) -> bool:
        specimen = await self.get(differential_id)
        cell = _cell(specimen, cell_id)
        if cell.state != "waiting" or specimen.state in _FINAL:
            return False
        state: CellState = "failed" if result is None else "analysed"
        self._with_cell(differential_id, replace(cell, state=state, result=result, failure=why))
        specimen = self._specimens[differential_id]
        left = any(other.state == "waiting" for other in specimen.cells)
        self._put(replace(specimen, state="running" if left else "analysed"))
        return True

    async def _open(self, differential_id: str) -> Specimen:
        specimen = await self.get(differential_id)
        if specimen.state in _FINAL:
            raise SpecimenClosed("The differential is signed or cancelled.")
        return specimen

    async def _open_cell(self, differential_id: str, cell_id: str) -> SpecimenCell:
        return _cell(await self._open(differential_id), cell_id)

    def _with_cell(self, differential_id: str, changed: SpecimenCell) -> Specimen:
        specimen = self._specimens[differential_id]
        cells = tuple(changed if cell.cell_id == changed.cell_id else cell for cell in specimen.cells)
        return self._put(replace(specimen, cells=cells))

    def _put(self, specimen: Specimen) -> Specimen:
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
