"""The stores: in memory (of the tests), SQLite, and PostgreSQL."""

import asyncio
import itertools
import sqlite3
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic import command
from prometheus_client import REGISTRY
from sqlalchemy import Connection, delete, func, select, text, update

from orchestrator.errors import ConfigurationError, RecordAltered, StoreUnavailable, UnknownDifferential
from orchestrator.store.base import KeepImages, Store
from orchestrator.store.database import Database, _configuration
from orchestrator.store.encryption import Cipher, new_key
from orchestrator.store.sql_store import SqlStore
from orchestrator.store.tables import CELLS, COMMENTS
from tests.contract.store_suite import DRAWN, FIELDS, ORDER, RESULT, StoreSuite, found_field, same_mark
from tests.fakes.memory_store import MemoryStore
from tests.postgresql import running_postgresql
from tests.waiting import LONGEST_S

_numbers = itertools.count()


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    with running_postgresql() as url:
        yield url


async def fresh_database(server: str) -> str:
    name = f"test_{next(_numbers)}"
    admin = Database(f"{server}postgres")
    async with admin._engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        await connection.execute(text(f"CREATE DATABASE {name}"))
    await admin.close()
    return f"{server}{name}"


@pytest.fixture(params=["sqlite", "postgresql"])
async def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/folder/wbc.db"
    return await fresh_database(request.getfixturevalue("postgresql"))


@pytest.fixture
async def sql_store(url: str) -> AsyncIterator[SqlStore]:
    store = SqlStore(Database(url))
    await store.start()
    yield store
    await store.close()


class TestMemoryStore(StoreSuite):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqlStore(StoreSuite):
    @pytest.fixture
    def store(self, sql_store: SqlStore) -> Store:
        return sql_store


async def tamper(store: SqlStore, *statements: str) -> None:
    """Change the database as its owner can, past the guards."""
    async with store._database.writing() as connection:
        if store._database.is_sqlite:
            guards = [f"DROP TRIGGER audit_no_{what}" for what in ("update", "delete")]
        else:
            guards = ["ALTER TABLE audit DISABLE TRIGGER ALL"]
        for statement in (*guards, *statements):
            await connection.execute(text(statement))


@pytest.mark.parametrize(
    ("statements", "first_wrong"),
    [
        (["UPDATE audit SET actor = 'somebody else' WHERE sequence = 2"], 2),
        (["UPDATE audit SET details = '{}' WHERE sequence = 1"], 1),
        (["DELETE FROM audit WHERE sequence = 2"], 2),
        (["DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)"], 4),
        (
            [
                "UPDATE audit SET sequence = 100 WHERE sequence = 2",
                "UPDATE audit SET sequence = 2 WHERE sequence = 3",
                "UPDATE audit SET sequence = 3 WHERE sequence = 100",
            ],
            2,
        ),
    ],
    ids=["actor changed", "details changed", "removed", "last removed", "reordered"],
)
async def test_a_trail_that_was_tampered_with_is_found_out_and_the_row_named(
    sql_store: SqlStore, statements: list[str], first_wrong: int
) -> None:
    for _ in range(2):
        await StoreSuite.analysed(sql_store)
    assert (await sql_store.verify()).ok

    await tamper(sql_store, *statements)

    verdict = await sql_store.verify()
    assert not verdict.ok
    assert verdict.first_wrong == first_wrong


@pytest.mark.parametrize("statement", ["UPDATE audit SET actor = 'x'", "DELETE FROM audit"])
async def test_the_database_itself_refuses_to_change_the_trail(sql_store: SqlStore, statement: str) -> None:
    await StoreSuite.analysed(sql_store)

    with pytest.raises(StoreUnavailable):
        async with sql_store._database.writing() as connection:
            await connection.execute(text(statement))

    assert (await sql_store.verify()).ok


async def test_two_processes_that_write_at_once_make_one_chain(url: str) -> None:
    stores = [SqlStore(Database(url)) for _ in range(2)]
    await asyncio.gather(*(store.start() for store in stores))

    await asyncio.gather(*(StoreSuite.analysed(store) for store in stores for _ in range(8)))

    verdict = await stores[0].verify()
    assert (verdict.ok, verdict.rows) == (True, 32)
    await asyncio.gather(*(store.close() for store in stores))


@pytest.mark.parametrize("payload", [b"another image", b"", None])
@pytest.mark.parametrize("keys", [(), (new_key(),)], ids=["plain", "encrypted"])
async def test_an_image_that_was_changed_while_it_waited_is_claimed_as_none_that_was_sent(
    url: str, keys: tuple[str, ...], payload: bytes | None
) -> None:
    store = SqlStore(Database(url), Cipher(keys))
    await store.start()
    ordered, _ = await store.create(ORDER, [b"one", b"two"], "nurse")
    async with store._database.writing() as connection:
        await connection.execute(update(CELLS).where(CELLS.c.number == 1).values(payload=payload))

    first = await store.claim(ordered.differential_id, 60)
    second = await store.claim(ordered.differential_id, 60)

    assert first is not None
    assert (first.is_as_sent, first.payload) == (False, b"")
    assert second is not None
    assert (second.is_as_sent, second.payload) == (True, b"two")
    await store.close()


async def test_all_is_there_after_a_restart(url: str) -> None:
    first = SqlStore(Database(url))
    await first.start()
    specimen = await StoreSuite.analysed(first)
    await first.close()

    second = SqlStore(Database(url))
    await second.start()

    assert await second.get(specimen.differential_id) == specimen
    await second.close()


@pytest.mark.parametrize(
    ("keeps", "analysed", "closed"),
    [("never", False, False), ("until_signed", True, False), ("always", True, True)],
)
@pytest.mark.parametrize("ends", ["signed", "cancelled"])
async def test_images_stay_as_long_as_a_setting_says(
    url: str, keeps: KeepImages, analysed: bool, closed: bool, ends: str
) -> None:
    store = SqlStore(Database(url), keep_images=keeps)
    await store.start()
    specimen = await StoreSuite.analysed(store)
    where = specimen.differential_id, specimen.cells[0].cell_id

    async def is_kept() -> bool:
        async with store._database.reading() as connection:
            payload = (await connection.execute(text("SELECT payload FROM cells"))).scalar_one()
        shown = await store.image(*where)
        assert shown == (None if payload is None else b"one")
        return shown is not None

    assert await is_kept() == analysed
    await (store.sign if ends == "signed" else store.cancel)(where[0], "person")
    assert await is_kept() == closed
    await store.close()


async def test_with_a_key_neither_image_nor_name_nor_comment_can_be_read_in_the_file(tmp_path: Path) -> None:
    old, new = new_key(), new_key()
    path = tmp_path / "wbc.db"

    def store_with(*keys: str) -> SqlStore:
        return SqlStore(Database(f"sqlite:///{path}"), Cipher(keys), keep_images="always")

    first = store_with(old)
    await first.start()
    specimen, _ = await first.create(ORDER, [b"pixels of a cell"], "nurse")
    await first.comment(specimen.differential_id, "thick smear", "anna")
    await first.close()
    raw = b"".join(part.read_bytes() for part in tmp_path.glob("wbc.db*"))
    assert b"pixels" not in raw
    assert b"S-2026" not in raw
    assert b"thick smear" not in raw

    rotated = store_with(new, old)
    await rotated.start()
    kept = await rotated.checked(specimen.differential_id)
    assert (kept.order, kept.comments[0].text) == (ORDER, "thick smear")
    claimed = await rotated.claim(specimen.differential_id, 60)
    assert claimed is not None
    assert claimed.payload == b"pixels of a cell"
    await rotated.close()
    stranger = store_with(new)
    await stranger.start()
    with pytest.raises(StoreUnavailable, match="another key"):
        await stranger.get(specimen.differential_id)
    await stranger.close()


async def test_what_is_older_than_the_retention_goes_and_its_trail_stays(url: str) -> None:
    store = SqlStore(Database(url), retention=timedelta(days=30))
    await store.start()
    specimen = await StoreSuite.analysed(store)
    await store.comment(specimen.differential_id, "thick smear", "anna")
    now = specimen.created_at

    for day in range(31):
        assert await store.purge(now + timedelta(days=day)) == 0
    assert await store.purge(now + timedelta(days=31)) == 0  # one reading says so, the one before did not
    assert await store.purge(now + timedelta(days=31, hours=1)) == 1

    with pytest.raises(UnknownDifferential):
        await store.get(specimen.differential_id)
    trail = await store.audit(specimen.differential_id)
    assert [entry.action for entry in trail] == ["ordered", "analysed", "commented", "purged"]
    assert "S-2026" not in str(trail)
    async with store._database.reading() as connection:
        assert await connection.scalar(select(func.count()).select_from(COMMENTS)) == 0
    assert (await store.verify()).ok
    await store.close()


async def test_nothing_goes_where_the_clock_has_jumped_until_a_person_confirms_it(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    def waits() -> float | None:
        return REGISTRY.get_sample_value("wbc_retention_waits")

    store = SqlStore(Database(url), retention=timedelta(days=30))
    await store.start()
    specimen = await StoreSuite.analysed(store)
    await store.sign(specimen.differential_id, "doctor")
    ahead = datetime.now(UTC) + timedelta(days=60)

    for hour in range(3):  # of a service that goes on with the wrong clock
        assert await store.purge(ahead + timedelta(hours=hour)) == 0
    assert waits() == 1
    assert "confirm-clock" in caplog.text
    assert await store.purge(datetime.now(UTC)) == 0
    assert waits() == 0
    assert (await store.get(specimen.differential_id)).signature is not None

    await store.confirm_clock(ahead, "operator")
    assert await store.purge(ahead) == 1
    assert [entry.action for entry in await store.audit()][-2:] == ["clock_confirmed", "purged"]
    assert (await store.verify()).ok
    await store.close()


async def test_the_newest_row_of_the_trail_stands_for_a_clock_that_was_never_read(url: str) -> None:
    first = SqlStore(Database(url))
    await first.start()
    specimen = await StoreSuite.analysed(first)
    await first.close()
    second = SqlStore(Database(url), retention=timedelta(days=30))
    assert await second.purge(datetime.now(UTC) + timedelta(days=60)) == 0
    assert (await second.get(specimen.differential_id)).state == "analysed"
    await second.close()


async def test_a_store_that_works_passes_its_probe_and_holds_nothing_of_it(url: str) -> None:
    store = SqlStore(Database(url))
    await store.start()
    await store.create(ORDER, [b"one"], "nurse")
    for _ in range(2):
        await store.probe()
    assert len((await store.page(9))[0]) == 1
    assert (await store.verify()).ok
    await store.close()


@pytest.mark.parametrize(
    ("harm", "advice"),
    [("full", "make room"), ("gone", "put it back"), ("corrupt", "backup"), ("held", "holds")],
)
async def test_a_probe_says_what_to_do_where_no_order_would_be_kept(
    tmp_path: Path, harm: str, advice: str
) -> None:
    path = tmp_path / "wbc.db"
    store = SqlStore(Database(f"sqlite:///{path}", least_free_bytes=2**60 if harm == "full" else 1))
    await store.start()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        match harm:
            case "gone":
                path.rename(tmp_path / "elsewhere.db")
            case "corrupt":
                other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                path.write_bytes(bytes(path.stat().st_size))
            case "held":
                other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match=advice):
            await store.probe()
    await store.close()


async def test_a_probe_of_a_database_that_is_read_only_fails_with_advice(postgresql: str) -> None:
    url = await fresh_database(postgresql)
    store = SqlStore(Database(url))
    await store.start()
    async with store._database.writing() as connection:
        name = url.rpartition("/")[2]
        await connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await store.probe()
    await store.close()


async def test_a_file_that_only_others_may_write_fails_its_probe_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "wbc.db"
    store = SqlStore(Database(f"sqlite:///{path}"))
    await store.start()
    await store.close()
    read_only = SqlStore(Database(f"sqlite:///file:{path}?mode=ro&uri=true"))
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await read_only.probe()
    await read_only.close()


async def test_of_what_is_removed_nothing_stays_in_the_file_whatever_the_library_does(
    tmp_path: Path,
) -> None:
    database = Database(f"sqlite:///{tmp_path}/wbc.db")
    await database.start()
    async with database.writing() as connection:
        assert (await connection.execute(text("PRAGMA secure_delete"))).scalar_one() == 1
    await database.close()


async def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "wbc.db"
    store = SqlStore(Database(f"sqlite:///{path}"))
    await store.start()
    await store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")

    with pytest.raises(StoreUnavailable, match="newer version"):
        await SqlStore(Database(f"sqlite:///{path}")).start()


async def test_cells_to_review_of_older_versions_are_counted_whether_they_came_before_or_come_after(
    url: str, tmp_path: Path
) -> None:
    tmp_path.joinpath("folder").mkdir(exist_ok=True)
    of, one, two, three = "0" * 32, "1" * 32, "2" * 32, "3" * 32

    def cell(cell_id: str, needs_review: int, label: str) -> str:
        return (
            "INSERT INTO cells (cell_id, differential_id, number, image_sha256, state, needs_review, label) "
            f"VALUES ('{cell_id}', '{of}', {cell_id[0]}, '', 'analysed', {needs_review}, {label})"
        )

    async def written(*statements: str) -> None:
        async with database.writing() as connection:
            for statement in statements:
                await connection.execute(text(statement))

    async def waiting() -> int:
        (summary,), _ = await store.page(1)
        return summary.unreviewed

    def older(connection: Connection) -> None:
        config = _configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")

    database = Database(url)
    async with database.writing() as connection:
        await connection.run_sync(older)
    await written(
        "INSERT INTO specimens (differential_id, specimen_id, state, created_by, created_at) "
        f"VALUES ('{of}', 'S-1', 'analysed', 'nurse', '2026-03-02T09:41:12.345678+00:00')",
        cell(one, 1, "NULL"),
        cell(two, 1, "'Monocyte'"),
    )
    await database.close()
    store, database = SqlStore(Database(url)), Database(url)
    await store.start()
    assert await waiting() == 1

    await written(cell(three, 0, "NULL"))
    assert await waiting() == 1
    await written(f"UPDATE cells SET needs_review = 1 WHERE cell_id = '{three}'")
    assert await waiting() == 2
    await written(f"UPDATE cells SET label = 'Basophil' WHERE cell_id <> '{two}'")
    assert await waiting() == 0
    await written("UPDATE cells SET label = NULL", cell("4" * 32, 1, "NULL"))
    assert await waiting() == 4
    await store.close()
    await database.close()


async def tables(url: str) -> list[str]:
    database = Database(url)
    listing = "sqlite_master" if database.is_sqlite else "pg_tables WHERE schemaname = 'public'"
    async with database.reading() as connection:
        found = await connection.execute(text(f"SELECT * FROM {listing}"))
        names = [row[1] for row in found]
    await database.close()
    return names


async def test_a_rehearsal_makes_no_table_and_no_file(url: str, tmp_path: Path) -> None:
    await Database(url, rehearsal=True).rehearse()
    assert list(tmp_path.iterdir()) == []
    if url.startswith("postgresql"):
        assert await tables(url) == []


async def made(url: str, path: Path, table: str) -> None:
    path.joinpath("folder").mkdir(exist_ok=True)
    database = Database(url)
    async with database.writing() as connection:
        await connection.execute(text(f"CREATE TABLE {table} (a TEXT)"))
    await database.close()


async def test_a_rehearsal_takes_the_migration_back(url: str, tmp_path: Path) -> None:
    await made(url, tmp_path, "notes")
    await Database(url, rehearsal=True).rehearse()
    assert await tables(url) == ["notes"]


async def test_a_rehearsal_fails_where_the_migration_would(url: str, tmp_path: Path) -> None:
    await made(url, tmp_path, "cells")  # in the way of the service's own
    with pytest.raises(StoreUnavailable):
        await Database(url, rehearsal=True).rehearse()
    assert await tables(url) == ["cells"]


async def test_a_rehearsal_is_good_beside_a_store_at_work(sql_store: SqlStore, url: str) -> None:
    await sql_store.create(ORDER, [b"one"], "nurse")
    before = await tables(url)
    await Database(url, rehearsal=True).rehearse()
    assert await tables(url) == before
    assert (await sql_store.verify()).ok


async def test_a_rehearsal_asks_for_the_right_to_write(postgresql: str) -> None:
    url = await fresh_database(postgresql)
    store = SqlStore(Database(url))
    await store.start()
    await store.close()
    name = url.rpartition("/")[2]
    admin = Database(url)
    async with admin.writing() as connection:
        await connection.execute(text(f"ALTER DATABASE {name} SET default_transaction_read_only = on"))
    await admin.close()
    with pytest.raises(StoreUnavailable):
        await Database(url, rehearsal=True).rehearse()


async def test_a_database_that_does_not_answer_is_named_without_its_password() -> None:
    store = SqlStore(Database("postgresql://wbc:secret-word@127.0.0.1:1/wbc"))

    with pytest.raises(StoreUnavailable) as refused:
        await store.start()

    assert "secret-word" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://host/name", "nonsense"])
def test_a_url_of_another_database_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="WBC_STORE__URL"):
        Database(url)


def test_a_key_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="wbc store key"):
        Cipher(["too short"])


async def test_results_recorded_while_nobody_waits_are_read_as_one_state(sql_store: SqlStore) -> None:
    ordered, _ = await sql_store.create(ORDER, [bytes([n]) for n in range(20)], "nurse")

    async def record() -> None:
        for cell in ordered.cells:
            await sql_store.record_result(ordered.differential_id, cell.cell_id, RESULT)

    async def read() -> None:
        for _ in range(20):
            seen = await sql_store.get(ordered.differential_id)
            waiting = sum(cell.state == "waiting" for cell in seen.cells)
            assert (seen.state == "analysed") == (waiting == 0)

    await asyncio.gather(record(), read())


@pytest.mark.parametrize(
    "change", [{"found_in": 2}, {"image_sha256": "0" * 64}, {"number": 17}, {"result": None}, None]
)
async def test_a_cell_of_a_field_that_was_changed_or_removed_past_the_service_is_noticed(sql_store, change):
    ordered, _ = await sql_store.create(FIELDS, [b"one", b"two"], "nurse")
    for cell in ordered.cells:
        await sql_store.record_field(
            ordered.differential_id, cell.cell_id, found_field(b"a"), lambda marks, _: [None] * len(marks)
        )
    found = (await sql_store.checked(ordered.differential_id)).cells[0]
    async with sql_store._database.writing() as connection:
        of_it = CELLS.c.cell_id == found.cell_id
        await connection.execute(
            delete(CELLS).where(of_it) if change is None else update(CELLS).where(of_it).values(**change)
        )

    with pytest.raises(RecordAltered):
        await sql_store.sign(ordered.differential_id, "anna")
    assert not (await sql_store.verify()).ok


async def test_the_marks_of_cells_go_with_the_last_field_and_their_images_stay_where_images_are_kept(url):
    store = SqlStore(Database(url), Cipher([new_key()]), keep_images="until_signed")
    await store.start()
    try:
        ordered, _ = await store.create(FIELDS, [b"one", b"two"], "nurse")
        marks = []
        for cell in ordered.cells:
            await store.record_field(
                ordered.differential_id, cell.cell_id, found_field(b"a"), lambda marks, _: [None] * len(marks)
            )
            async with store._database.reading() as connection:
                marks.append(list(await connection.scalars(select(CELLS.c.mark))))
        found = (await store.get(ordered.differential_id)).cells[0]
        assert sum(mark is not None for mark in marks[0]) == 1
        assert b"a" not in marks[0]  # encrypted
        assert set(marks[1]) == {None}
        assert await store.image(ordered.differential_id, found.cell_id) == b"a"
    finally:
        await store.close()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE cells SET found_in = 9",
        "UPDATE cells SET image_sha256 = '0'",
        "UPDATE cells SET number = 99",
        "DELETE FROM cells",
    ],
)
async def test_a_drawn_cell_that_is_not_what_was_added_is_found(sql_store: SqlStore, change: str) -> None:
    specimen = await StoreSuite().field_of(sql_store)
    differential_id, field_id = specimen.differential_id, specimen.fields[0].field_id
    added = await sql_store.add_cell(differential_id, field_id, DRAWN, "anna")

    await tamper(sql_store, f"{change} WHERE cell_id = '{added.cells[-1].cell_id}'")

    with pytest.raises(RecordAltered):
        await sql_store.checked(differential_id)


async def test_the_image_of_a_searched_field_stays_as_long_as_those_of_its_cells(url: str) -> None:
    store = SqlStore(Database(url), Cipher([new_key()]), keep_images="until_signed")
    await store.start()
    try:
        specimen = await StoreSuite().field_of(store)
        differential_id, field_id = specimen.differential_id, specimen.fields[0].field_id
        added = await store.add_cell(differential_id, field_id, DRAWN, "anna")

        images = [await store.image(differential_id, one) for one in (field_id, added.cells[-1].cell_id)]
        await store.sign(differential_id, "anna")

        assert images == [b"one", DRAWN.image]
        assert await store.image(differential_id, field_id) is None
    finally:
        await store.close()


async def test_others_write_while_cells_are_looked_for_and_what_they_wrote_is_known(
    sql_store: SqlStore,
) -> None:
    ordered, _ = await sql_store.create(FIELDS, [b"one", b"two", b"three"], "nurse")
    first, second, third = (cell.cell_id for cell in ordered.cells)
    await sql_store.record_field(ordered.differential_id, first, found_field(b"a"), same_mark)
    loop, told = asyncio.get_running_loop(), []

    def same(marks: Sequence[bytes], known: Sequence[bytes]) -> list[int | None]:
        told.append((list(marks), list(known)))
        if len(told) == 1:
            other = sql_store.record_field(ordered.differential_id, second, found_field(b"b"), same_mark)
            asyncio.run_coroutine_threadsafe(other, loop).result(LONGEST_S)
        return same_mark(marks, known)

    await sql_store.record_field(ordered.differential_id, third, found_field(b"a", b"b", b"c"), same)

    assert told == [([b"a", b"b", b"c"], [b"a"]), ([b"b", b"c"], [b"b"])]
    of_first, of_second, *of_third = (await sql_store.checked(ordered.differential_id)).cells
    doubles = [cell.place.same_as for cell in of_third if cell.place is not None]
    assert doubles == [of_first.cell_id, of_second.cell_id, None]


async def test_what_was_signed_calls_failed_only_what_failed(sql_store: SqlStore) -> None:
    ordered, _ = await sql_store.create(FIELDS, [b"one", b"two", b"three"], "nurse")
    fields = (found_field(b"a", b"b"), found_field(b"a", is_identified=False))
    for cell, found in zip(ordered.cells, fields, strict=False):
        await sql_store.record_field(ordered.differential_id, cell.cell_id, found, same_mark)
    await sql_store.record_failure(ordered.differential_id, ordered.cells[2].cell_id, "no image")
    await sql_store.sign(ordered.differential_id, "anna")

    (closing,) = [one for one in await sql_store.audit(ordered.differential_id) if one.action == "signed"]
    assert closing.details["counts"] == "Unidentified 2, failed 1"
    assert (await sql_store.verify()).ok


@pytest.mark.parametrize("keep_images", ["always", "until_signed", "never"])
async def test_of_a_cancelled_specimen_no_mark_stays(url: str, keep_images: KeepImages) -> None:
    store = SqlStore(Database(url), keep_images=keep_images)
    await store.start()
    try:
        ordered, _ = await store.create(FIELDS, [b"one", b"two"], "nurse")
        await store.record_field(
            ordered.differential_id, ordered.cells[0].cell_id, found_field(b"a"), same_mark
        )
        cancelled = await store.cancel(ordered.differential_id, "anna")
        async with store._database.reading() as connection:
            assert set(await connection.scalars(select(CELLS.c.mark))) == {None}
        (found,) = [cell for cell in cancelled.cells if cell.place is not None]
        kept = await store.image(ordered.differential_id, found.cell_id)
        assert kept == (b"a" if keep_images == "always" else None)
    finally:
        await store.close()
