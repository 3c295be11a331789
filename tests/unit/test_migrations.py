"""A migration leaves what the version before it reads and writes: old replicas go on beside new ones.

What a migration takes away (contract) comes one version after the code that did not use it any more.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine, inspect

CONTRACTS: Final[dict[str, str]] = {}
"""Revisions that take something away, and the version of the service that stopped using it."""


def configuration(project_root: Path, connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(project_root / "orchestrator" / "store" / "migrations"))
    if connection is not None:
        config.attributes["connection"] = connection
    return config


def steps(project_root: Path) -> list[tuple[str, str]]:
    found = ScriptDirectory.from_config(configuration(project_root)).walk_revisions()
    return [
        (script.down_revision, script.revision) for script in found if isinstance(script.down_revision, str)
    ]


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(f"sqlite:///{tmp_path}/wbc.db")
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def columns(connection: Connection) -> set[tuple[str, str]]:
    found = inspect(connection)
    return {
        (table, column["name"]) for table in found.get_table_names() for column in found.get_columns(table)
    }


def test_what_the_version_before_reads_stays_and_what_it_writes_is_taken(
    project_root: Path, connection: Connection
) -> None:
    pairs = steps(project_root)
    assert len(pairs) >= 3
    for before, after in reversed(pairs):
        command.upgrade(configuration(project_root, connection), before)
        old = columns(connection)
        command.upgrade(configuration(project_root, connection), after)
        if after in CONTRACTS:
            continue
        assert old - columns(connection) == set(), after
        metadata = MetaData()
        metadata.reflect(connection)
        for table in metadata.tables.values():
            if table.name not in {name for name, _ in old}:
                continue
            for column in table.columns:
                if (table.name, column.name) not in old:  # which an old INSERT does not name
                    assert column.nullable or column.server_default is not None, (
                        after,
                        table.name,
                        column.name,
                    )
