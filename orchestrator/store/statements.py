"""What is asked and written within a transaction, by whoever holds it."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Row, case, delete, exists, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.errors import (
    ChangedMeanwhile,
    CountedAlready,
    NotReady,
    SpecimenClosed,
    UnknownCell,
    UnknownDifferential,
)
from orchestrator.specimen import cell_etag, differential_etag
from orchestrator.store.audit_chain import GENESIS, chained
from orchestrator.store.base import Seen
from orchestrator.store.documents import place_of
from orchestrator.store.tables import AUDIT, AUDIT_HEAD, CELLS, CLOCK, ORDER_KEYS, SEARCHED, SPECIMENS

FINAL: Final = ("signed", "cancelled")
"""States in which nothing of a specimen changes any more."""


def held_by(token: int) -> tuple[ColumnElement[bool], ...]:
    """Of a cell that waits and was leased to nobody else since; ``token`` is that of the lease."""
    return CELLS.c.state == "waiting", CELLS.c.lease_token == token


def is_id(text: str) -> bool:
    """Whether it can be the id of a specimen or a cell; some databases fail on what is not even text."""
    return re.fullmatch("[0-9a-f]{32}", text) is not None


class CellCounts(NamedTuple):
    """How many cells of a specimen there are, wait to be analysed, and failed."""

    cells: int = 0
    waiting: int = 0
    failed: int = 0


async def cell_counts(connection: AsyncConnection, ids: Sequence[str]) -> Mapping[str, CellCounts]:
    """By specimen, counted by the database from an index alone."""

    def number(condition: ColumnElement[bool]) -> ColumnElement[int]:
        return func.sum(case((condition, 1), else_=0))

    rows = await connection.execute(
        select(
            CELLS.c.differential_id,
            func.count(),
            number(CELLS.c.state == "waiting"),
            number(CELLS.c.state == "failed"),
        )
        .where(CELLS.c.differential_id.in_(ids), CELLS.c.state != SEARCHED)
        .group_by(CELLS.c.differential_id)
    )
    return defaultdict(CellCounts, {row[0]: CellCounts(*row[1:]) for row in rows})


async def note(
    connection: AsyncConnection,
    at: datetime,
    actor: str,
    action: str,
    differential_id: str | None,
    cell_id: str | None,
    details: Mapping[str, str],
) -> None:
    """Add a row to the audit trail; the transaction holds the lock of its head."""
    await note_all(connection, at, actor, action, differential_id, [(cell_id, details)])


async def note_all(
    connection: AsyncConnection,
    at: datetime,
    actor: str,
    action: str,
    differential_id: str | None,
    told: Iterable[tuple[str | None, Mapping[str, str]]],
) -> None:
    """The same for cells and their details, at once."""
    head = (await connection.execute(select(AUDIT_HEAD.c.sequence, AUDIT_HEAD.c.row_hash))).one()
    sequence, row_hash = head.sequence, head.row_hash
    rows: list[dict[str, Any]] = []
    for cell_id, details in told:
        entry = chained(sequence + 1, at, actor, action, differential_id, cell_id, details, row_hash)
        sequence, row_hash = entry.sequence, entry.row_hash
        text = json.dumps(dict(entry.details), sort_keys=True, ensure_ascii=False)
        rows.append({**asdict(entry), "at": entry.at.isoformat(), "details": text})
    if rows:
        await connection.execute(insert(AUDIT), rows)
        await connection.execute(update(AUDIT_HEAD).values(sequence=sequence, row_hash=row_hash))


async def last_row(connection: AsyncConnection) -> tuple[int, str]:
    """Number and hash of the last row."""
    last = select(AUDIT.c.sequence, AUDIT.c.row_hash).order_by(AUDIT.c.sequence.desc()).limit(1)
    row = (await connection.execute(last)).one_or_none()
    return (0, GENESIS) if row is None else (row.sequence, row.row_hash)


async def known_time(connection: AsyncConnection, now: datetime) -> datetime:
    """The last time that was held for right: before the first look of retention, that of the newest row."""
    known = await connection.scalar(select(CLOCK.c.known_at))
    if known is None:
        known = await connection.scalar(select(AUDIT.c.at).order_by(AUDIT.c.sequence.desc()).limit(1))
    return now if known is None else datetime.fromisoformat(known)


async def know_time(connection: AsyncConnection, at: datetime) -> None:
    """Hold a time for right."""
    await connection.execute(delete(CLOCK))
    await connection.execute(insert(CLOCK).values(id=1, known_at=at.astimezone(UTC).isoformat()))


async def known_order(connection: AsyncConnection, actor: str, key: str) -> Row[Any] | None:
    """The order that an actor gave under this key before."""
    query = select(ORDER_KEYS).where(ORDER_KEYS.c.actor == actor, ORDER_KEYS.c.idempotency_key == key)
    return (await connection.execute(query)).one_or_none()


async def state_of(connection: AsyncConnection, differential_id: str) -> str:
    """Of a specimen; raises ``UnknownDifferential``."""
    state = None
    if is_id(differential_id):
        state = await connection.scalar(
            select(SPECIMENS.c.state).where(SPECIMENS.c.differential_id == differential_id)
        )
    if state is None:
        raise UnknownDifferential("There is no differential of this id.")
    return str(state)


async def require_open(connection: AsyncConnection, differential_id: str) -> None:
    """Raises ``SpecimenClosed``, or ``UnknownDifferential``."""
    if await state_of(connection, differential_id) in FINAL:
        raise SpecimenClosed("The differential is signed or cancelled.")


async def require_cell(connection: AsyncConnection, differential_id: str, cell_id: str) -> None:
    """Raises ``UnknownCell``."""
    query = select(func.count()).where(CELLS.c.differential_id == differential_id, CELLS.c.cell_id == cell_id)
    if not is_id(cell_id) or not await connection.scalar(query):
        raise UnknownCell("The differential has no cell of this id.")


async def require_analysed_cell(connection: AsyncConnection, differential_id: str, cell_id: str) -> None:
    """Raises ``NotReady`` of one that waits, which may turn out to be a field; ``UnknownCell`` of a field."""
    await require_cell(connection, differential_id, cell_id)
    state = await connection.scalar(select(CELLS.c.state).where(CELLS.c.cell_id == cell_id))
    if state == "waiting":
        raise NotReady("The cell waits to be analysed.")
    if state == SEARCHED:
        raise UnknownCell("This is a field, not a cell of it.")


async def require_signed(connection: AsyncConnection, differential_id: str) -> None:
    """Raises ``NotReady`` before the signature, ``SpecimenClosed`` of what was cancelled, or
    ``UnknownDifferential``."""
    state = await state_of(connection, differential_id)
    if state == "cancelled":
        raise SpecimenClosed("The differential is cancelled.")
    if state != "signed":
        raise NotReady("The differential is not signed: comment on it instead of adding to it.")


async def require_no_double(connection: AsyncConnection, cell_id: str) -> None:
    """Raises ``CountedAlready`` where it is a cell of another field once more."""
    of_field = select(CELLS.c.result).where(CELLS.c.cell_id == cell_id, CELLS.c.found_in.is_not(None))
    document = await connection.scalar(of_field)
    if document is not None and (place := place_of(document)) is not None and place.same_as is not None:
        raise CountedAlready(CountedAlready.kind.example)


async def etag_of(connection: AsyncConnection, differential_id: str) -> str:
    """Of a specimen that is there."""
    version = await connection.scalar(
        select(SPECIMENS.c.version).where(SPECIMENS.c.differential_id == differential_id)
    )
    return differential_etag(version or 0)


async def require_seen(
    connection: AsyncConnection, seen: Seen, differential_id: str, cell_id: str | None = None
) -> None:
    """Raises ``ChangedMeanwhile`` where neither the cell nor its specimen is as it was ``seen``."""
    if seen is None:
        return
    current = {await etag_of(connection, differential_id)}
    if cell_id is not None:
        version = await connection.scalar(select(CELLS.c.version).where(CELLS.c.cell_id == cell_id))
        current.add(cell_etag(version or 0))
    if current.isdisjoint(seen):
        what = "differential" if cell_id is None else "cell"
        raise ChangedMeanwhile(f"The {what} was changed since it was read; read it again and decide anew.")


async def has_waiting(connection: AsyncConnection, differential_id: str) -> bool:
    """Whether cells of a specimen wait to be analysed."""
    waits = exists().where(CELLS.c.differential_id == differential_id, CELLS.c.state == "waiting")
    return bool(await connection.scalar(select(waits)))


async def set_specimen(connection: AsyncConnection, differential_id: str, values: Mapping[str, Any]) -> None:
    """Change a specimen, which makes it a new version."""
    changed = {"version": SPECIMENS.c.version + 1, **values}
    await connection.execute(
        update(SPECIMENS).where(SPECIMENS.c.differential_id == differential_id).values(**changed)
    )
