"""Every implementation of the port under one suite, and what processes must bear besides."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.common.deadline import deadline
from orchestrator.errors import ImageWorkersLost, UndecodableImage
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.processes import ImageProcesses
from orchestrator.image_workers.threads import ImageThreads
from tests.contract.image_workers_suite import ImageWorkersSuite
from tests.image_functions import brighter, end_suddenly, hold, never_end, note, threads_of_opencv
from tests.waiting import LONGEST_S, becomes, becomes_meanwhile

pytestmark = pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="processes for images need Linux")

PIXEL = np.zeros((1, 1), np.uint8)


class TestImageThreads(ImageWorkersSuite):
    @pytest.fixture
    async def workers(self) -> AsyncIterator[ImageWorkers]:
        workers = ImageThreads(2)
        yield workers
        await workers.close()


class TestImageProcesses(ImageWorkersSuite):
    @pytest.fixture
    async def workers(self) -> AsyncIterator[ImageWorkers]:
        workers = ImageProcesses(2)
        await workers.start()
        yield workers
        await workers.close()


@pytest.fixture
async def one_process() -> AsyncIterator[ImageProcesses]:
    workers = ImageProcesses(1, longest_step_s=2.0)
    yield workers
    await workers.close()


async def process_of(workers: ImageProcesses) -> int:
    pid = (await workers.run(brighter, PIXEL))["process"]
    assert isinstance(pid, int)
    return pid


def lost() -> float:
    return REGISTRY.get_sample_value("wbc_image_workers_lost_total") or 0.0


async def test_processes_are_not_this_one_and_there_are_as_many_as_asked_for() -> None:
    workers = ImageProcesses(3)
    await workers.start()
    found = {(await workers.run(brighter, PIXEL))["process"] for _ in range(9)}
    await workers.close()
    assert len(found) == 3
    assert os.getpid() not in found
    for pid in found:
        with pytest.raises(ProcessLookupError):
            os.kill(int(str(pid)), 0)


async def test_a_process_that_is_lost_is_replaced_and_its_work_done_again(
    one_process: ImageProcesses, tmp_path: Path
) -> None:
    before, had = await process_of(one_process), lost()

    assert await one_process.run(end_suddenly, tmp_path / "runs", "x", 1) == "x"

    assert (tmp_path / "runs").read_text() == "xx"
    assert await process_of(one_process) != before
    assert lost() - had == 1


async def test_a_caller_who_waits_longer_may_have_a_longer_step(
    one_process: ImageProcesses, tmp_path: Path
) -> None:
    before = await process_of(one_process)

    with deadline(LONGEST_S):
        assert await one_process.run(note, tmp_path / "runs", "x", 2.5) == "x"
    assert (tmp_path / "runs").read_text() == "x"
    assert await process_of(one_process) == before


async def test_what_ends_two_processes_is_an_image_that_cannot_be_processed(
    one_process: ImageProcesses, tmp_path: Path
) -> None:
    had = lost()
    others = [asyncio.create_task(one_process.run(note, tmp_path / "o", "o")) for _ in range(3)]

    with pytest.raises(UndecodableImage, match="cannot be processed"):
        await one_process.run(end_suddenly, tmp_path / "runs", "x", 9)

    assert (tmp_path / "runs").read_text() == "xx"
    assert await asyncio.gather(*others) == ["o", "o", "o"]
    assert lost() - had == 2
    await process_of(one_process)


async def test_a_process_that_is_killed_again_and_again_is_not_the_images_fault(
    one_process: ImageProcesses, tmp_path: Path
) -> None:
    assert await one_process.run(end_suddenly, tmp_path / "runs", "x", 4, signal.SIGKILL) == "x"
    assert (tmp_path / "runs").read_text() == "xxxxx"


async def test_a_process_that_is_killed_while_it_comes_up_is_started_again(tmp_path: Path) -> None:
    workers = ImageProcesses(1)
    running = asyncio.create_task(workers.run(note, tmp_path / "a", "a"))
    await becomes(lambda: workers._processes[0]._popen is not None)
    popen = workers._processes[0]._popen
    assert popen is not None
    popen.kill()

    assert await running == "a"
    await workers.close()


async def test_an_image_whose_processes_are_always_killed_is_given_back_within_its_deadline(
    one_process: ImageProcesses, tmp_path: Path
) -> None:
    with deadline(0.5), pytest.raises(ImageWorkersLost, match="nothing is said of the image"):
        await one_process.run(end_suddenly, tmp_path / "runs", "x", 99, signal.SIGKILL)
    assert 1 <= (tmp_path / "runs").read_text().count("x") < 10


async def test_what_does_not_end_is_ended(one_process: ImageProcesses, tmp_path: Path) -> None:
    before, began_s = await process_of(one_process), time.monotonic()

    with pytest.raises(UndecodableImage, match="cannot be processed"):
        await one_process.run(never_end, tmp_path / "runs")

    assert 2.0 <= time.monotonic() - began_s < 60.0
    assert (tmp_path / "runs").read_text() == "x"  # once
    assert await process_of(one_process) != before


async def test_signals_to_the_whole_group_do_not_end_a_process_that_still_works(
    one_process: ImageProcesses, tmp_path: Path
) -> None:
    pid = await process_of(one_process)
    working = asyncio.create_task(one_process.run(hold, tmp_path / "a", tmp_path / "end"))
    await becomes((tmp_path / "a").exists)

    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGINT)
    (tmp_path / "end").touch()

    assert await working == "a"
    assert await process_of(one_process) == pid


async def test_closing_lets_what_runs_end_and_drops_what_waits(tmp_path: Path) -> None:
    workers = ImageProcesses(1)
    await workers.start()
    running = asyncio.create_task(workers.run(hold, tmp_path / "a", tmp_path / "end"))
    waiting = asyncio.create_task(workers.run(note, tmp_path / "b", "b"))
    await becomes((tmp_path / "a").exists)

    closing = asyncio.create_task(workers.close())
    await becomes(waiting.done)
    (tmp_path / "end").touch()
    await closing

    assert await running == "a"
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not (tmp_path / "b").exists()


async def test_a_process_leaves_the_cores_to_the_others(one_process: ImageProcesses) -> None:
    assert await one_process.run(threads_of_opencv) == 1


STARTED_BY_ANOTHER = """
import asyncio, numpy as np, time
from orchestrator.image_workers.processes import ImageProcesses
from tests.image_functions import brighter
async def main():
    workers = ImageProcesses(1)
    print((await workers.run(brighter, np.zeros((1, 1), np.uint8)))["process"], flush=True)
    time.sleep(60)
asyncio.run(main())
"""


def test_no_process_outlives_the_one_that_started_it(project_root: Path) -> None:
    command = [sys.executable, "-c", STARTED_BY_ANOTHER]
    with subprocess.Popen(command, cwd=project_root, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        os.kill(pid, 0)  # it lives
        starter.kill()
        starter.wait()
    line = Path(f"/proc/{pid}/cmdline")
    becomes_meanwhile(lambda: not (line.exists() and line.read_bytes()))


NONE_COMES_UP = """
import asyncio, sys
from orchestrator.image_workers.processes import ImageProcesses
sys.executable = "/bin/false"
asyncio.run(ImageProcesses(2).start())
"""


def test_a_process_that_does_not_come_up_is_told_at_the_start(project_root: Path) -> None:
    command = [sys.executable, "-c", NONE_COMES_UP]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "a process for images did not start" in done.stderr


def test_a_process_for_images_loads_neither_server_nor_network_nor_metrics(project_root: Path) -> None:
    program = (
        "import sys, orchestrator.image_workers.worker; "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=project_root, check=True, capture_output=True, text=True
    )
    loaded = set(done.stdout.split())
    assert {"cv2", "numpy", "PIL"} <= loaded
    assert loaded.isdisjoint(
        {"fastapi", "uvicorn", "grpc", "openvino", "pydantic", "prometheus_client", "asyncio", "ssl"}
    )
