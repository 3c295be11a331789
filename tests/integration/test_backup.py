"""A backup of a PostgreSQL store that is made while a service writes is whole when it is restored."""

import os
import shutil
import subprocess
import sys

import pytest

from orchestrator.specimen import SpecimenOrder
from orchestrator.store.database import Database
from orchestrator.store.sql_store import SqlStore
from tests.contract.store_suite import RESULT
from tests.postgresql import running_postgresql
from tests.running_service import PROJECT_ROOT

pytestmark = pytest.mark.skipif(
    shutil.which("pg_dump") is None, reason="no pg_dump (Debian: postgresql-client)"
)

VERIFY = "from orchestrator.commands.cli import main; main(['audit', 'verify'])"


def run(*command: str, url: str | None = None) -> str:
    environment = dict(os.environ) if url is None else {**os.environ, "WBC_STORE__URL": url}
    done = subprocess.run(
        command, env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


async def ordered(store: SqlStore, name: str) -> str:
    specimen, _ = await store.create(SpecimenOrder(name), [name.encode() * 1000], "lis")
    return specimen.differential_id


async def test_what_was_there_is_there_again_and_its_trail_is_whole(tmp_path):
    dump = str(tmp_path / "wbc.dump")
    with running_postgresql() as server:
        store = SqlStore(Database(f"{server}postgres"))
        await store.start()
        signed = await ordered(store, "S-1")
        (cell,) = (await store.get(signed)).cells
        await store.record_result(signed, cell.cell_id, RESULT)
        await store.sign(signed, "doctor")
        before = await store.get(signed)
        waiting = await ordered(store, "S-2")
        run("pg_dump", "--format", "custom", "--file", dump, f"{server}postgres")
        later = await ordered(store, "S-3")
        await store.close()

        run("psql", "--command", "CREATE DATABASE restored", f"{server}postgres")
        run("pg_restore", "--exit-on-error", "--no-owner", "--dbname", f"{server}restored", dump)
        told = run(sys.executable, "-c", VERIFY, url=f"{server}restored")
        assert "whole" in told
        restored = SqlStore(Database(f"{server}restored"))
        await restored.start()
        try:
            assert await restored.get(signed) == before
            ids = {entry.differential_id for entry in await restored.audit()}
            assert {signed, waiting} <= ids
            assert later not in ids
            await ordered(restored, "S-4")  # and it goes on
        finally:
            await restored.close()
