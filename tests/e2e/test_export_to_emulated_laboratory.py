"""``wbc export`` sends to ``wbc emulate``, each a process of its own, as an integrator runs them."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.interop.hl7v2_text import read
from tests.golden.write_interop import FOLDER
from tests.running_service import free_port

COMMAND = [sys.executable, "-c", "from orchestrator.commands.cli import main; main()"]
ENVIRONMENT = os.environ | {"COLUMNS": "200", "PYTHONUNBUFFERED": "1"}
DOCUMENT = FOLDER / "too_few_cells.differential.json"

Run = Callable[..., subprocess.CompletedProcess[str]]


@contextmanager
def emulator(*arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The running emulator, and its announcement."""
    process = subprocess.Popen(
        [*COMMAND, "emulate", *map(str, arguments)],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process, _until(process, DISCLAIMER)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _until(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdout is not None
    said, end = "", time.monotonic() + 60
    while text not in said and time.monotonic() < end and process.poll() is None:
        if not select.select([process.stdout], [], [], 0.1)[0]:
            continue
        # What was written at once is read at once: the rest of it wakes nobody.
        while text not in said and (line := process.stdout.readline()):
            said += line
    assert text in said, said
    return said


@pytest.fixture(scope="module")
def export() -> Run:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, "export", *map(str, arguments)],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_a_message_reaches_the_lis_although_the_first_acknowledgement_is_lost(export, tmp_path):
    save = tmp_path / "received"
    arguments = ("mllp", "--port", 0, "--answer", "cut", "--answer", "accept", "--save", save)
    with emulator(*arguments) as (process, announcement):
        address = announcement.split()[3]
        assert address.startswith("mllp://127.0.0.1:")
        sent = export("oru", DOCUMENT, "--send", address, "--patient-id", "4711", "--order-number", "A^1")
        assert sent.returncode == 0, sent.stderr
        assert "acknowledged with AA" in sent.stderr
        assert DISCLAIMER in sent.stderr
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert said.count("ORU^R01") == 2
    assert "repeated" in said
    assert "26511-6" in said
    first, second = (path.read_bytes() for path in sorted(save.iterdir()))
    assert first == second
    assert (read(first).value("PID", 3), read(first).value("OBR", 2)) == ("4711", "A^1")


def test_a_bundle_reaches_the_fhir_server_although_it_is_busy_first(export):
    port = free_port()
    with emulator("fhir", "--port", port, "--status", 503) as (process, _):
        sent = export("fhir", DOCUMENT, "--send", f"http://127.0.0.1:{port}/fhir", "--cells")
        assert sent.returncode == 0, sent.stderr
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert "Bundle (transaction): 503" in said
    assert "26 new, 0 replaced" in said
    assert "Cells counted" in said


def test_a_report_reaches_the_archive_although_it_is_busy_first(export, tmp_path):
    port, save = free_port(), tmp_path / "received"
    with emulator("dicom", "--port", port, "--status", 503, "--save", save) as (process, _):
        sent = export("dicom", DOCUMENT, "--send", f"http://127.0.0.1:{port}/dicom-web")
        assert sent.returncode == 0, sent.stderr
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert "SR 2.25." in said
    assert "Cells counted: 8 {cells}" in said
    assert [path.read_bytes()[128:132] for path in save.iterdir()] == [b"DICM"]


def test_a_receiver_that_refuses_is_an_error_of_the_command(export):
    with emulator("mllp", "--port", 0, "--answer", "error") as (_, announcement):
        sent = export("oul", DOCUMENT, "--send", announcement.split()[3])
    assert sent.returncode == 2
    assert "refused the message with AE" in sent.stderr
    assert "Traceback" not in sent.stderr
