"""The connection to SQLite or PostgreSQL: durability, locks, and the schema's revision."""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import (
    ColumnElement,
    Connection,
    Float,
    cast,
    delete,
    event,
    extract,
    false,
    func,
    insert,
    make_url,
    type_coerce,
    update,
)
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from orchestrator.errors import ConfigurationError, StoreUnavailable
from orchestrator.store.tables import AUDIT_HEAD, CELLS, SPECIMENS

DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}

BUSY_TIMEOUT_S: Final = 10.0

PROBE_TIMEOUT_S: Final = 1.0
PROBE_BYTES: Final = 64 * 2**10
"""Of an image of an order, as small ones are."""

GOOD_FOR_S: Final = 5.0
"""How long a probe that succeeded holds, so that many who ask cost one write."""

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WRITES: Final = "wbc_writes"


class Database:
    """Transactions on one database.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://user:password@host/name``.
        pool_size: connections kept open.
        rehearsal: for :meth:`rehearse` alone; a file of SQLite keeps the kind of journal that it has.
        least_free_bytes: on the disk of a file of SQLite, below which it is full for :meth:`probe`.
    """

    def __init__(
        self,
        url: str,
        pool_size: int = 5,
        *,
        rehearsal: bool = False,
        least_free_bytes: int = 8 * 2**20,
    ) -> None:
        """Raises :class:`~orchestrator.errors.ConfigurationError` where the URL is of no such database."""
        try:
            parsed = make_url(url)
            driver = DRIVERS[parsed.get_backend_name()]
            if not 0 <= (parsed.port or 0) < 2**16:
                raise ValueError("port")
            self.is_sqlite = driver.startswith("sqlite")
            self._url = parsed.set(drivername=driver)
            options: dict[str, Any] = {"pool_size": pool_size, "pool_pre_ping": not self.is_sqlite}
            # TypeError: one in memory, which has no pool; and each connection would be another database.
            self._engine: AsyncEngine = create_async_engine(self._url, **options)
            # A connection of its own each time: one that is kept may show what the disk has no more.
            self._prober = create_async_engine(self._url, poolclass=NullPool)
            file = self._file()
        except (ArgumentError, KeyError, TypeError, ValueError):
            raise ConfigurationError(
                "WBC_STORE__URL: expected sqlite:///file.db or postgresql://user:password@host:port/name, "
                "with %40 for @, %2F for / and so on within a password"
            ) from None  # its words may hold a piece of the password
        if file is not None and file.is_dir():
            raise ConfigurationError(
                "WBC_STORE__URL: expected a file, as in sqlite:///data/wbc.db, received a folder"
            )
        if self.is_sqlite:
            event.listen(
                self._engine.sync_engine, "connect", partial(_prepare_sqlite, rehearsal, BUSY_TIMEOUT_S)
            )
            event.listen(self._prober.sync_engine, "connect", partial(_prepare_sqlite, True, PROBE_TIMEOUT_S))
            for engine in (self._engine, self._prober):
                event.listen(engine.sync_engine, "begin", _begin_sqlite)
        self._writing = self._engine.execution_options(**{_WRITES: True})
        self._probing = self._prober.execution_options(**{_WRITES: True})
        self._least_free_bytes = least_free_bytes
        self._inode: tuple[int, int] | None = None
        self._one_probe = asyncio.Lock()
        self._good_until_s = float("-inf")
        self._writers = 0

    async def start(self) -> None:
        """Bring the schema to its newest revision; several processes may start at once.

        Raises:
            StoreUnavailable: the database does not answer, or is of a newer version of this service.
            ConfigurationError: its URL has an option that the driver does not know.
        """
        if (file := self._file()) is not None:
            await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        try:
            async with self._migrated():
                pass
            if file is not None:
                self._inode = _inode_of(file)
        except BaseException:
            await self._engine.dispose()
            raise

    async def probe(self) -> None:
        """Return where an order could be written now; a good answer is remembered for :data:`GOOD_FOR_S`.

        Raises :class:`~orchestrator.errors.StoreUnavailable` where it could not, with what to do.
        """
        async with self._one_probe:
            if time.monotonic() < self._good_until_s:
                return
            try:
                async with asyncio.timeout(PROBE_TIMEOUT_S + 0.5):
                    with _foreign_errors():
                        await self._probe()
            except (TimeoutError, StoreBusy) as error:
                if not self._writers:  # else it is this process that writes, and its order is being kept
                    raise StoreUnavailable(
                        "The store does not answer: look whether the database runs, and whether another "
                        "process holds it."
                    ) from error
            self._good_until_s = time.monotonic() + GOOD_FOR_S

    async def _probe(self) -> None:
        """Write what an order writes and take it back; on SQLite also write to the disk."""
        if (file := self._file()) is not None:
            if self._inode is not None and _inode_of(file) != self._inode:
                raise StoreUnavailable(
                    "The store's file is gone, or another lies in its place: put it back, and restart the "
                    "service."
                )
            if shutil.disk_usage(file.parent).free < self._least_free_bytes:
                raise StoreUnavailable(_FULL)
        async with self._probing.connect() as connection:
            place = -1 - random.getrandbits(30)  # of no specimen
            name = f"{place}"
            trial = {"place": place, "differential_id": name, "specimen_id": "", "state": "cancelled"}
            await connection.execute(insert(SPECIMENS).values(**trial, created_by="", created_at=""))
            cell = {
                "cell_id": name,
                "differential_id": name,
                "number": 1,
                "image_sha256": "",
                "state": "failed",
            }
            await connection.execute(insert(CELLS).values(**cell, payload=bytes(PROBE_BYTES)))
            await connection.rollback()
        if self.is_sqlite:
            async with self._probing.begin() as connection:
                done = await connection.execute(update(AUDIT_HEAD).values(sequence=AUDIT_HEAD.c.sequence))
                if done.rowcount != 1:
                    raise StoreUnavailable(_DAMAGED)

    async def open(self) -> None:
        """Look whether a store of this version is there; nothing is made or changed.

        Raises:
            ConfigurationError: there is no database, or no store in it, or it is of an older version.
            StoreUnavailable: as :meth:`start`.
        """
        file = self._file()
        if file is not None and not file.exists():
            raise ConfigurationError("WBC_STORE__URL: there is no such file; is it the store's?")
        try:
            async with self.reading() as connection:
                await connection.run_sync(_require_newest)
        except BaseException:
            await self._engine.dispose()
            raise

    async def rehearse(self) -> None:
        """Migrate and write as a start and its work would, and take all of it back; then this is closed.

        A file that is not there yet is not made: its folder is tried.

        Raises:
            StoreUnavailable: as :meth:`start`, or nothing may be written.
            OSError: no file can be made where the database is to lie.
        """
        file = self._file()
        if file is not None and not file.exists():
            with tempfile.TemporaryFile(dir=next(folder for folder in file.parents if folder.exists())):
                return
        try:
            async with self._migrated() as connection:
                await connection.execute(delete(SPECIMENS).where(false()))  # asks for the right alone
                await connection.rollback()
        finally:
            await self._engine.dispose()

    async def close(self) -> None:
        await self._engine.dispose()
        await self._prober.dispose()

    @property
    def now(self) -> ColumnElement[float]:
        """The time by the clock of the database, which all processes share: seconds since 1970."""
        if self.is_sqlite:
            return type_coerce((func.julianday("now") - 2440587.5) * 86400.0, Float)
        return cast(extract("epoch", func.clock_timestamp()), Float)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees one state of the database."""
        with _foreign_errors():
            async with self._engine.begin() as connection:
                if not self.is_sqlite:
                    await connection.exec_driver_sql(
                        "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
                    )
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that is on the disk when the block has ended, or of which nothing is."""
        self._writers += 1
        try:
            with _foreign_errors():
                async with self._writing.begin() as connection:
                    yield connection
        except StoreUnavailable:
            self._good_until_s = float("-inf")  # look again, at the next question
            raise
        finally:
            self._writers -= 1

    @asynccontextmanager
    async def _migrated(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that has brought the schema to its newest revision."""
        with _foreign_errors():
            try:
                async with self._engine.connect():
                    pass
            except TypeError as error:  # asyncpg, of a keyword; libpq's sslmode is its ssl
                raise ConfigurationError(
                    "WBC_STORE__URL: the driver does not know an option after the ?; TLS is ?ssl=require"
                ) from error
        async with self.writing() as connection:
            if not self.is_sqlite:
                await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7739201)")
            await connection.run_sync(_upgrade)
            yield connection

    def _file(self) -> Path | None:
        """The file of SQLite; None where there is none, or its driver alone can tell."""
        name = self._url.database or ":memory:"
        if not self.is_sqlite or name == ":memory:" or name.startswith("file:"):
            return None
        return Path(name).resolve()


class StoreBusy(StoreUnavailable):
    """Another process holds the database's lock."""


_FULL: Final = "The store is full: make room on the disk that WBC_STORE__URL names."
_DAMAGED: Final = (
    "The store is damaged: stop the service, keep a copy of the file, and put a backup in its place; "
    "`wbc audit verify` tells what it holds."
)
_READ_ONLY: Final = (
    "The store cannot be written: look at the rights and the mount of what WBC_STORE__URL names."
)

_ADVICE: Final[Mapping[str, tuple[type[StoreUnavailable], str]]] = MappingProxyType(
    {
        "SQLITE_FULL": (StoreUnavailable, _FULL),
        "SQLITE_CORRUPT": (StoreUnavailable, _DAMAGED),
        "SQLITE_NOTADB": (StoreUnavailable, _DAMAGED),
        "SQLITE_READONLY": (StoreUnavailable, _READ_ONLY),
        "SQLITE_CANTOPEN": (StoreUnavailable, _READ_ONLY),
        "SQLITE_PERM": (StoreUnavailable, _READ_ONLY),
        "SQLITE_IOERR": (
            StoreUnavailable,
            "The disk of the store fails, or is full: look at WBC_STORE__URL.",
        ),
        "SQLITE_BUSY": (StoreBusy, "Another process holds the store: look which one, and whether it ends."),
        "53100": (StoreUnavailable, _FULL),
        "25006": (StoreUnavailable, _READ_ONLY),
        "42501": (StoreUnavailable, _READ_ONLY),
        "XX00": (StoreUnavailable, _DAMAGED),
    }
)
"""What to do, by the code of the database."""


class _foreign_errors:  # noqa: N801 (used as a function)
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (SQLAlchemyError, OSError)) and not isinstance(error, TimeoutError):
            cause = error.orig if isinstance(error, DBAPIError) else error
            # The code of SQLite (an extended one begins with its plain one), or of PostgreSQL.
            code = str(getattr(cause, "sqlite_errorname", None) or getattr(cause, "sqlstate", None) or "")
            kind, words = next(
                (of for begins, of in _ADVICE.items() if code.startswith(begins)),
                (
                    StoreUnavailable,
                    f"The database does not answer as it should ({type(cause).__name__}): look whether it "
                    "runs and can be reached.",
                ),
            )
            raise kind(words) from error


def _inode_of(file: Path) -> tuple[int, int] | None:
    try:
        status = file.stat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _prepare_sqlite(rehearsal: bool, busy_timeout_s: float, connection: Any, _: object) -> None:
    # The driver's own transactions begin late and never IMMEDIATE; they are begun below.
    connection.isolation_level = None
    cursor = connection.cursor()
    if not rehearsal:
        cursor.execute("PRAGMA journal_mode = WAL")  # of the file, and stays
    for pragma in (
        "synchronous = FULL",  # what is acknowledged survives a power cut
        "foreign_keys = ON",
        "secure_delete = ON",  # of an image that goes nothing stays in the file, whoever built the library
        f"busy_timeout = {int(busy_timeout_s * 1000)}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the lock at once: two that read and then write would otherwise both fail to.
    writes = connection.get_execution_options().get(_WRITES)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _upgrade(connection: Connection) -> None:
    config = _configuration()
    config.attributes["connection"] = connection
    _known_revision(connection, config)
    command.upgrade(config, "head")


def _require_newest(connection: Connection) -> None:
    config = _configuration()
    current = _known_revision(connection, config)
    if current is None:
        raise ConfigurationError("WBC_STORE__URL: the database is empty; is it the store's?")
    if current != ScriptDirectory.from_config(config).get_current_head():
        raise ConfigurationError(
            f"WBC_STORE__URL: the database is of an older version ({current}): run `wbc store migrate`"
        )


def _configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    return config


def _known_revision(connection: Connection, config: Config) -> str | None:
    """Of the database; None where it is empty."""
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    current = MigrationContext.configure(connection).get_current_revision()
    if current is not None and current not in known:
        raise StoreUnavailable(
            f"The database is of revision {current}, which a newer version of this service has made."
        )
    return current
