"""What becomes of a store that somebody changes past the service: columns; rows removed, added, reordered.

    python -m loadtests.tamper [--postgresql URL]

Makes a small real store (SQLite, or in databases of its own on the server at URL, which ends in ``/``), then
does one change at a time to a copy of it, past the database's guards, and asks `wbc audit verify` and an edge
that gives the signed differential out. Each change is found, refused, or harmless for a reason that stands
here; anything else is exit code 1. An anchor is a head of the trail that was kept elsewhere before.
"""

import argparse
import asyncio
import itertools
import json
import logging
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from sqlalchemy import LargeBinary, String, Text, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.errors import RecordAltered, WbcError
from orchestrator.specimen import CellResult, SpecimenOrder
from orchestrator.store.audit_chain import GENESIS, chained
from orchestrator.store.base import AuditEntry
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from orchestrator.store.tables import AUDIT, AUDIT_HEAD, METADATA

Change = Callable[[AsyncConnection, "Ids"], Awaitable[None]]

HARMLESS: Final[Mapping[str, str]] = {
    "cells.attempts": "counts tries of an image that waits; no result has it",
    "cells.leased_until": "an image is analysed once more, or later; no result has it",
    "cells.lease_token": "the work of one image is refused, and done anew; no result has it",
    "cells.mark": "while fields wait a cell in two of them is counted twice, or once; then it is gone",
    "cells.version": "a decision by `If-Match` is refused, or is not; what was decided has its digest",
    "specimens.version": "a signature by `If-Match` is refused, or is not; what was signed has its digest",
    "specimens.name_key": "a search by the laboratory's name misses it; every answer has the name itself",
    "audit_head.id": "nothing reads it",
    "clock.id": "nothing reads it",
    "clock.known_at": "retention then waits, or needs the clock itself to be wrong too; no result has it",
    "clock: its row removed": "the newest row of the trail then stands for it; no result has it",
}
"""What is neither found by verify nor refused by an export, and why that may be."""


_NOTHING: Final[Mapping[str, str]] = {
    "specimens.kind": "'field'",
    "specimens.assignee": "'anna'",
    "cells.found_in": "1",
}
"""Columns that hold nothing of an order of cells, and what stands there after a change."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Of the store that is changed."""

    signed: str
    cancelled: str
    open: str


@dataclass(frozen=True, slots=True)
class Case:
    """One change; ``only_anchored`` where whoever did it wrote the chain anew, which only an anchor shows."""

    name: str
    change: Change
    only_anchored: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was said after it: by verify, by verify with an anchor, and of the signed differential."""

    case: Case
    verify: str | None
    anchored: str | None
    export: str | None

    @property
    def is_right(self) -> bool:
        if self.case.only_anchored:
            return self.anchored is not None
        if self.case.name in HARMLESS:
            return (self.verify, self.anchored, self.export) == (None, None, None)
        return self.verify is not None

    @property
    def words(self) -> str:
        if self.verify is not None:
            found = "found by verify"
        elif self.anchored is not None:
            found = "found by verify --anchor alone"
        else:
            return f"harmless: {HARMLESS.get(self.case.name, 'NOT KNOWN WHY')}"
        return f"{found}; the export is refused" if self.export is not None else found


ORDER: Final = SpecimenOrder("S-1", 6.2, "default", "full")


def result(name: str, number: int) -> CellResult:
    """A result; other numbers give others."""
    return CellResult(
        class_name=name,
        probabilities=(0.1, 0.1, 0.2, 0.3, 0.3),
        margin=0.1,
        energy=-number / 7,
        review_codes=(),
        focus_ratio=None,
        views=8,
        image_size=(360, 480),
        model=ModelIdentity("wbc", 4, "ab" * 32, "embedded"),
        profile="default",
        analysed_at=datetime(2026, 3, 2, 9, 41, number, tzinfo=UTC),
    )


async def made(url: str) -> Ids:
    """Fill the store: one specimen that is signed last, with an addendum, one cancelled, one open."""
    store = SqlStore(Database(url), keep_images="always", retention=timedelta(days=3650))
    await store.start()
    try:
        return await _filled(store)
    finally:
        await store.close()


async def _filled(store: SqlStore) -> Ids:
    images = [b"image one", b"image two", b"image three"]
    signed, _ = await store.create(ORDER, images, "lis", "key-1")
    cancelled, _ = await store.create(SpecimenOrder("S-2"), images[:1], "lis")
    waiting, _ = await store.create(SpecimenOrder("S-3"), images[:2], "lis", "key-2")
    first, second, third = (cell.cell_id for cell in signed.cells)
    await store.record_result(signed.differential_id, first, result("Monocyte", 1))
    await store.record_result(signed.differential_id, second, result("Neutrophil", 2))
    await store.record_failure(signed.differential_id, third, "The JPEG data ends early.")
    await store.decide(signed.differential_id, first, "Lymphocyte", "doctor")
    await store.decide(signed.differential_id, second, "Basophil", "doctor")
    await store.undecide(signed.differential_id, second, "doctor")
    await store.comment(signed.differential_id, "Smudged.", "doctor", first)
    await store.comment(signed.differential_id, "Thick smear.", "doctor")
    await store.record_result(waiting.differential_id, waiting.cells[0].cell_id, result("Monocyte", 3))
    await store.cancel(cancelled.differential_id, "lis")
    await store.sign(signed.differential_id, "doctor")
    await store.add(signed.differential_id, "Told by telephone.", "doctor")
    return Ids(signed.differential_id, cancelled.differential_id, waiting.differential_id)


def _sql(*statements: str) -> Change:
    async def change(connection: AsyncConnection, ids: Ids) -> None:
        for statement in statements:
            done = await connection.execute(text(statement.format(signed=ids.signed, open=ids.open)))
            if done.rowcount == 0:
                raise LookupError(f"nothing was changed by {statement}")

    return change


_OF_SIGNED: Final = "differential_id = '{signed}'"
_ROW: Final[Mapping[str, str]] = {
    "specimens": _OF_SIGNED,
    "cells": f"{_OF_SIGNED} AND number = 1",
    "cells.differential_id": f"{_OF_SIGNED} AND number = 3",
    "cells.failure": f"{_OF_SIGNED} AND number = 3",
    "comments": f"{_OF_SIGNED} AND number = 1",
    "order_keys": _OF_SIGNED,
    "audit": "action = 'signed'",
    "audit.cell_id": f"{_OF_SIGNED} AND action = 'undecided'",
    "audit_head": "id = 1",
    "clock": "id = 1",
    "alembic_version": "1 = 1",
}
"""By table, or by column, the row that is changed."""

_VALUE: Final[Mapping[str, str]] = {
    "specimens.place": "9",
    "specimens.state": "'analysed'",
    "cells.state": "'failed'",
    "cells.label": "'Basophil'",
    "cells.number": "9",
    "audit.at": "'2026-01-01T00:00:00+00:00'",
    "audit.sequence": "99",
    "order_keys.differential_id": "'{open}'",
    "cells.differential_id": "'{open}'",
    "comments.differential_id": "'{open}'",
    "comments.number": "9",
    "alembic_version.version_num": "'9999'",
}
"""By column, the value that it gets; elsewhere one made of the old one."""


def _columns() -> Iterator[Case]:
    for table in METADATA.sorted_tables:
        for column in table.columns:
            name = f"{table.name}.{column.name}"
            if name in _NOTHING:
                other = _NOTHING[name]
            elif isinstance(column.type, LargeBinary):
                other = f"substr({column.name}, 2)"
            elif isinstance(column.type, String | Text):
                other = f"'x' || substr({column.name}, 2)"
            else:
                other = f"{column.name} + 1"
            yield _column(name, table.name, column.name, other)
    yield _column("alembic_version.version_num", "alembic_version", "version_num", "")


def _column(name: str, table: str, column: str, other: str) -> Case:
    where = _ROW.get(name, _ROW[table])
    return Case(name, _sql(f"UPDATE {table} SET {column} = {_VALUE.get(name, other)} WHERE {where}"))


_LAST: Final = "(SELECT max(sequence) FROM audit)"


def _exchange(table: str, column: str, one: str, other: str) -> tuple[str, str, str]:
    """Statements by which the values 1 and 2 of a unique column change places."""
    return (
        f"UPDATE {table} SET {column} = 1000 WHERE {one}",
        f"UPDATE {table} SET {column} = {column} - 1 WHERE {other}",
        f"UPDATE {table} SET {column} = 2 WHERE {column} = 1000",
    )


_COPIED: Final = "CREATE TABLE copied AS SELECT * FROM cells"
_FROM_OTHER: Final = (
    "(SELECT {column} FROM copied WHERE copied.differential_id = cells.differential_id "
    "AND copied.number = 3 - cells.number)"
)


def _exchanged_cells(*columns: str) -> Change:
    """The first two cells of the signed specimen exchange values."""

    async def change(connection: AsyncConnection, ids: Ids) -> None:
        await connection.execute(text(_COPIED))
        values = ", ".join(f"{column} = {_FROM_OTHER.format(column=column)}" for column in columns)
        where = f"differential_id = '{ids.signed}' AND number < 3"
        await connection.execute(text(f"UPDATE cells SET {values} WHERE {where}"))
        await connection.execute(text("DROP TABLE copied"))

    return change


def _rows() -> Iterator[Case]:
    signed, cell = _ROW["specimens"], _ROW["cells"]
    yield Case("specimens: the signed one removed", _sql(f"DELETE FROM specimens WHERE {signed}"))
    yield Case(
        "specimens: the signed one and its cells removed",
        _sql(
            *(
                f"DELETE FROM {table} WHERE {signed}"
                for table in ("cells", "comments", "order_keys", "specimens")
            )
        ),
    )
    yield Case("cells: one removed", _sql(f"DELETE FROM cells WHERE {cell}"))
    yield Case("comments: one removed", _sql(f"DELETE FROM comments WHERE {_ROW['comments']}"))
    yield Case("comments: the addendum removed", _sql("DELETE FROM comments WHERE is_addendum = 1"))
    yield Case("order_keys: one removed", _sql(f"DELETE FROM order_keys WHERE {signed}"))
    yield Case("audit: the first removed", _sql("DELETE FROM audit WHERE sequence = 1"))
    yield Case("audit: one in the middle removed", _sql("DELETE FROM audit WHERE action = 'decided'"))
    yield Case("audit: the last removed", _sql(f"DELETE FROM audit WHERE sequence = {_LAST}"))
    yield Case("audit: all removed", _sql("DELETE FROM audit"))
    yield Case("audit_head: its row removed", _sql("DELETE FROM audit_head"))
    yield Case("clock: its row removed", _sql("DELETE FROM clock"))
    yield Case("alembic_version: its row removed", _sql("DELETE FROM alembic_version"))
    last_hash = f"(SELECT row_hash FROM audit WHERE sequence = {_LAST})"
    head = f"UPDATE audit_head SET sequence = {_LAST}, row_hash = {last_hash}"
    cut = f"DELETE FROM audit WHERE sequence = {_LAST}"
    yield Case("audit: the last removed, and the head set to it", _sql(cut, head))
    empty = f"UPDATE audit_head SET sequence = 0, row_hash = '{GENESIS}'"
    yield Case("audit: all removed, and the head set to it", _sql("DELETE FROM audit", empty))
    reopened = f"UPDATE specimens SET state = 'analysed', signed_by = NULL, signed_at = NULL WHERE {signed}"
    undone = "DELETE FROM audit WHERE sequence >= (SELECT sequence FROM audit WHERE action = 'signed')"
    added = "DELETE FROM comments WHERE is_addendum = 1"
    yield Case(
        "a signature undone: its row, the head, the specimen", _sql(undone, added, head, reopened), True
    )
    everything = ("cells", "comments", "order_keys", "specimens", "audit")
    yield Case("every row of every table removed", _sql(*(f"DELETE FROM {one}" for one in everything), empty))
    yield Case(
        "audit: two rows reordered", _sql(*_exchange("audit", "sequence", "sequence = 1", "sequence = 2"))
    )
    yield Case("specimens: two reordered", _sql(*_exchange("specimens", "place", "place = 1", "place = 2")))
    one, two = f"{_OF_SIGNED} AND number = 1", f"{_OF_SIGNED} AND number = 2"
    yield Case("cells: two reordered", _sql(*_exchange("cells", "number", one, two)))
    yield Case("cells: results of two exchanged", _exchanged_cells("result"))
    yield Case("cells: decisions of two exchanged", _exchanged_cells("label", "decided_by", "decided_at"))
    yield Case("cells: images of two exchanged", _exchanged_cells("payload", "image_sha256"))
    yield Case("audit: a row added", _added_row)
    yield Case("cells: one added", _sql(_ADDED_CELL))
    yield Case("specimens: one added", _sql(_ADDED_SPECIMEN))
    yield Case(
        "order_keys: one added",
        _sql(
            "INSERT INTO order_keys SELECT actor, 'another', fingerprint, differential_id FROM order_keys "
            f"WHERE {signed}"
        ),
    )
    forged = f"UPDATE cells SET label = 'Basophil', decided_by = 'doctor', decided_at = 'now' WHERE {signed}"
    signer = f"UPDATE specimens SET signed_by = 'somebody' WHERE {signed}"
    yield Case("every label and the signer forged", _sql(forged, signer))
    yield Case("a decision forged, with its row and the whole chain written anew", _rewritten, True)


_ADDED_CELL: Final = (
    "INSERT INTO cells (cell_id, differential_id, number, image_sha256, state, attempts) "
    "SELECT 'x' || substr(cell_id, 2), differential_id, 9, image_sha256, 'waiting', 0 FROM cells "
    f"WHERE {_OF_SIGNED} AND number = 1"
)
_ADDED_SPECIMEN: Final = (
    "INSERT INTO specimens (place, differential_id, specimen_id, state, created_by, created_at) "
    "SELECT 9, 'x' || substr(differential_id, 2), specimen_id, 'analysed', created_by, created_at "
    f"FROM specimens WHERE {_OF_SIGNED}"
)


def details_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What a row of the trail tells."""
    return dict(json.loads(row["details"]))


def told(details: Mapping[str, str]) -> str:
    """The inverse of :func:`details_of`."""
    return json.dumps(details)


async def _trail(connection: AsyncConnection) -> list[dict[str, Any]]:
    rows = await connection.execute(select(AUDIT).order_by(AUDIT.c.sequence))
    return [dict(row._mapping) for row in rows]


def _entry(row: Mapping[str, Any], previous_hash: str) -> AuditEntry:
    at, details = datetime.fromisoformat(row["at"]), details_of(row)
    ids = row["differential_id"], row["cell_id"]
    return chained(row["sequence"], at, row["actor"], row["action"], *ids, details, previous_hash)


async def _added_row(connection: AsyncConnection, ids: Ids) -> None:
    """One that follows the last as it should, without the head."""
    del ids
    last = (await _trail(connection))[-1]
    added = {**last, "sequence": last["sequence"] + 1, "actor": "somebody", "previous_hash": last["row_hash"]}
    added["row_hash"] = _entry(added, last["row_hash"]).row_hash
    await connection.execute(insert(AUDIT).values(added))


async def write_chain_anew(
    connection: AsyncConnection, changed: Callable[[dict[str, Any]], dict[str, Any]]
) -> None:
    """What the owner of the database can do: rows changed, and every hash and the head computed anew."""
    previous = GENESIS
    for row in await _trail(connection):
        new = changed(dict(row))
        new |= {"previous_hash": previous, "row_hash": _entry(new, previous).row_hash}
        await connection.execute(update(AUDIT).where(AUDIT.c.sequence == row["sequence"]).values(new))
        previous = new["row_hash"]
    await connection.execute(update(AUDIT_HEAD).values(row_hash=previous))


async def _rewritten(connection: AsyncConnection, ids: Ids) -> None:
    """A decision, and all that the trail and its digests say of it, by somebody who knows this program."""
    cell = f"differential_id = '{ids.signed}' AND number = 1"
    await connection.execute(text(f"UPDATE cells SET label = 'Basophil' WHERE {cell}"))

    def changed(row: dict[str, Any]) -> dict[str, Any]:
        details = details_of(row)
        if row["action"] in ("decided", "signed"):
            details.pop("digest")  # as rows of before digests
        if details.get("label") == "Lymphocyte":
            details["label"] = "Basophil"
        return row | {"details": told(details)}

    await write_chain_anew(connection, changed)


def cases() -> list[Case]:
    """All changes."""
    return [*_columns(), *_rows()]


async def do(url: str, case: Case, ids: Ids) -> None:
    """Change the store at ``url``, past its guards."""
    database = Database(url)
    engine = create_async_engine(database._url)
    try:
        async with engine.begin() as connection:
            await _past_the_guards(connection, is_sqlite=database.is_sqlite)
            await case.change(connection, ids)
    finally:
        await engine.dispose()
        await database.close()


async def tried(url: str, case: Case, ids: Ids, anchors: Mapping[int, str]) -> Outcome:
    """Do it to the store at ``url``, and ask."""
    await do(url, case, ids)
    verify = await _said(url, lambda store: _verified(store, {}))
    anchored = verify or await _said(url, lambda store: _verified(store, anchors))
    return Outcome(case, verify, anchored, await _said(url, lambda store: _given_out(store, ids)))


async def _past_the_guards(connection: AsyncConnection, *, is_sqlite: bool) -> None:
    if is_sqlite:
        for what in ("update", "delete"):
            await connection.execute(text(f"DROP TRIGGER IF EXISTS audit_no_{what}"))
    else:
        await connection.execute(text("SET LOCAL session_replication_role = replica"))


async def _said(url: str, ask: Callable[[SqlStore], Awaitable[str | None]]) -> str | None:
    store = SqlStore(Database(url), keep_images="always")
    try:
        return await ask(store)
    except WbcError as error:
        return str(error)
    finally:
        await store.close()


async def _verified(store: SqlStore, anchors: Mapping[int, str]) -> str | None:
    await store.open()
    verdict = await store.verify(anchors)
    if verdict.ok and not verdict.rows:
        return "empty"  # as the command says
    return None if verdict.ok else str(verdict.why)


async def _given_out(store: SqlStore, ids: Ids) -> str | None:
    specimen = await store.checked(ids.signed)
    for cell in specimen.cells:
        try:
            await store.image(ids.signed, cell.cell_id)
        except RecordAltered as error:
            return str(error)
    return None


@dataclass(frozen=True, slots=True)
class Copies:
    """The store that is changed: each time a copy of the first."""

    folder: Path
    server: str | None
    """Of PostgreSQL, ending in ``/``."""

    async def fresh(self, number: int) -> str:
        """A copy; 0 is the first itself, which is made empty."""
        if self.server is None:
            path = self.folder / f"{number}.db"
            if number:
                shutil.copyfile(self.folder / "0.db", path)
            return f"sqlite:///{path}"
        template = f" TEMPLATE {self._name(0)}" if number else ""
        await self._administer(f"CREATE DATABASE {self._name(number)}{template}")
        return f"{self.server}{self._name(number)}"

    async def drop(self, number: int) -> None:
        if self.server is None:
            for path in self.folder.glob(f"{number}.db*"):
                path.unlink()
        else:
            await self._administer(f"DROP DATABASE {self._name(number)}")

    def _name(self, number: int) -> str:
        return f"tampered_{number}"

    async def _administer(self, statement: str) -> None:
        database = Database(f"{self.server}postgres")
        engine = create_async_engine(database._url, isolation_level="AUTOCOMMIT")
        try:
            async with engine.connect() as connection:
                await connection.execute(text(statement))
        finally:
            await engine.dispose()
            await database.close()


async def outcomes(server: str | None = None) -> list[Outcome]:
    """Of all cases, and of none first: an untouched store is found whole and given out."""
    with tempfile.TemporaryDirectory() as folder:
        copies = Copies(Path(folder), server)
        first = await copies.fresh(0)
        ids = await made(first)
        anchors: dict[int, str] = {}

        async def noted(store: SqlStore) -> None:
            anchors.update([await store.head()])

        await _said(first, noted)
        found = []
        untouched = Case("nothing", _nothing)
        for number, case in zip(itertools.count(1), [untouched, *cases()]):
            url = await copies.fresh(number)
            found.append(await tried(url, case, ids, anchors))
            await copies.drop(number)
        await copies.drop(0)
        return found


async def _nothing(connection: AsyncConnection, ids: Ids) -> None:
    del connection, ids


def table(found: list[Outcome]) -> Iterator[str]:
    """In Markdown, a line for each thing that becomes of changes."""
    by_words: dict[str, list[str]] = {}
    for outcome in found:
        by_words.setdefault(outcome.words, []).append(outcome.case.name)
    yield "| what becomes of it | changed |"
    yield "|---|---|"
    for words, names in sorted(by_words.items(), key=lambda item: -len(item[1])):
        yield f"| {words} | {'; '.join(names)} |"


def main() -> int:
    """Run it."""
    logging.disable()  # what is refused is told by the table
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--postgresql", metavar="URL", help="of a server, ending in /; databases are made there"
    )
    arguments = parser.parse_args()
    untouched, *found = asyncio.run(outcomes(arguments.postgresql))
    for line in table(found):
        print(line)
    wrong = [outcome.case.name for outcome in found if not outcome.is_right]
    if (untouched.verify, untouched.anchored, untouched.export) != (None, None, None):
        wrong.insert(0, "an untouched store")
    print("\n" + "\n  ".join([f"{len(found)} changes, {len(wrong)} wrong", *wrong]))
    print(DISCLAIMER)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
