"""A real PostgreSQL in a folder of its own, as Debian installs it."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running_service import free_port

SERVER_USER = "postgres"


def _programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return found[-1].parent if found else None


@contextmanager
def running_postgresql() -> Iterator[str]:
    """Start one on a free port; gives its URL without a database's name, ending in ``/``.

    Its folder is not one of pytest's: those are for their user alone, which it is not.

    The test is skipped where it is not installed, or cannot be run as an ordinary user.
    """
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL: install Debian's package postgresql")
    # PostgreSQL refuses to be run by root.
    user = SERVER_USER if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="wbc-postgresql-"))
    data, port = folder / "data", free_port()
    if user is not None:
        shutil.chown(folder, user)

    def run(program: str, *arguments: str) -> None:
        command = [str(programs / program), *arguments]
        subprocess.run(command, check=True, user=user, cwd="/", stdout=subprocess.DEVNULL, timeout=60)

    try:
        with _cluster(run, data, port):
            yield f"postgresql://wbc@127.0.0.1:{port}/"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _cluster(run: Callable[..., None], data: Path, port: int) -> Iterator[None]:
    run("initdb", "--pgdata", str(data), "--username", "wbc", "--auth", "trust", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=50"
    run("pg_ctl", "start", "--wait", "--pgdata", str(data), "--log", str(data / "log"), "--options", options)
    try:
        yield
    finally:
        run("pg_ctl", "stop", "--mode", "immediate", "--pgdata", str(data))
