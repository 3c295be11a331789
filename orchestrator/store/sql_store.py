"""The store on SQLite or PostgreSQL.

Every change is one transaction together with its row of the audit trail. A transaction that writes locks the
head of the trail first, so that writers, of whatever process, go one after another and the chain never forks.
"""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import ColumnElement, Row, delete, exists, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

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
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenOrder,
)
from orchestrator.store.audit_chain import chained, verified
from orchestrator.store.base import Actor, AuditEntry, AuditVerdict, LeasedCell
from orchestrator.store.database import Database
from orchestrator.store.documents import result_document, result_of
from orchestrator.store.encryption import Cipher
from orchestrator.store.tables import AUDIT, AUDIT_HEAD, CELLS, ORDER_KEYS, SPECIMENS

SERVICE: Final = "service"
"""The actor of what nobody asked for: the recording of results, and retention."""

_FINAL: Final = ("signed", "cancelled")
_LISTED: Final = tuple(column for column in CELLS.c if column.name != "payload")


class SqlStore:
    """See :class:`~orchestrator.store.base.Store`.

    Args:
        database: started and closed with this store.
        cipher: for images and the laboratory's names of specimens.
        keep_images: whether an image stays when its cell is analysed; otherwise it goes in the same
            transaction that records the result.
        retention: how long a specimen stays after it came; None keeps all. The audit trail stays, which holds
            no identifier but the service's own.
    """

    def __init__(
        self,
        database: Database,
        cipher: Cipher | None = None,
        *,
        keep_images: bool = False,
        retention: timedelta | None = None,
    ) -> None:
        self._database = database
        self._cipher = cipher or Cipher()
        self._keep_images = keep_images
        self._retention = retention

    async def start(self) -> None:
        await self._database.start()
        await self.purge(_now())

    async def close(self) -> None:
        await self._database.close()

    async def create(
        self,
        order: SpecimenOrder,
        payloads: Sequence[bytes],
        actor: Actor,
        idempotency_key: str | None = None,
    ) -> tuple[Specimen, bool]:
        hashes = [hashlib.sha256(payload).hexdigest() for payload in payloads]
        fingerprint = _fingerprint(order, hashes)
        now, differential_id = _now(), uuid.uuid4().hex
        async with self._writing() as connection:
            if idempotency_key is not None:
                known = await _known_order(connection, actor, idempotency_key)
                if known is not None:
                    if known.fingerprint != fingerprint:
                        raise IdempotencyConflict(
                            "The key was used before, for another order or other images."
                        )
                    return await self._specimen(connection, known.differential_id), False
            await connection.execute(
                insert(SPECIMENS).values(
                    differential_id=differential_id,
                    specimen_id=self._cipher.encrypted_text(order.specimen_id),
                    total_wbc=order.total_wbc,
                    profile=order.profile,
                    tta=order.tta,
                    state="waiting" if payloads else "analysed",
                    created_by=actor,
                    created_at=now.isoformat(),
                )
            )
            rows = [
                {
                    "cell_id": uuid.uuid4().hex,
                    "differential_id": differential_id,
                    "number": number,
                    "image_sha256": image_sha256,
                    "state": "waiting",
                    "payload": self._cipher.encrypted(payload),
                }
                for number, (image_sha256, payload) in enumerate(zip(hashes, payloads, strict=True), start=1)
            ]
            if rows:
                await connection.execute(insert(CELLS), rows)
            if idempotency_key is not None:
                await connection.execute(
                    insert(ORDER_KEYS).values(
                        actor=actor,
                        idempotency_key=idempotency_key,
                        fingerprint=fingerprint,
                        differential_id=differential_id,
                    )
                )
            details = {"cells": str(len(rows)), "order": fingerprint}
            await _note(connection, now, actor, "ordered", differential_id, None, details)
            return await self._specimen(connection, differential_id), True

    async def get(self, differential_id: str) -> Specimen:
        async with self._database.reading() as connection:
            return await self._specimen(connection, differential_id)

    async def page(self, limit: int, after: str | None = None) -> tuple[list[Specimen], str | None]:
        newest_first = select(SPECIMENS.c.differential_id).order_by(SPECIMENS.c.place.desc())
        async with self._database.reading() as connection:
            if after is not None:
                place = await connection.scalar(
                    select(SPECIMENS.c.place).where(SPECIMENS.c.differential_id == after)
                )
                if place is None:
                    raise UnknownDifferential("There is no page after this one: its last specimen is gone.")
                newest_first = newest_first.where(SPECIMENS.c.place < place)
            ids = list(await connection.scalars(newest_first.limit(limit + 1)))
            found = [await self._specimen(connection, one) for one in ids[:limit]]
        return found, ids[limit - 1] if len(ids) > limit else None

    async def claim(self, differential_id: str, lease_s: float) -> LeasedCell | None:
        now = self._database.now
        # Without the lock of the trail, which other writers hold: a lease is no event of it.
        async with self._database.writing() as connection:
            if await _state(connection, differential_id) in _FINAL:
                return None
            row = (
                await connection.execute(
                    select(CELLS.c.cell_id, CELLS.c.payload, CELLS.c.attempts, CELLS.c.lease_token)
                    .where(CELLS.c.differential_id == differential_id, *self._claimable())
                    .order_by(CELLS.c.attempts, CELLS.c.number)
                    .limit(1)
                    .with_for_update(skip_locked=True)
                )
            ).one_or_none()
            if row is None:
                return None
            leased = {"attempts": row.attempts + 1, "lease_token": row.lease_token + 1}
            await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == row.cell_id)
                .values(leased_until=now + lease_s, **leased)
            )
        return LeasedCell(
            row.cell_id, self._cipher.decrypted(row.payload), row.attempts, leased["lease_token"]
        )

    async def renew(self, cell_id: str, token: int, lease_s: float) -> bool:
        is_open = exists().where(
            SPECIMENS.c.differential_id == CELLS.c.differential_id, SPECIMENS.c.state.not_in(_FINAL)
        )
        async with self._database.writing() as connection:
            renewed = await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == cell_id, *_held(token), is_open)
                .values(leased_until=self._database.now + lease_s)
            )
            return renewed.rowcount == 1

    async def withdraw(self, cell_id: str, token: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == cell_id, *_held(token))
                .values(leased_until=None, attempts=CELLS.c.attempts - 1)
            )

    async def record_result(
        self, differential_id: str, cell_id: str, result: CellResult, token: int | None = None
    ) -> bool:
        document = result_document(result)
        details = {
            "class": result.class_name,
            "result": hashlib.sha256(document.encode()).hexdigest(),
            "model": result.model.sha256 or f"{result.model.name} {result.model.version}",
        }
        values = {"state": "analysed", "result": document}
        return await self._record(differential_id, cell_id, "analysed", values, details, token)

    async def record_failure(
        self, differential_id: str, cell_id: str, why: str, token: int | None = None
    ) -> bool:
        values = {"state": "failed", "failure": why}
        return await self._record(differential_id, cell_id, "failed", values, {}, token)

    async def decide(self, differential_id: str, cell_id: str, label: str, person: str) -> Specimen:
        decision = {"label": label, "decided_by": person, "decided_at": _now().isoformat()}
        return await self._change_cell(
            differential_id, cell_id, person, "decided", decision, {"label": label}
        )

    async def undecide(self, differential_id: str, cell_id: str, person: str) -> Specimen:
        nothing = {"label": None, "decided_by": None, "decided_at": None}
        return await self._change_cell(differential_id, cell_id, person, "undecided", nothing, {})

    async def note(
        self, differential_id: str, cell_id: str, actor: str, action: str, details: Mapping[str, str]
    ) -> None:
        async with self._writing() as connection:
            await _require_cell(connection, differential_id, cell_id)
            await _note(connection, _now(), actor, action, differential_id, cell_id, details)

    async def sign(self, differential_id: str, person: str) -> Specimen:
        now = _now()
        async with self._writing() as connection:
            await _require_open(connection, differential_id)
            if await _has_waiting(connection, differential_id):
                raise NotReady("Cells wait to be analysed.")
            values = {"state": "signed", "signed_by": person, "signed_at": now.isoformat()}
            await _set_specimen(connection, differential_id, values)
            signed = await self._specimen(connection, differential_id)
            await _note(connection, now, person, "signed", differential_id, None, {"counts": _counts(signed)})
            return signed

    async def cancel(self, differential_id: str, actor: Actor) -> Specimen:
        async with self._writing() as connection:
            await _require_open(connection, differential_id)
            await _set_specimen(connection, differential_id, {"state": "cancelled"})
            if not self._keep_images:
                # Nobody will analyse what waits.
                await connection.execute(
                    update(CELLS).where(CELLS.c.differential_id == differential_id).values(payload=None)
                )
            await _note(connection, _now(), actor, "cancelled", differential_id, None, {})
            return await self._specimen(connection, differential_id)

    async def image(self, differential_id: str, cell_id: str) -> bytes | None:
        async with self._database.reading() as connection:
            await _state(connection, differential_id)
            row = (
                await connection.execute(
                    select(CELLS.c.payload).where(
                        CELLS.c.differential_id == differential_id, CELLS.c.cell_id == cell_id
                    )
                )
            ).one_or_none()
        if row is None:
            raise UnknownCell("The differential has no cell of this id.")
        # One that waits is held for its analysis, which is no reason to show it.
        return self._cipher.decrypted(row.payload) if self._keep_images and row.payload is not None else None

    async def unfinished(self) -> list[str]:
        async with self._database.reading() as connection:
            found = await connection.scalars(
                select(SPECIMENS.c.differential_id)
                .where(
                    SPECIMENS.c.state.in_(("waiting", "running")),
                    exists().where(
                        CELLS.c.differential_id == SPECIMENS.c.differential_id, *self._claimable()
                    ),
                )
                .order_by(SPECIMENS.c.place)
            )
            return list(found)

    async def purge(self, now: datetime) -> int:
        if self._retention is None:
            return 0
        limit = (now - self._retention).astimezone(UTC).isoformat()
        async with self._writing() as connection:
            old = list(
                await connection.scalars(
                    select(SPECIMENS.c.differential_id).where(SPECIMENS.c.created_at < limit)
                )
            )
            for differential_id in old:
                await connection.execute(
                    delete(SPECIMENS).where(SPECIMENS.c.differential_id == differential_id)
                )
                await _note(connection, _now(), SERVICE, "purged", differential_id, None, {})
        return len(old)

    async def audit(self, differential_id: str | None = None) -> list[AuditEntry]:
        query = select(AUDIT).order_by(AUDIT.c.sequence)
        if differential_id is not None:
            query = query.where(AUDIT.c.differential_id == differential_id)
        async with self._database.reading() as connection:
            return [_entry(row) for row in await connection.execute(query)]

    async def verify(self) -> AuditVerdict:
        async with self._database.reading() as connection:
            rows = await connection.execute(select(AUDIT).order_by(AUDIT.c.sequence))
            head = (
                await connection.execute(select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.row_hash))
            ).one_or_none()
            return verified(map(_entry, rows), (0, "") if head is None else (head.sequence, head.row_hash))

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        async with self._database.writing() as connection:
            await connection.execute(select(AUDIT_HEAD.c.sequence).with_for_update())
            yield connection

    async def _record(
        self,
        differential_id: str,
        cell_id: str,
        action: str,
        values: Mapping[str, Any],
        details: Mapping[str, str],
        token: int | None,
    ) -> bool:
        kept = {} if self._keep_images else {"payload": None}
        held = (CELLS.c.state == "waiting",) if token is None else _held(token)
        async with self._writing() as connection:
            if await _state(connection, differential_id) in _FINAL:
                return False
            await _require_cell(connection, differential_id, cell_id)
            changed = await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == cell_id, *held)
                .values(leased_until=None, **values, **kept)
            )
            if changed.rowcount != 1:
                return False
            left = await _has_waiting(connection, differential_id)
            await _set_specimen(connection, differential_id, {"state": "running" if left else "analysed"})
            await _note(connection, _now(), SERVICE, action, differential_id, cell_id, details)
            return True

    def _claimable(self) -> tuple[ColumnElement[bool], ...]:
        """Of a cell that waits, and on which nobody works any more."""
        until = CELLS.c.leased_until
        return CELLS.c.state == "waiting", or_(until.is_(None), until <= self._database.now)

    async def _change_cell(
        self,
        differential_id: str,
        cell_id: str,
        person: str,
        action: str,
        values: Mapping[str, Any],
        details: Mapping[str, str],
    ) -> Specimen:
        async with self._writing() as connection:
            await _require_open(connection, differential_id)
            await _require_cell(connection, differential_id, cell_id)
            await connection.execute(update(CELLS).where(CELLS.c.cell_id == cell_id).values(**values))
            await _note(connection, _now(), person, action, differential_id, cell_id, details)
            return await self._specimen(connection, differential_id)

    async def _specimen(self, connection: AsyncConnection, differential_id: str) -> Specimen:
        row = (
            await connection.execute(select(SPECIMENS).where(SPECIMENS.c.differential_id == differential_id))
        ).one_or_none()
        if row is None:
            raise UnknownDifferential("There is no differential of this id.")
        cells = await connection.execute(
            select(*_LISTED).where(CELLS.c.differential_id == differential_id).order_by(CELLS.c.number)
        )
        return Specimen(
            differential_id=row.differential_id,
            order=SpecimenOrder(
                self._cipher.decrypted_text(row.specimen_id), row.total_wbc, row.profile, row.tta
            ),
            state=row.state,
            created_by=row.created_by,
            created_at=datetime.fromisoformat(row.created_at),
            cells=tuple(_cell(cell) for cell in cells),
            signature=None
            if row.signed_by is None
            else Signature(row.signed_by, datetime.fromisoformat(row.signed_at)),
        )


def _held(token: int) -> tuple[ColumnElement[bool], ...]:
    """Of a cell that waits and was leased to nobody else since; ``token`` is that of the lease."""
    return CELLS.c.state == "waiting", CELLS.c.lease_token == token


def _cell(row: Row[Any]) -> SpecimenCell:
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
    )


def _entry(row: Row[Any]) -> AuditEntry:
    read = {"at": datetime.fromisoformat(row.at), "details": json.loads(row.details)}
    return AuditEntry(**{**row._mapping, **read})


async def _note(
    connection: AsyncConnection,
    at: datetime,
    actor: str,
    action: str,
    differential_id: str | None,
    cell_id: str | None,
    details: Mapping[str, str],
) -> None:
    """Add a row to the audit trail; the transaction holds the lock of its head."""
    head = (await connection.execute(select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.row_hash))).one()
    entry = chained(head.sequence + 1, at, actor, action, differential_id, cell_id, details, head.row_hash)
    told = json.dumps(dict(entry.details), sort_keys=True, ensure_ascii=False)
    row = {**asdict(entry), "at": entry.at.isoformat(), "details": told}
    await connection.execute(insert(AUDIT).values(row))
    await connection.execute(update(AUDIT_HEAD).values(sequence=entry.sequence, row_hash=entry.row_hash))


async def _known_order(connection: AsyncConnection, actor: str, key: str) -> Row[Any] | None:
    query = select(ORDER_KEYS).where(ORDER_KEYS.c.actor == actor, ORDER_KEYS.c.idempotency_key == key)
    return (await connection.execute(query)).one_or_none()


async def _state(connection: AsyncConnection, differential_id: str) -> str:
    state = await connection.scalar(
        select(SPECIMENS.c.state).where(SPECIMENS.c.differential_id == differential_id)
    )
    if state is None:
        raise UnknownDifferential("There is no differential of this id.")
    return str(state)


async def _require_open(connection: AsyncConnection, differential_id: str) -> None:
    if await _state(connection, differential_id) in _FINAL:
        raise SpecimenClosed("The differential is signed or cancelled.")


async def _require_cell(connection: AsyncConnection, differential_id: str, cell_id: str) -> None:
    query = select(func.count()).where(CELLS.c.differential_id == differential_id, CELLS.c.cell_id == cell_id)
    if not await connection.scalar(query):
        raise UnknownCell("The differential has no cell of this id.")


async def _has_waiting(connection: AsyncConnection, differential_id: str) -> bool:
    waits = exists().where(CELLS.c.differential_id == differential_id, CELLS.c.state == "waiting")
    return bool(await connection.scalar(select(waits)))


async def _set_specimen(connection: AsyncConnection, differential_id: str, values: Mapping[str, Any]) -> None:
    await connection.execute(
        update(SPECIMENS).where(SPECIMENS.c.differential_id == differential_id).values(**values)
    )


def _fingerprint(order: SpecimenOrder, hashes: Sequence[str]) -> str:
    """Of the order and its images; one way, so that it may stand in the audit trail."""
    asked = [order.specimen_id, order.total_wbc, order.profile, order.tta, list(hashes)]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()


def _counts(specimen: Specimen) -> str:
    """What was signed: label and number of cells, in one line."""
    counts = Counter(cell.label or "failed" for cell in specimen.cells)
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))


def _now() -> datetime:
    return datetime.now(UTC)
