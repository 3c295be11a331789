"""Several orchestrators on one PostgreSQL, kills of them and their processes for images, and stale reviewers.

    python -m loadtests.replicas [--replicas 5] [--cells 150] [--kills 20] [--worker-kills 80] [--seconds 900]

PostgreSQL is Debian's, in a folder of its own; the orchestrators are whole services with a model server that
answers by colours and writes down each view that it is asked for, so that a kill hides none. The run fails
where a view is asked for twice without a kill, more than were under way are asked for again after one, a
healthy cell fails, a request for one image is not answered while its process is killed, or a stale reviewer's
decision is taken. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

import httpx2

from orchestrator.bootstrap.process import serve
from orchestrator.bootstrap.services import build_services
from orchestrator.domain import DISCLAIMER, Prediction, Question
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer
from tests.postgresql import running_postgresql
from tests.running_service import RunningService, running_service
from tests.synthetic_cells import cell_file

VIEWS: Final = 8
CONCURRENCY: Final = 2
LEASE_S: Final = 4
MODEL_S: Final = 0.03
"""About what a small network takes."""

DEADLINE_S: Final = 120.0
"""Of a request, so that a busy machine is no failure; what is measured is whether there is an answer."""

START_S: Final = 300.0
"""Until a service is ready where many others start beside it."""

PATH: Final = "/v1/differentials"


class CountingModelServer(FakeModelServer):
    """Appends a byte to a file for each view, before it answers."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    async def explain(self, question: Question) -> Prediction:
        """Count, take some time, and answer."""
        os.write(self._file, bytes(len(question)))
        await asyncio.sleep(MODEL_S)
        return await super().explain(question)


class Replicas:
    """So many services on one database, of which one that was killed is started again."""

    def __init__(self, number: int, environment: dict[str, str], views: Path, stack: ExitStack) -> None:
        self._environment = environment
        self._views = views
        self._stack = stack
        self.number = number
        self.running: list[RunningService] = []
        self._starting = stack.enter_context(ThreadPoolExecutor(2))  # more would not be ready in a minute
        for begun in [self.add() for _ in range(number)]:
            begun.result()

    def add(self) -> Future[None]:
        """Start one, which is counted when it is ready."""
        return self._starting.submit(self._start)

    def kill(self, chosen: int) -> bool:
        """End one as a node does that is lost, and let another come up; the last one is not ended."""
        if len(self.running) < 2:
            return False
        service = self.running.pop(chosen % len(self.running))
        service.process.kill()
        service.process.wait()
        self.add()
        return True

    def kill_worker(self, chosen: int) -> bool:
        """End a process for images of one; whether there was any."""
        pid = self.running[chosen % len(self.running)].process.pid
        return kill_child(pid)

    def _start(self) -> None:
        arguments = ("-m", "loadtests.replicas", "--replica", str(self._views))
        self.running.append(
            self._stack.enter_context(running_service(arguments, self._environment, timeout_s=START_S))
        )

    def url(self, turn: int) -> str:
        """Of one of them, by turns."""
        return self.running[turn % len(self.running)].url

    def views(self) -> int:
        """That all have asked for."""
        return self._views.stat().st_size if self._views.exists() else 0


def kill_child(pid: int) -> bool:
    """End the processes that this one started; whether there were any."""
    found = [
        int(child)
        for file in Path(f"/proc/{pid}/task").glob("*/children")
        for child in file.read_text().split()
    ]
    for child in found:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return bool(found)


@dataclass
class Figures:
    """What a run came to; ``wrong`` is what must not be."""

    rows: list[tuple[str, str]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def say(self, what: str, figure: str, *, good: bool = True) -> None:
        """One row."""
        self.rows.append((what, figure))
        if not good:
            self.wrong.append(what)

    def __str__(self) -> str:
        table = "\n".join(
            f"| {what} | {figure} |" for what, figure in (("", "Measured"), ("---", "---"), *self.rows)
        )
        verdict = f"Wrong: {'; '.join(self.wrong)}" if self.wrong else "As it should be."
        return f"{table}\n\n{verdict}\n{DISCLAIMER}"


def ordered(url: str, cells: Sequence[bytes], name: str) -> str:
    """The id of a new differential of these images."""
    files = [("files", (f"{number}.png", cell)) for number, cell in enumerate(cells)]
    form = {"specimen_id": name, "tta": "light"}
    response = httpx2.post(f"{url}{PATH}", data=form, files=files, timeout=DEADLINE_S)
    response.raise_for_status()
    return str(response.json()["id"])


def progress(url: str, differential_id: str) -> dict[str, Any]:
    """A differential as it is now, without its cells."""
    response = httpx2.get(f"{url}{PATH}/{differential_id}", params={"cells": "false"}, timeout=DEADLINE_S)
    response.raise_for_status()
    document: dict[str, Any] = response.json()
    return document


def until(condition: Callable[[], bool], ends_s: float) -> bool:
    """Whether it became so in time."""
    while not condition():
        if time.monotonic() > ends_s:
            return False
        time.sleep(0.2)
    return True


def without_kills(replicas: Replicas, cells: Sequence[bytes], ends_s: float, figures: Figures) -> None:
    """All of one specimen, in which each takes its part."""
    before, begun_s = replicas.views(), time.monotonic()
    differential_id = ordered(replicas.url(0), cells, "no kill")
    done = until(lambda: progress(replicas.url(1), differential_id)["state"] == "analysed", ends_s)
    views, needed = replicas.views() - before, len(cells) * VIEWS
    took_s = time.monotonic() - begun_s
    figures.say(
        f"views of {len(cells)} cells by {len(replicas.running)} orchestrators, no kill",
        f"{views} of {needed} needed, in {took_s:.0f} s",
        good=done and views == needed,
    )


def with_kills(
    replicas: Replicas,
    cells: Sequence[bytes],
    kills: int,
    ends_s: float,
    figures: Figures,
    *,
    of_workers: bool,
    moments: random.Random,
) -> None:
    """Specimens one after the other, until so many kills have come while one was under way."""
    before, done, specimens, failed, late = replicas.views(), 0, 0, 0, False
    while done < kills and not late:
        specimens += 1
        differential_id = ordered(replicas.url(specimens), cells, "kills")
        while not late:
            time.sleep(moments.uniform(0.1, 0.6))
            now = progress(replicas.url(done), differential_id)
            if now["state"] == "analysed":
                break
            if done < kills:
                kill = replicas.kill_worker if of_workers else replicas.kill
                done += kill(moments.randrange(99))
            late = time.monotonic() > ends_s
        failed += now["progress"]["failed"]
    until(lambda: len(replicas.running) == replicas.number, time.monotonic() + 300)
    again = replicas.views() - before - specimens * len(cells) * VIEWS
    what = "processes for images" if of_workers else "orchestrators"
    most = 0 if of_workers else done * CONCURRENCY * VIEWS
    figures.say(f"healthy cells failed in {done} kills of {what}", str(failed), good=not (failed or late))
    figures.say(
        f"views asked for again after {done} kills of {what}",
        f"{again}; {most} may be" if most else f"{again}",
        good=late or again <= most,
    )
    if late:
        figures.say("ended by the time for it", what, good=False)


def one_image(replicas: Replicas, cell: bytes, times: int, figures: Figures) -> None:
    """Requests during each of which the processes for images are killed."""
    answers = []
    with ThreadPoolExecutor(1) as threads:
        for _ in range(times):
            service = replicas.running[0]
            asked = threads.submit(
                httpx2.post,
                f"{service.url}/predict",
                files={"file": ("cell.png", cell)},
                timeout=2 * DEADLINE_S,
            )
            time.sleep(0.02)
            kill_child(service.process.pid)
            answers.append(asked.result().status_code)
    good = answers.count(200)
    figures.say(f"`/predict` answered while its process is killed, of {times}", str(good), good=good == times)


def stale_reviewers(replicas: Replicas, cells: Sequence[bytes], ends_s: float, figures: Figures) -> None:
    """Each cell is read by two people, and decided about by both over different orchestrators."""
    differential_id = ordered(replicas.url(0), cells, "reviewers")
    until(lambda: progress(replicas.url(0), differential_id)["state"] == "analysed", ends_s)
    seen = httpx2.get(f"{replicas.url(0)}{PATH}/{differential_id}", timeout=DEADLINE_S).json()

    def decided(turn: int, cell: dict[str, Any]) -> int:
        url = f"{replicas.url(turn)}{PATH}/{differential_id}/cells/{cell['id']}/decision"
        headers = {"If-Match": f'"{cell["etag"]}"'}
        label = CLASS_NAMES[turn % len(CLASS_NAMES)]
        return httpx2.post(url, json={"label": label}, headers=headers, timeout=DEADLINE_S).status_code

    with ThreadPoolExecutor(4) as threads:
        turns = count()
        asked = [threads.submit(decided, next(turns), cell) for cell in seen["cells"] for _ in range(2)]
        statuses = [one.result() for one in asked]
    taken, refused = statuses.count(200), statuses.count(412)
    figures.say(
        f"decisions of two reviewers about each of {len(cells)} cells",
        f"{taken} taken, {refused} refused with 412",
        good=taken == refused == len(cells),
    )


def run(
    replicas: int,
    cells: int,
    kills: int,
    worker_kills: int,
    seconds: float,
    seed: int = 17,
    lease_s: int = LEASE_S,
) -> Figures:
    """The whole of it, in about so many seconds; ``lease_s`` must be longer than a service stalls."""
    figures, moments = Figures(), random.Random(seed)
    ends_s = time.monotonic() + seconds
    images = [cell_file(CLASS_NAMES[n % len(CLASS_NAMES)], n, 130) for n in range(cells)]
    few = images[: min(60, cells)]
    with running_postgresql() as server, tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        environment = {
            "WBC_STORE__URL": f"{server}postgres",
            "WBC_STORE__POOL_SIZE": "3",
            "WBC_DIFFERENTIAL__LEASE_S": str(lease_s),
            "WBC_DIFFERENTIAL__CONCURRENCY": str(CONCURRENCY),
            "WBC_IMAGES__PROCESSES": "1",
            "WBC_DEADLINE__DEFAULT_S": f"{DEADLINE_S:.0f}",
            "WBC_DEADLINE__LONGEST_S": f"{DEADLINE_S:.0f}",
        }
        fleet = Replicas(replicas, environment, Path(folder) / "views", stack)
        without_kills(fleet, images, ends_s, figures)
        with_kills(fleet, few, worker_kills, ends_s, figures, of_workers=True, moments=moments)
        with_kills(fleet, few, kills, ends_s, figures, of_workers=False, moments=moments)
        one_image(fleet, images[0], 14, figures)
        stale_reviewers(fleet, images[: min(20, cells)], ends_s, figures)
    return figures


def main() -> None:
    """Run it and print the table; or be one of the services."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--replicas", type=int, default=5)
    parser.add_argument("--cells", type=int, default=150)
    parser.add_argument("--kills", type=int, default=20, help="of orchestrators")
    parser.add_argument("--worker-kills", type=int, default=80, help="of processes for images")
    parser.add_argument("--seconds", type=float, default=900, help="after which kills end")
    parser.add_argument("--replica", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.replica is not None:
        settings = Settings()
        serve(settings, build_services(settings, model_server=CountingModelServer(asked.replica)))
        return
    figures = run(asked.replicas, asked.cells, asked.kills, asked.worker_kills, asked.seconds)
    print(figures)
    sys.exit(1 if figures.wrong else 0)


if __name__ == "__main__":
    main()
