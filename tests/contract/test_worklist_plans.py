"""What a page of the worklist costs a database that holds ten thousand specimens, in rows and steps."""

import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from sqlalchemy import event, insert, text

from orchestrator.specimen import SpecimenSearch, SpecimenSort, SpecimenState
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from orchestrator.store.tables import SPECIMENS
from tests.contract.test_store_port import fresh_database
from tests.postgresql import running_postgresql

MANY = 10_000
FEW = 1_000
LIMIT = 20
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STATES: tuple[SpecimenState, ...] = ("signed",) * 6 + ("analysed", "analysed", "running", "cancelled")

SEARCHES = {
    "all": SpecimenSearch(),
    "open": SpecimenSearch(states=("waiting", "running", "analysed")),
    "of one state": SpecimenSearch(states=("signed",)),
    "to review": SpecimenSearch(needs_review=True),
    "mine": SpecimenSearch(assignee="person-7", states=("analysed", "running")),
    "of nobody": SpecimenSearch(assignee="", states=("analysed", "running")),
    "named": SpecimenSearch("S-471"),
    "typed": SpecimenSearch(text="S-471"),
    "of an order": SpecimenSearch(text=f"{471:032x}"[:31]),
    "newer": SpecimenSearch(created_from=BEGIN + timedelta(minutes=400)),
    "older": SpecimenSearch(created_before=BEGIN + timedelta(minutes=40)),
}
ASKED = [
    (name, search, sort)
    for name, search in SEARCHES.items()
    for sort in get_args(SpecimenSort)
    # Sorted by doubt and chosen by time, all of a state are looked at.
    if not (name in ("newer", "older") and sort.endswith("doubt"))
]
MOST_ROWS = 10 * (LIMIT + 1)
"""Of each of the five states a page, and what is passed over on the way."""
STEPS_AT_ONCE = 20


def specimens(store: SqlStore, count: int) -> list[dict[str, Any]]:
    return [
        {
            "differential_id": f"{number:032x}",
            "specimen_id": f"S-{number}",
            "name_key": store._cipher.name_keys(f"S-{number}")[0],
            "state": STATES[number % len(STATES)],
            "created_by": "nurse",
            "created_at": (BEGIN + timedelta(minutes=number)).isoformat(),
            "unreviewed": number % 37,
            "assignee": None if number % 3 else f"person-{number % 200 // 3}",
        }
        for number in range(count)
    ]


async def filled(url: str, count: int) -> SqlStore:
    store = SqlStore(Database(url))
    await store.start()
    async with store._database.writing() as connection:
        await connection.execute(insert(SPECIMENS), specimens(store, count))
    if not store._database.is_sqlite:  # as it does by itself in a while
        async with store._database.writing() as connection:
            await connection.execute(text("ANALYZE"))
    return store


async def asked(store: SqlStore, ask: Callable[[], Any]) -> list[tuple[str, Any]]:
    """The statements about specimens that a call makes."""
    heard: list[tuple[str, Any]] = []

    def hear(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        if "FROM specimens" in statement:
            heard.append((statement, parameters))

    engine = store._database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        await ask()
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    assert heard
    return heard


async def second_page(store: SqlStore, search: SpecimenSearch, sort: SpecimenSort) -> Callable[[], Any]:
    _, cursor = await store.page(LIMIT, None, search, sort)
    return lambda: store.page(LIMIT, cursor, search, sort)


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with running_postgresql() as url:
        yield url


@pytest.fixture
async def on_postgresql(postgresql: str) -> AsyncIterator[SqlStore]:
    store = await filled(await fresh_database(postgresql), MANY)
    yield store
    await store.close()


def nodes_of(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes_of(part)


async def test_no_page_of_ten_thousand_specimens_reads_the_table_on_postgresql(
    on_postgresql: SqlStore,
) -> None:
    for name, search, sort in ASKED:
        rows = 0
        for statement, parameters in await asked(
            on_postgresql, await second_page(on_postgresql, search, sort)
        ):
            async with on_postgresql._database.reading() as connection:
                explained = await connection.exec_driver_sql(
                    f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", parameters
                )
                found = explained.scalar_one()
            plan = (json.loads(found) if isinstance(found, str) else found)[0]["Plan"]
            for node in nodes_of(plan):
                assert node["Node Type"] != "Seq Scan", (name, sort, statement)
                if "Scan" in node["Node Type"]:
                    removed = node.get("Rows Removed by Filter", 0) + node.get(
                        "Rows Removed by Index Recheck", 0
                    )
                    rows += (node["Actual Rows"] + removed) * node["Actual Loops"]
        assert rows <= MOST_ROWS, (name, sort, rows)


async def steps(store: SqlStore, ask: Callable[[], Any]) -> int:
    """How many steps SQLite's machine takes for what a call asks about specimens."""
    taken = 0

    def count() -> int:
        nonlocal taken
        taken += STEPS_AT_ONCE
        return 0

    heard = await asked(store, ask)
    async with store._database.reading() as connection:
        raw = await connection.get_raw_connection()
        driver = raw.driver_connection
        assert driver is not None
        for statement, parameters in heard:
            await driver.set_progress_handler(count, STEPS_AT_ONCE)
            await connection.exec_driver_sql(statement, parameters)
            await driver.set_progress_handler(None, 0)
    return taken


async def test_a_page_costs_sqlite_no_more_steps_among_ten_thousand_specimens_than_among_a_thousand(
    tmp_path,
) -> None:
    few, many = [await filled(f"sqlite:///{tmp_path}/{count}.db", count) for count in (FEW, MANY)]
    for name, search, sort in ASKED:
        among_few = await steps(few, await second_page(few, search, sort))
        among_many = await steps(many, await second_page(many, search, sort))
        assert among_many <= 2 * among_few, (name, sort, among_few, among_many)
        for statement, parameters in await asked(many, await second_page(many, search, sort)):
            async with many._database.reading() as connection:
                plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
                assert all("SCAN specimens" not in str(row) for row in plan), (name, sort, statement)
    for store in (few, many):
        await store.close()
