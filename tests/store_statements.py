"""What a version of the service says to PostgreSQL, kept to be said again to the schema of a later one.

::

    python -m tests.store_statements

writes what this version says, under its newest revision: with each migration, so that later its replicas can
be played beside newer ones (``tests/integration/test_two_versions.py``).
"""

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection

from orchestrator.specimen import SpecimenOrder
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore

FOLDER: Final = Path(__file__).parent / "golden" / "store_statements"

COMMIT: Final = "COMMIT"

Statements = list[tuple[str, list[Any]]]
"""Each with its parameters, in the order of the wire; :data:`COMMIT` ends a transaction."""


async def said(url: str) -> dict[str, Statements]:
    """What the store of this version says to an empty database, by what is done with it."""
    from tests.contract.store_suite import RESULT

    database = Database(url)
    store = SqlStore(database)
    await store.start()
    engine, noted = database._engine.sync_engine, Statements()

    @event.listens_for(engine, "before_cursor_execute")
    def _note(_connection: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        noted.append((statement, _kept(values)))

    @event.listens_for(engine, "commit")
    def _end(_connection: Any) -> None:
        noted.append((COMMIT, []))

    steps: dict[str, Statements] = {}

    def ended(step: str) -> None:
        steps[step] = [*noted]
        noted.clear()

    async def ordered(name: str) -> str:
        specimen, _ = await store.create(SpecimenOrder(name), [name.encode(), b"cell"], "old")
        for cell in specimen.cells:
            leased = await store.claim(specimen.differential_id, 3600.0)
            assert leased is not None
            await store.record_result(specimen.differential_id, cell.cell_id, RESULT, leased.token)
        return specimen.differential_id

    signed = await ordered("OLD-1")
    ended("order and analyse")
    (first, _) = (await store.get(signed)).cells
    await store.decide(signed, first.cell_id, "Monocyte", "doctor")
    await store.sign(signed, "doctor")
    ended("decide and sign")
    await store.cancel(await ordered("OLD-2"), "old")
    ended("cancel")
    await ordered("OLD-3")
    ended("order another")
    await store.page(50)
    ended("list")
    await store.unfinished()
    ended("unfinished")
    await store.close()
    return steps


async def say(connection: AsyncConnection, statements: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    """Say it again; the rows of all answers."""
    rows: list[tuple[Any, ...]] = []
    for statement, values in statements:
        if statement == COMMIT:
            await connection.commit()
            continue
        answer = await connection.exec_driver_sql(statement, _given(values))
        if answer.returns_rows:
            rows += [tuple(row) for row in answer.fetchall()]
    return rows


def _kept(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    return [_kept(one) for one in value] if isinstance(value, (list, tuple)) else value


def _given(value: Any) -> Any:
    """A tuple of parameters, or a list of such tuples, one for each row."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"])
    if not isinstance(value, list):
        return value
    given = [_given(one) for one in value]
    return given if given and isinstance(given[0], tuple) else tuple(given)


def main() -> None:
    """Write what this version says."""
    from tests.postgresql import running_postgresql

    revision = max(Path("orchestrator/store/migrations/versions").glob("0*.py")).name[:4]
    with running_postgresql() as server:
        steps = asyncio.run(said(f"{server}postgres"))
    target = Path(os.environ.get("STATEMENTS", FOLDER)) / f"{revision}.json"
    target.parent.mkdir(exist_ok=True)
    target.write_text(json.dumps(steps, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
