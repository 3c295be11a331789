"""The service as a process of its own, as a person starts it."""

import atexit
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from orchestrator.domain import DISCLAIMER

START_TIMEOUT_S = 180.0
STOP_TIMEOUT_S = 30.0
PROJECT_ROOT = Path(__file__).resolve().parents[1]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@dataclass
class RunningService:
    """``ready_s`` is the time from the start of the process to its announcement."""

    url: str
    process: "subprocess.Popen[str]"
    announcement: str
    ready_s: float
    _ended: tuple[int, str, str] | None = field(default=None, repr=False)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        """Ask it to stop; its exit code, and what it wrote to stdout after its announcement and to stderr."""
        if self._ended is None:
            self.process.send_signal(how)
            out, err = self.process.communicate(timeout=STOP_TIMEOUT_S)
            self._ended = (self.process.returncode, out, err)
        return self._ended


@cache
def _compiled_networks() -> str:
    """A folder for compiled networks: all services of this process compile each once.

    Processes do not share it, so that none reads what another is about to write.
    """
    folder = tempfile.mkdtemp(prefix="wbc-networks-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _environment() -> dict[str, str]:
    """As a person has it, without what the tests set for services inside their own process."""
    as_is = {name: value for name, value in os.environ.items() if name != "WBC_IMAGES__PROCESSES"}
    return as_is | {"WBC_EMBEDDED__CACHE_DIR": _compiled_networks()}


@contextmanager
def running_service(
    arguments: Sequence[str] = ("-m", "orchestrator"),
    environment: Mapping[str, str] | None = None,
    folder: Path = PROJECT_ROOT,
    timeout_s: float = START_TIMEOUT_S,
) -> Iterator[RunningService]:
    """Start ``python ARGUMENTS`` in a folder and wait until it announces that it is ready.

    Raises ``RuntimeError``, with what it said, where it ends before or is not ready in time.
    """
    port = free_port()
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**_environment(), "WBC_HTTP__PORT": str(port), **(environment or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        announcement = _announcement(process, started + timeout_s)
        yield RunningService(
            f"http://127.0.0.1:{port}", process, announcement, ready_s=time.monotonic() - started
        )
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _announcement(process: "subprocess.Popen[str]", deadline: float) -> str:
    assert process.stdout is not None
    lines: list[str] = []
    while time.monotonic() < deadline and (process.poll() is None or not lines):
        if not select.select([process.stdout], [], [], 0.1)[0]:
            continue
        # The announcement is written at once, so that its other lines follow without a wait.
        while line := process.stdout.readline():
            lines.append(line)
            if DISCLAIMER in line:
                return "".join(lines)
        break
    process.kill()
    _, err = process.communicate()
    raise RuntimeError(f"The service did not become ready; it said: {err}")
