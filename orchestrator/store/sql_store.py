"""The store on SQLite or PostgreSQL.

Every change is one transaction together with its row of the audit trail. A transaction that writes locks the
head of the trail first, so that writers, of whatever process, go one after another and the chain never forks.
"""

import asyncio
import hashlib
import logging
import re
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Row,
    Select,
    delete,
    exists,
    func,
    insert,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import (
    IdempotencyConflict,
    NotReady,
    RecordAltered,
    StoreUnavailable,
    TooManyComments,
    UnknownDifferential,
)
from orchestrator.observability.metrics import RETENTION_WAITS
from orchestrator.specimen import (
    ANYBODY,
    MAX_COMMENTS,
    CellResult,
    FieldPlace,
    Specimen,
    SpecimenOrder,
    SpecimenSearch,
    SpecimenSort,
    SpecimenSummary,
)
from orchestrator.store import statements
from orchestrator.store.anchors import Anchor, head_line
from orchestrator.store.audit_chain import hash_of, verified
from orchestrator.store.base import (
    EVERYTHING,
    NOTHING,
    Actor,
    AuditEntry,
    AuditVerdict,
    CutOutCell,
    FoundField,
    KeepImages,
    LeasedCell,
    Recorded,
    SameCells,
    Seen,
    require_assignee,
    require_room,
)
from orchestrator.store.database import Database
from orchestrator.store.documents import field_document, result_document
from orchestrator.store.encryption import Cipher
from orchestrator.store.rows import entry_of, signature_of, specimen_of
from orchestrator.store.tables import AUDIT, AUDIT_HEAD, CELLS, COMMENTS, ORDER_KEYS, SEARCHED, SPECIMENS
from orchestrator.store.trail_replay import (
    ADDED,
    COMMENTED,
    CommentRow,
    Kept,
    added_digest,
    cell_digest,
    differences,
    is_older,
    order_differences,
    order_fingerprint,
    text_digest,
)
from orchestrator.store.worklist import Order, listed_differences

SERVICE: Final = "service"
"""The actor of what nobody asked for: the recording of results, and retention."""

_BATCH_BYTES: Final = 2**20
_BATCH_ROWS: Final = 200
"""Of cells that are inserted at once: many small ones, or few large ones."""
LONGEST_PAUSE: Final = timedelta(days=4)
"""A clock that is further ahead of the last known time than a service is off over a long weekend has jumped;
a person must say that it is right."""

_logger = logging.getLogger(__name__)

_LISTED: Final = tuple(column for column in CELLS.c if column.name not in ("payload", "mark"))
_ORDERED: Final = (CELLS.c.cell_id, CELLS.c.number, CELLS.c.image_sha256, CELLS.c.found_in)


class SqlStore:
    """See :class:`~orchestrator.store.base.Store`.

    Args:
        database: started and closed with this store.
        cipher: for images and the laboratory's names of specimens.
        keep_images: how long an image stays. ``never``: it goes in the transaction that records the result of
            its cell; ``until_signed``: in that which signs or cancels its specimen.
        retention: how long a specimen stays after it came; None keeps all. The audit trail stays, which holds
            no identifier but the service's own.
        anchors: are given the head of the trail after each signature.
    """

    def __init__(
        self,
        database: Database,
        cipher: Cipher | None = None,
        *,
        keep_images: KeepImages = "never",
        retention: timedelta | None = None,
        anchors: Sequence[Anchor] = (),
    ) -> None:
        self._database = database
        self._cipher = cipher or Cipher()
        self._keep_images = keep_images
        self._retention = retention
        self._anchors = anchors

    async def start(self) -> None:
        await self._database.start()
        await self._key_names()
        await self.purge(_now())

    async def open(self) -> None:
        await self._database.open()

    async def close(self) -> None:
        await self._database.close()

    async def create(
        self,
        order: SpecimenOrder,
        payloads: Sequence[bytes],
        actor: Actor,
        idempotency_key: str | None = None,
        refused: Mapping[int, str] = NOTHING,
    ) -> tuple[Specimen, bool]:
        # Each is read from the disk, and only when its turn comes: all together may be more than the memory.
        hashes = await asyncio.to_thread(lambda: [_sha256(payload) for payload in payloads])
        total_wbc = None if order.total_wbc is None else float(order.total_wbc)  # as it is read back
        kind = None if order.kind == "cell" else order.kind
        fingerprint = order_fingerprint(order.specimen_id, total_wbc, order.profile, order.tta, kind, hashes)
        now, differential_id = _now(), uuid.uuid4().hex
        async with self._writing() as connection:
            if idempotency_key is not None:
                known = await statements.known_order(connection, actor, idempotency_key)
                if known is not None:
                    if known.fingerprint != fingerprint:
                        raise IdempotencyConflict(
                            "The key was used before, for another order or other images."
                        )
                    return self._checked(*await self._with_trail(connection, known.differential_id)), False
            await connection.execute(
                insert(SPECIMENS).values(
                    differential_id=differential_id,
                    specimen_id=self._cipher.encrypted_text(order.specimen_id),
                    name_key=self._cipher.name_keys(order.specimen_id)[0],
                    total_wbc=total_wbc,
                    profile=order.profile,
                    tta=order.tta,
                    kind=kind,
                    state="waiting" if len(refused) < len(payloads) else "analysed",
                    created_by=actor,
                    created_at=now.isoformat(),
                )
            )
            failed: dict[str, str] = {}
            batch: list[dict[str, Any]] = []
            held_bytes = 0
            for number, image_sha256 in enumerate(hashes, start=1):
                cell_id, why = uuid.uuid4().hex, refused.get(number)
                if why is not None:
                    failed[cell_id] = why
                payload = None
                if why is None or self._keep_images != "never":
                    payload = await asyncio.to_thread(self._kept_image, payloads, number - 1)
                    held_bytes += len(payload)
                batch.append(
                    {
                        "cell_id": cell_id,
                        "differential_id": differential_id,
                        "number": number,
                        "image_sha256": image_sha256,
                        "state": "waiting" if why is None else "failed",
                        "failure": why,
                        "payload": payload,
                    }
                )
                if held_bytes >= _BATCH_BYTES or len(batch) == _BATCH_ROWS or number == len(hashes):
                    await connection.execute(insert(CELLS), batch)
                    batch, held_bytes, payload = [], 0, None
            if idempotency_key is not None:
                await connection.execute(
                    insert(ORDER_KEYS).values(
                        actor=actor,
                        idempotency_key=idempotency_key,
                        fingerprint=fingerprint,
                        differential_id=differential_id,
                    )
                )
            kept = await self._kept(connection, differential_id)
            details = {"cells": str(len(payloads)), "order": fingerprint, "digest": kept.order_digest()}
            await statements.note(connection, now, actor, "ordered", differential_id, None, details)
            told = ((cell_id, {"failure": text_digest(why)}) for cell_id, why in failed.items())
            await statements.note_all(connection, now, SERVICE, "failed", differential_id, told)
            return specimen_of(kept), True

    async def get(self, differential_id: str) -> Specimen:
        async with self._database.reading() as connection:
            return await self._specimen(connection, differential_id)

    async def etag(self, differential_id: str) -> str:
        async with self._database.reading() as connection:
            await statements.state_of(connection, differential_id)
            return await statements.etag_of(connection, differential_id)

    async def checked(self, differential_id: str) -> Specimen:
        async with self._database.reading() as connection:
            kept, trail = await self._with_trail(connection, differential_id)
        # Thousands of rows take tens of milliseconds, which the event loop does not have.
        return await asyncio.to_thread(self._checked, kept, trail)

    async def page(
        self,
        limit: int,
        after: str | None = None,
        search: SpecimenSearch = EVERYTHING,
        sort: SpecimenSort = "-created",
    ) -> tuple[list[SpecimenSummary], str | None]:
        order = Order(sort, self._created_at)
        async with self._database.reading() as connection:
            rows = await order.page(connection, limit + 1, after, search, self._found_by(search))
            counts = await statements.cell_counts(connection, [row.differential_id for row in rows[:limit]])
        found = [self._summary(row, counts[row.differential_id]) for row in rows[:limit]]
        return found, order.cursor(rows[limit - 1]) if len(rows) > limit else None

    async def claim(self, differential_id: str, lease_s: float) -> LeasedCell | None:
        now = self._database.now
        # Without the lock of the trail, which other writers hold: a lease is no event of it.
        async with self._database.writing() as connection:
            if await statements.state_of(connection, differential_id) in statements.FINAL:
                return None
            row = (
                await connection.execute(
                    select(
                        CELLS.c.cell_id,
                        CELLS.c.image_sha256,
                        CELLS.c.payload,
                        CELLS.c.attempts,
                        CELLS.c.lease_token,
                    )
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
            name = await connection.scalar(
                select(SPECIMENS.c.specimen_id).where(SPECIMENS.c.differential_id == differential_id)
            )
        payload = await asyncio.to_thread(self._image_as_sent, row.payload, row.image_sha256, name or "")
        is_as_sent = payload is not None
        if not is_as_sent:
            _altered(differential_id, f"the cell {row.cell_id}: its image is not the one that was sent")
        return LeasedCell(row.cell_id, payload or b"", row.attempts, leased["lease_token"], is_as_sent)

    async def renew(self, cell_id: str, token: int, lease_s: float) -> bool:
        is_open = exists().where(
            SPECIMENS.c.differential_id == CELLS.c.differential_id, SPECIMENS.c.state.not_in(statements.FINAL)
        )
        async with self._database.writing() as connection:
            renewed = await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == cell_id, *statements.held_by(token), is_open)
                .values(leased_until=self._database.now + lease_s)
            )
            return renewed.rowcount == 1

    async def withdraw(self, cell_id: str, token: int) -> None:
        async with self._database.writing() as connection:
            await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == cell_id, *statements.held_by(token))
                .values(leased_until=None, attempts=CELLS.c.attempts - 1)
            )

    async def record_result(
        self, differential_id: str, cell_id: str, result: CellResult, token: int | None = None
    ) -> Recorded:
        values, details = _analysed(result)
        return await self._record(differential_id, cell_id, "analysed", values, details, token)

    async def record_field(
        self, differential_id: str, cell_id: str, found: FoundField, same: SameCells, token: int | None = None
    ) -> Recorded:
        document = field_document(found)
        # All that takes long is done outside of the lock of the trail: other writers wait for it.
        images = [self._cipher.encrypted(cell.image) for cell in found.cells]
        marks = [cell.mark for cell in found.cells]
        async with self._database.reading() as connection:
            earlier = await self._marks(connection, differential_id)
        doubles = await self._found_again(same, marks, earlier)

        async def with_cells(connection: AsyncConnection) -> Mapping[str, str]:
            of_it = CELLS.c.differential_id == differential_id
            number = await connection.scalar(select(CELLS.c.number).where(CELLS.c.cell_id == cell_id)) or 0
            last = await connection.scalar(select(func.max(CELLS.c.number)).where(of_it)) or 0
            after = earlier[-1].number if earlier else 0
            if came := await self._marks(connection, differential_id, after):
                new = [index for index, of in enumerate(doubles) if of is None]
                found_again = await self._found_again(same, [marks[index] for index in new], came)
                for index, of in zip(new, found_again, strict=True):
                    doubles[index] = of
            rows, told = [], []
            for index, (cell, is_same) in enumerate(zip(found.cells, doubles, strict=True)):
                values, details = _analysed(cell.result, replace(cell.place, number=number, same_as=is_same))
                rows.append(
                    {
                        "cell_id": uuid.uuid4().hex,
                        "differential_id": differential_id,
                        "number": last + index + 1,
                        "image_sha256": _sha256(cell.image),
                        "found_in": number,
                        "payload": None if self._keep_images == "never" else images[index],
                        # A cell that is one once more is not looked for again.
                        "mark": None if is_same else self._cipher.encrypted(cell.mark),
                        **values,
                    }
                )
                told.append((rows[-1]["cell_id"], details))
            if rows:
                await connection.execute(insert(CELLS), rows)
                await statements.note_all(connection, _now(), SERVICE, "analysed", differential_id, told)
            kept = await self._kept(connection, differential_id, _ORDERED)
            return {
                "cells": str(len(rows)),
                "result": text_digest(document),
                "digest": kept.found_digest(number),
            }

        values = {"state": SEARCHED, "result": document}
        return await self._record(differential_id, cell_id, SEARCHED, values, with_cells, token)

    async def record_failure(
        self, differential_id: str, cell_id: str, why: str, token: int | None = None
    ) -> Recorded:
        values = {"state": "failed", "failure": why}
        details = {"failure": text_digest(why)}
        return await self._record(differential_id, cell_id, "failed", values, details, token)

    async def add_cell(
        self, differential_id: str, field_id: str, cell: CutOutCell, person: str, seen: Seen = None
    ) -> Specimen:
        image = None if self._keep_images == "never" else self._cipher.encrypted(cell.image)
        cell_id = uuid.uuid4().hex
        of_it = CELLS.c.differential_id == differential_id
        async with self._writing() as connection:
            specimen = await self._specimen(connection, differential_id)
            field = require_room(specimen, field_id, cell.box)
            await statements.require_seen(connection, seen, differential_id)
            await self._require_unaltered(connection, differential_id)
            last = await connection.scalar(select(func.max(CELLS.c.number)).where(of_it)) or 0
            values, details = _analysed(cell.result, replace(cell.place, number=field.number))
            values |= {
                "cell_id": cell_id,
                "differential_id": differential_id,
                "number": last + 1,
                "image_sha256": _sha256(cell.image),
                "found_in": field.number,
                "payload": image,
            }
            await connection.execute(insert(CELLS).values(**values))
            await statements.set_specimen(connection, differential_id, {})
            row = (await connection.execute(select(*_LISTED).where(CELLS.c.cell_id == cell_id))).one()
            details["digest"] = added_digest(row)
            await statements.note(connection, _now(), person, ADDED, differential_id, cell_id, details)
            return await self._specimen(connection, differential_id)

    async def decide(
        self, differential_id: str, cell_id: str, label: str, person: str, seen: Seen = None
    ) -> Specimen:
        now = _now()
        decision = {"label": label, "decided_by": person, "decided_at": now.isoformat()}
        return await self._change_cell(
            differential_id, cell_id, person, "decided", decision, {"label": label}, now, seen
        )

    async def undecide(self, differential_id: str, cell_id: str, person: str, seen: Seen = None) -> Specimen:
        nothing = {"label": None, "decided_by": None, "decided_at": None}
        return await self._change_cell(
            differential_id, cell_id, person, "undecided", nothing, {}, _now(), seen
        )

    async def comment(
        self, differential_id: str, text: str, person: str, cell_id: str | None = None, seen: Seen = None
    ) -> Specimen:
        async with self._writing() as connection:
            await statements.require_open(connection, differential_id)
            if cell_id is not None:
                await statements.require_analysed_cell(connection, differential_id, cell_id)
            return await self._say(connection, differential_id, text, person, cell_id, seen)

    async def add(self, differential_id: str, text: str, person: str, seen: Seen = None) -> Specimen:
        async with self._writing() as connection:
            await statements.require_signed(connection, differential_id)
            added = await self._say(connection, differential_id, text, person, None, seen, is_addendum=True)
        await self._anchor()
        return added

    async def note(
        self, differential_id: str, cell_id: str, actor: str, action: str, details: Mapping[str, str]
    ) -> None:
        async with self._writing() as connection:
            await statements.require_cell(connection, differential_id, cell_id)
            await statements.note(connection, _now(), actor, action, differential_id, cell_id, details)

    async def assign(
        self, differential_id: str, assignee: str | None, actor: Actor, instead_of: str | None = ANYBODY
    ) -> Specimen:
        async with self._writing() as connection:
            await statements.require_open(connection, differential_id)
            specimen = await self._specimen(connection, differential_id)
            require_assignee(specimen, instead_of)
            if specimen.assignee == assignee:
                return specimen
            await self._require_unaltered(connection, differential_id)
            await statements.set_specimen(connection, differential_id, {"assignee": assignee})
            action, details = ("given_back", {}) if assignee is None else ("assigned", {"assignee": assignee})
            await statements.note(connection, _now(), actor, action, differential_id, None, details)
            return await self._specimen(connection, differential_id)

    async def sign(self, differential_id: str, person: str, seen: Seen = None) -> Specimen:
        now = _now()
        async with self._writing() as connection:
            await statements.require_open(connection, differential_id)
            if await statements.has_waiting(connection, differential_id):
                raise NotReady("Cells wait to be analysed.")
            await statements.require_seen(connection, seen, differential_id)
            await self._require_unaltered(connection, differential_id)
            values = {"state": "signed", "signed_by": person, "signed_at": now.isoformat()}
            await statements.set_specimen(connection, differential_id, values)
            await self._let_images_go(connection, differential_id)
            kept = await self._kept(connection, differential_id)
            signed = specimen_of(kept)
            details = {"counts": _counts(signed), "digest": kept.closing_digest()}
            await statements.note(connection, now, person, "signed", differential_id, None, details)
        await self._anchor()
        return signed

    async def cancel(self, differential_id: str, actor: Actor, seen: Seen = None) -> Specimen:
        async with self._writing() as connection:
            await statements.require_open(connection, differential_id)
            await statements.require_seen(connection, seen, differential_id)
            await self._require_unaltered(connection, differential_id)
            await statements.set_specimen(connection, differential_id, {"state": "cancelled"})
            await self._let_images_go(connection, differential_id)
            kept = await self._kept(connection, differential_id)
            details = {"digest": kept.closing_digest()}
            await statements.note(connection, _now(), actor, "cancelled", differential_id, None, details)
            return specimen_of(kept)

    async def image(self, differential_id: str, cell_id: str) -> bytes | None:
        async with self._database.reading() as connection:
            await statements.state_of(connection, differential_id)
            await statements.require_cell(connection, differential_id, cell_id)
            row = (
                await connection.execute(
                    select(CELLS.c.number, CELLS.c.image_sha256, CELLS.c.payload).where(
                        CELLS.c.cell_id == cell_id
                    )
                )
            ).one()
            kept = await self._kept(connection, differential_id, _ORDERED)
            images = AUDIT.c.action.in_(("ordered", SEARCHED, ADDED))
            trail = await self._trail(connection, differential_id, images)
            for what in chain(_changed_rows(trail), order_differences(kept, trail)):
                raise _altered(differential_id, what)
        # One that waits is held for its analysis, which is no reason to show it.
        if self._keep_images == "never" or row.payload is None:
            return None
        payload = self._cipher.decrypted(row.payload)
        if _sha256(payload) != row.image_sha256:
            raise _altered(differential_id, f"cell {row.number}: its image is not the one that was sent")
        return payload

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
        async with self._writing() as connection:
            known = await statements.known_time(connection, now)
            waits = now - known > LONGEST_PAUSE
            RETENTION_WAITS.set(waits)
            if waits:
                _logger.error(
                    "retention removes nothing: the clock says %s, and %s was the last time known to be "
                    "right; if the clock is right, run `wbc store confirm-clock`",
                    now.isoformat(timespec="seconds"),
                    known.isoformat(timespec="seconds"),
                )
                return 0
            await statements.know_time(connection, max(now, known))
            # Two readings must say that it is too old: this one, and the one before.
            limit = (min(now, known) - self._retention).astimezone(UTC).isoformat()
            # Of a specimen whose time was changed the trail knows the right one.
            ordered = exists().where(
                AUDIT.c.differential_id == SPECIMENS.c.differential_id,
                AUDIT.c.action == "ordered",
                AUDIT.c.at < limit,
            )
            old = list(
                await connection.scalars(
                    select(SPECIMENS.c.differential_id).where(SPECIMENS.c.created_at < limit, ordered)
                )
            )
            for differential_id in old:
                await connection.execute(
                    delete(SPECIMENS).where(SPECIMENS.c.differential_id == differential_id)
                )
                await statements.note(connection, _now(), SERVICE, "purged", differential_id, None, {})
        return len(old)

    async def confirm_clock(self, now: datetime, actor: Actor) -> None:
        async with self._writing() as connection:
            await statements.know_time(connection, now)
            said = {"clock": now.astimezone(UTC).isoformat(timespec="seconds")}
            await statements.note(connection, _now(), actor, "clock_confirmed", None, None, said)

    async def probe(self) -> None:
        await self._database.probe()

    async def audit(self, differential_id: str | None = None) -> list[AuditEntry]:
        query = select(AUDIT).order_by(AUDIT.c.sequence)
        if differential_id is not None:
            if not statements.is_id(differential_id):
                return []
            query = query.where(AUDIT.c.differential_id == differential_id)
        async with self._database.reading() as connection:
            return [entry_of(row) for row in await connection.execute(query)]

    async def head(self) -> tuple[int, str]:
        async with self._database.reading() as connection:
            return await statements.last_row(connection)

    async def verify(self, anchors: Mapping[int, str] = MappingProxyType({})) -> AuditVerdict:
        async with self._database.reading() as connection:
            heads = list(await connection.execute(select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.row_hash)))
            head = (heads[0].sequence, heads[0].row_hash) if len(heads) == 1 else (0, "")
            rows = await connection.execute(select(AUDIT).order_by(AUDIT.c.sequence))
            verdict = verified(map(entry_of, rows), head, anchors)
            if not verdict.ok:
                return verdict
            older: list[str] = []
            altered = [what async for what in self._alterations(connection, older)]
        why = altered[0] if altered else None
        return replace(verdict, ok=not altered, why=why, altered=tuple(altered), older=tuple(older))

    async def _alterations(self, connection: AsyncConnection, older: list[str]) -> AsyncIterator[str]:
        """What differs from the trail, a sentence each; ids of what was closed before digests are added to
        ``older``."""
        steps = select(AUDIT.c.differential_id).order_by(AUDIT.c.sequence)
        ordered = dict.fromkeys(await connection.scalars(steps.where(AUDIT.c.action == "ordered")))
        purged = set(await connection.scalars(steps.where(AUDIT.c.action == "purged")))
        in_order = select(SPECIMENS.c.differential_id).order_by(SPECIMENS.c.place)
        there = dict.fromkeys(await connection.scalars(in_order))
        for differential_id in ordered:
            if differential_id not in there and differential_id not in purged:
                yield f"{differential_id}: it was ordered, and is not there any more"
        if [one for one in ordered if one in there] != [one for one in there if one in ordered]:
            yield "the specimens are not in the order in which they came"
        for differential_id in there:
            if differential_id in purged:
                yield f"{differential_id}: it was removed by retention, and is there"
            try:
                kept, trail = await self._with_trail(connection, differential_id)
            except StoreUnavailable as error:  # of the cipher
                yield f"{differential_id}: {error}"
                continue
            altered = [*differences(kept, trail)]
            for what in altered or listed_differences(kept):
                yield f"{differential_id}: {what}"
            if is_older(trail):
                older.append(differential_id)
        belongs = exists().where(SPECIMENS.c.differential_id == CELLS.c.differential_id)
        for cell_id in await connection.scalars(select(CELLS.c.cell_id).where(~belongs)):
            yield f"the cell {cell_id} belongs to no specimen"
        belongs = exists().where(SPECIMENS.c.differential_id == COMMENTS.c.differential_id)
        for differential_id in await connection.scalars(select(COMMENTS.c.differential_id).where(~belongs)):
            yield f"{differential_id}: it has a comment, and is not there"
        held = select(CELLS.c.differential_id, CELLS.c.number, CELLS.c.image_sha256, CELLS.c.payload)
        # One image at a time: together they may be more than the memory.
        images = await connection.stream(
            held.where(CELLS.c.payload.is_not(None)).execution_options(max_row_buffer=1)
        )
        async for row in images:
            if not self._is_image(row.payload, row.image_sha256):
                yield f"{row.differential_id}: cell {row.number}: its image is not the one that was sent"

    async def _marks(
        self, connection: AsyncConnection, differential_id: str, after: int = 0
    ) -> Sequence[Row[Any, Any, Any]]:
        """Of a specimen's cells that may be found again, those with numbers beyond ``after``, by number."""
        marked = select(CELLS.c.cell_id, CELLS.c.number, CELLS.c.mark).where(
            CELLS.c.differential_id == differential_id, CELLS.c.mark.is_not(None), CELLS.c.number > after
        )
        return (await connection.execute(marked.order_by(CELLS.c.number))).all()

    async def _found_again(
        self, same: SameCells, marks: Sequence[bytes], known: Sequence[Row[Any, Any, Any]]
    ) -> list[str | None]:
        """By mark the id of the known cell that it is."""
        doubles = await asyncio.to_thread(
            lambda: same(marks, [self._cipher.decrypted(row.mark) for row in known])
        )
        return [None if double is None else known[double].cell_id for double in doubles]

    def _kept_image(self, payloads: Sequence[bytes], index: int) -> bytes:
        return self._cipher.encrypted(payloads[index])

    def _image_as_sent(self, payload: bytes | None, image_sha256: str, name: str) -> bytes | None:
        """The image of a cell that waits; None where it is not the one that was ordered.

        Raises ``StoreUnavailable`` where no key fits, as that of the specimen's ``name`` tells."""
        self._cipher.decrypted_text(name)
        if payload is None or not self._is_image(payload, image_sha256):
            return None
        return self._cipher.decrypted(payload)

    def _is_image(self, payload: bytes, image_sha256: str) -> bool:
        try:
            return _sha256(self._cipher.decrypted(payload)) == image_sha256
        except StoreUnavailable:  # of the cipher
            return False

    async def _let_images_go(self, connection: AsyncConnection, differential_id: str) -> None:
        """Of a specimen that is closed, as nobody will analyse or review it; and the marks of its cells."""
        gone = {"mark": None} if self._keep_images == "always" else {"mark": None, "payload": None}
        of_it = CELLS.c.differential_id == differential_id
        await connection.execute(update(CELLS).where(of_it).values(**gone))

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
        details: Mapping[str, str] | Callable[[AsyncConnection], Awaitable[Mapping[str, str]]],
        token: int | None,
    ) -> Recorded:
        """``details`` may do more within the transaction, and say what stands of it in the trail."""
        kept = {"payload": None} if self._keep_images == "never" else {}
        held = (CELLS.c.state == "waiting",) if token is None else statements.held_by(token)
        async with self._writing() as connection:
            if await statements.state_of(connection, differential_id) in statements.FINAL:
                return Recorded.REFUSED
            await statements.require_cell(connection, differential_id, cell_id)
            changed = await connection.execute(
                update(CELLS)
                .where(CELLS.c.cell_id == cell_id, *held)
                .values(leased_until=None, version=CELLS.c.version + 1, **values, **kept)
            )
            if changed.rowcount != 1:
                return Recorded.REFUSED
            if not isinstance(details, Mapping):
                details = await details(connection)
            left = await statements.has_waiting(connection, differential_id)
            await statements.set_specimen(
                connection, differential_id, {"state": "running" if left else "analysed"}
            )
            if not left:
                of_it = CELLS.c.differential_id == differential_id
                await connection.execute(update(CELLS).where(of_it).values(mark=None))
            await statements.note(connection, _now(), SERVICE, action, differential_id, cell_id, details)
            return Recorded.TAKEN if left else Recorded.LAST

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
        at: datetime,
        seen: Seen,
    ) -> Specimen:
        changed = {"version": CELLS.c.version + 1, **values}
        async with self._writing() as connection:
            await statements.require_open(connection, differential_id)
            await statements.require_cell(connection, differential_id, cell_id)
            await statements.require_seen(connection, seen, differential_id, cell_id)
            await self._require_unaltered(connection, differential_id)
            if action == "decided":
                await statements.require_no_double(connection, cell_id)
            await connection.execute(update(CELLS).where(CELLS.c.cell_id == cell_id).values(**changed))
            await statements.set_specimen(connection, differential_id, {})
            cell = (await connection.execute(select(*_LISTED).where(CELLS.c.cell_id == cell_id))).one()
            details = {**details, "digest": cell_digest(cell)}
            await statements.note(connection, at, person, action, differential_id, cell_id, details)
            return await self._specimen(connection, differential_id)

    async def _say(
        self,
        connection: AsyncConnection,
        differential_id: str,
        text: str,
        person: str,
        cell_id: str | None,
        seen: Seen,
        *,
        is_addendum: bool = False,
    ) -> Specimen:
        await statements.require_seen(connection, seen, differential_id, cell_id)
        await self._require_unaltered(connection, differential_id)
        of_it = COMMENTS.c.differential_id == differential_id
        said = list(await connection.scalars(select(COMMENTS.c.is_addendum).where(of_it)))
        if said.count(is_addendum) >= MAX_COMMENTS:
            raise TooManyComments(f"The differential has {MAX_COMMENTS} comments, and takes no more.")
        now = _now()
        row = CommentRow(len(said) + 1, cell_id, person, now.isoformat(), text, int(is_addendum))
        values = row._asdict() | {"text": self._cipher.encrypted_text(text)}
        await connection.execute(insert(COMMENTS).values(differential_id=differential_id, **values))
        await statements.set_specimen(connection, differential_id, {})
        action, details = COMMENTED[is_addendum], {"number": str(row.number), "digest": row.digest()}
        await statements.note(connection, now, person, action, differential_id, cell_id, details)
        return await self._specimen(connection, differential_id)

    async def _anchor(self) -> None:
        """Tell the head to those who keep it elsewhere; the signature stands whether they take it or not."""
        if not self._anchors:
            return
        try:
            line = head_line(*await self.head())
        except StoreUnavailable:
            _logger.error("the head of the audit trail was not kept elsewhere: it cannot be read")
            return
        for anchor in self._anchors:
            try:
                await asyncio.to_thread(anchor.keep, line)
            except OSError as error:  # the next signature's head covers this row too
                _logger.error("the head of the audit trail was not kept elsewhere: %s", error.strerror)

    async def _with_trail(
        self, connection: AsyncConnection, differential_id: str
    ) -> tuple[Kept, list[AuditEntry]]:
        return await self._kept(connection, differential_id), await self._trail(connection, differential_id)

    async def _trail(
        self, connection: AsyncConnection, differential_id: str, *those: ColumnElement[bool]
    ) -> list[AuditEntry]:
        of_it = select(AUDIT).where(AUDIT.c.differential_id == differential_id, *those)
        return [entry_of(row) for row in await connection.execute(of_it.order_by(AUDIT.c.sequence))]

    async def _require_unaltered(self, connection: AsyncConnection, differential_id: str) -> None:
        """Raises ``RecordAltered`` where a specimen is not what its rows of the trail say."""
        await asyncio.to_thread(_check, *await self._with_trail(connection, differential_id))

    def _checked(self, kept: Kept, trail: Sequence[AuditEntry]) -> Specimen:
        """The specimen. Raises as :meth:`_require_unaltered`."""
        _check(kept, trail)
        return specimen_of(kept)

    async def _specimen(self, connection: AsyncConnection, differential_id: str) -> Specimen:
        return specimen_of(await self._kept(connection, differential_id))

    async def _kept(
        self,
        connection: AsyncConnection,
        differential_id: str,
        columns: Sequence[ColumnElement[Any]] = _LISTED,
    ) -> Kept:
        row = None
        if statements.is_id(differential_id):
            found = select(SPECIMENS).where(SPECIMENS.c.differential_id == differential_id)
            row = (await connection.execute(found)).one_or_none()
        if row is None:
            raise UnknownDifferential("There is no differential of this id.")
        cells = await connection.execute(
            select(*columns).where(CELLS.c.differential_id == differential_id).order_by(CELLS.c.number)
        )
        keys = select(ORDER_KEYS.c.actor, ORDER_KEYS.c.idempotency_key, ORDER_KEYS.c.fingerprint)
        of_it = await connection.execute(keys.where(ORDER_KEYS.c.differential_id == differential_id))
        name = self._cipher.decrypted_text(row.specimen_id)
        said = await connection.execute(
            select(*(COMMENTS.c[name] for name in CommentRow._fields))
            .where(COMMENTS.c.differential_id == differential_id)
            .order_by(COMMENTS.c.number)
        )
        comments = [CommentRow(*comment) for comment in said]
        return Kept(
            row,
            name,
            tuple(cells),
            sorted((key[0], key[1], key[2]) for key in of_it),
            [comment._replace(text=self._cipher.decrypted_text(comment.text)) for comment in comments],
        )

    def _summary(self, row: Row[Any], counts: statements.CellCounts) -> SpecimenSummary:
        return SpecimenSummary(
            differential_id=row.differential_id,
            specimen_id=self._cipher.decrypted_text(row.specimen_id),
            state=row.state,
            created_at=datetime.fromisoformat(row.created_at),
            unreviewed=row.unreviewed,
            signature=signature_of(row),
            assignee=row.assignee,
            **counts._asdict(),
        )

    @property
    def _created_at(self) -> ColumnElement[str]:
        """As it is sorted: else by the rules of some language."""
        created_at: ColumnElement[str] = SPECIMENS.c.created_at
        return created_at if self._database.is_sqlite else created_at.collate("C")

    def _found_by(self, search: SpecimenSearch) -> list[ColumnElement[bool]]:
        created_at, assignee = self._created_at, SPECIMENS.c.assignee
        found: list[ColumnElement[bool]] = []
        if search.specimen_id is not None:
            found.append(SPECIMENS.c.name_key.in_(self._cipher.name_keys(search.specimen_id)))
        if search.created_from is not None:
            found.append(created_at >= search.created_from.astimezone(UTC).isoformat())
        if search.created_before is not None:
            found.append(created_at < search.created_before.astimezone(UTC).isoformat())
        if search.text is not None:
            found.append(SPECIMENS.c.place.in_(self._named(search.text)))
        if search.assignee is not None:
            found.append(assignee == search.assignee if search.assignee else assignee.is_(None))
        if search.needs_review:
            found.append(SPECIMENS.c.unreviewed > 0)
        return found

    def _named(self, text: str) -> Select[tuple[int]] | CompoundSelect[tuple[int]]:
        """The places of what a person may mean who types this."""
        by_name = select(SPECIMENS.c.place).where(SPECIMENS.c.name_key.in_(self._cipher.name_keys(text)))
        if not re.fullmatch("[0-9a-f]{4,32}", text.lower()):
            return by_name
        differential_id: ColumnElement[str] = SPECIMENS.c.differential_id
        begins = differential_id.between(text.lower(), text.lower().ljust(32, "f"))
        return union(by_name, select(SPECIMENS.c.place).where(begins))

    async def _key_names(self) -> None:
        """Make findable what an older version has kept."""
        nameless = select(SPECIMENS.c.place, SPECIMENS.c.specimen_id).where(SPECIMENS.c.name_key.is_(None))
        async with self._database.reading() as connection:
            if not (rows := list(await connection.execute(nameless))):
                return
        keys: dict[int, str] = {}
        for row in rows:
            with suppress(StoreUnavailable):  # encrypted by a key that is not known any more
                keys[row.place] = self._cipher.name_keys(self._cipher.decrypted_text(row.specimen_id))[0]
        async with self._database.writing() as connection:
            for place, key in keys.items():
                await connection.execute(
                    update(SPECIMENS).where(SPECIMENS.c.place == place).values(name_key=key)
                )


def _analysed(result: CellResult, place: FieldPlace | None = None) -> tuple[dict[str, Any], dict[str, str]]:
    """The columns of an analysed cell, and what the trail says of it."""
    document = result_document(result, place)
    is_asked = bool(result.review_codes) and (place is None or place.same_as is None)
    values = {"state": "analysed", "result": document, "needs_review": int(is_asked)}
    model = result.model.sha256 or f"{result.model.name} {result.model.version}"
    return values, {"class": result.class_name, "result": text_digest(document), "model": model}


def _sha256(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()


def _check(kept: Kept, trail: Sequence[AuditEntry]) -> None:
    for what in chain(_changed_rows(trail), differences(kept, trail)):
        raise _altered(kept.row.differential_id, what)


def _changed_rows(trail: Sequence[AuditEntry]) -> Iterator[str]:
    return (f"row {e.sequence} of its trail was changed" for e in trail if e.row_hash != hash_of(e))


def _altered(differential_id: str, what: str) -> RecordAltered:
    # Whoever asks is told, and so is whoever runs the service.
    _logger.error("differential %s was changed past the service: %s", differential_id, what)
    return RecordAltered(what)


def _counts(specimen: Specimen) -> str:
    """What was signed: label and number of cells, in one line."""
    counts = Counter(
        cell.label or "failed" for cell in specimen.cells if cell.label is not None or cell.state == "failed"
    )
    return ", ".join(f"{label} {count}" for label, count in sorted(counts.items()))


def _now() -> datetime:
    return datetime.now(UTC)
