"""The connection to SQLite or PostgreSQL: durability, locks, and the schema's revision."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, delete, event, false, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from orchestrator.errors import ConfigurationError, StoreUnavailable
from orchestrator.store.tables import SPECIMENS

DRIVERS: Final = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+asyncpg",
    "postgres": "postgresql+asyncpg",
}

BUSY_TIMEOUT_S: Final = 10.0

_MIGRATIONS: Final = Path(__file__).parent / "migrations"
_WRITES: Final = "wbc_writes"


class Database:
    """Transactions on one database.

    Args:
        url: ``sqlite:///file.db`` or ``postgresql://user:password@host/name``.
        pool_size: connections kept open.
        rehearsal: for :meth:`rehearse` alone; a file of SQLite keeps the kind of journal that it has.
    """

    def __init__(self, url: str, pool_size: int = 5, *, rehearsal: bool = False) -> None:
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
            event.listen(self._engine.sync_engine, "connect", partial(_prepare_sqlite, rehearsal))
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
        self._writing = self._engine.execution_options(**{_WRITES: True})

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
        except BaseException:
            await self._engine.dispose()
            raise

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
        with _foreign_errors():
            async with self._writing.begin() as connection:
                yield connection

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


class _foreign_errors:  # noqa: N801 (used as a function)
    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (SQLAlchemyError, OSError)) and not isinstance(error, TimeoutError):
            detail = type(error.orig).__name__ if isinstance(error, DBAPIError) else type(error).__name__
            raise StoreUnavailable(f"The database does not answer as it should ({detail}).") from error


def _prepare_sqlite(rehearsal: bool, connection: Any, _: object) -> None:
    # The driver's own transactions begin late and never IMMEDIATE; they are begun below.
    connection.isolation_level = None
    cursor = connection.cursor()
    if not rehearsal:
        cursor.execute("PRAGMA journal_mode = WAL")  # of the file, and stays
    for pragma in (
        "synchronous = FULL",  # what is acknowledged survives a power cut
        "foreign_keys = ON",
        f"busy_timeout = {int(BUSY_TIMEOUT_S * 1000)}",
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
