"""This tree beside an earlier commit of it, in one run, on the same images.

    python -m loadtests.compare_builds --base 45a5c32 [--rounds 5] [--images data/wbc/TestA]

The base is checked out into a work tree of its own and runs in this environment, each build with the model
that its tree holds. Both run at once and are asked in turn, round after round, so that whatever else the
machine does bears on both; the ratios count, this tree over the base, with their range over the rounds. Then
a differential of all the images, start to ready and memory; and each build's orchestrator alone, which asks
its tree's stand-in for TensorFlow Serving. Writes ``builds.md`` under ``runs/load/``.
For research use only. Not for use in diagnostic procedures.
"""

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

import httpx2
from rich.console import Console
from rich.table import Table

from loadtests.client import Load
from loadtests.compare_peers import PATIENT, Peer, stand_in, stretch
from loadtests.host import cpu_seconds, host_in_words, resident_mb
from loadtests.images import ImageFile, files_of, painted_cells
from orchestrator.domain import DISCLAIMER
from tests.running_service import PROJECT_ROOT, RunningService, running_service

BASE: Final = "45a5c32"
CLIENTS: Final = 8
SECONDS: Final = 5.0
PROBES: Final = 400
LONGEST_DIFFERENTIAL_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Figure:
    """What was measured in every round of both builds, and the most or least that this one is to be of that
    one."""

    name: str
    unit: str
    base: tuple[float, ...]
    here: tuple[float, ...]
    target: float
    at_least: bool = False

    @property
    def ratios(self) -> list[float]:
        """This tree over the base, round by round."""
        return [here / base for base, here in zip(self.base, self.here, strict=True)]

    @property
    def met(self) -> bool:
        """Whether the median of the ratios is as it is to be."""
        found = median(self.ratios)
        return found >= self.target if self.at_least else found <= self.target

    def row(self) -> tuple[str, ...]:
        """In words."""
        ratios = self.ratios
        wanted = f"{'at least' if self.at_least else 'at most'} {self.target:g}x"
        return (
            f"{self.name}, {self.unit}",
            f"{median(self.base):.3g}",
            f"{median(self.here):.3g}",
            f"{median(ratios):.2f}x ({min(ratios):.2f} to {max(ratios):.2f})",
            wanted,
            "met" if self.met else "missed",
        )


HEADER: Final = ("Figure", "base", "here", "here over base (range)", "target", "")


@contextmanager
def work_tree(commit: str) -> Iterator[Path]:
    """The tree of a commit in a folder of its own, which goes with it.

    Raises ``RuntimeError``, with what git says, where there is no such commit.
    """
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent) / "base"
        _git("worktree", "add", "--detach", str(folder), commit)
        try:
            yield folder
        finally:
            _git("worktree", "remove", "--force", str(folder))


def _git(*arguments: str) -> None:
    ended = subprocess.run(
        ["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    if ended.returncode:
        raise RuntimeError(f"git {arguments[0]} {arguments[1]}: {ended.stderr.strip()}")


@contextmanager
def build(folder: Path, target: str | None = None) -> Iterator[RunningService]:
    """The service of a tree, with a store of its own; it asks the model server at ``target``, if any."""
    with tempfile.TemporaryDirectory() as place:
        environment = {
            **PATIENT,
            "PYTHONPATH": str(folder),
            "WBC_STORE__URL": f"sqlite:///{place}/wbc.db",
            "WBC_EMBEDDED__CACHE_DIR": f"{place}/cache",
        }
        if target is not None:
            environment["WBC_TF_SERVING__TARGET"] = target
        with running_service(environment=environment, folder=folder):
            pass  # the network is compiled into the cache
        with running_service(environment=environment, folder=folder) as service:
            yield service


async def requests(
    services: Sequence[RunningService], files: Sequence[ImageFile], rounds: int, progress: Console
) -> list[Figure]:
    """Single images: rates, processor time and waits of both builds, with both ways of augmentation."""
    measured: dict[tuple[str, int], list[tuple[float, float, float]]] = {}
    for number in range(rounds):
        for tta in ("light", "adaptive"):
            turns = list(enumerate(services))
            for which, service in turns if number % 2 else reversed(turns):
                progress.print(
                    f"round {number + 1} of {rounds}: {tta}, {('base', 'here')[which]}", highlight=False
                )
                peer = Peer(tta, service.url, service.process.pid, f"/predict?tta={tta}", SECONDS)
                async with Load(peer.url, peer.path, files) as load:
                    if not number:
                        await load.at_once(2, 1.0)
                    alone, together = await stretch(load, peer, 1), await stretch(load, peer, CLIENTS)
                found = (together.per_second, together.cpu_ms, alone.p50_ms)
                measured.setdefault((tta, which), []).append(found)
    figures = []
    for tta, (faster, cheaper, sooner) in {"light": (4.0, 0.24, 0.35), "adaptive": (3.3, 0.33, 0.5)}.items():
        base, here = (list(zip(*measured[tta, which], strict=True)) for which in (0, 1))
        figures += [
            Figure(f"{tta}, {CLIENTS} clients", "requests/s", base[0], here[0], faster, at_least=True),
            Figure(f"{tta}, {CLIENTS} clients", "processor ms a request", base[1], here[1], cheaper),
            Figure(f"{tta}, one client, p50", "ms", base[2], here[2], sooner),
        ]
    return figures


async def orchestrators(
    services: Sequence[RunningService], files: Sequence[ImageFile], rounds: int, progress: Console
) -> Figure:
    """Processor time of each build's orchestrator, eight views, where another process runs the network."""
    cost: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for which, service in enumerate(services):
            progress.print(
                f"round {number + 1} of {rounds}: asking, {('base', 'here')[which]}", highlight=False
            )
            peer = Peer("asking", service.url, service.process.pid, "/predict?tta=light", SECONDS)
            async with Load(peer.url, peer.path, files) as load:
                if not number:
                    await load.at_once(2, 1.0)
                cost[which].append((await stretch(load, peer, CLIENTS)).cpu_ms)
    return Figure(
        "asking a model server, light", "processor ms a request", tuple(cost[0]), tuple(cost[1]), 0.4
    )


def newest_model(folder: Path) -> Path:
    """The one version that a tree holds."""
    return max((folder / "model_repository" / "wbc").glob("[0-9]*"), key=lambda path: int(path.name))


def probes(services: Sequence[RunningService]) -> Figure:
    """Processor time of a liveness probe."""
    cost = []
    for service in services:
        with httpx2.Client(base_url=service.url) as client:
            for _ in range(20):
                client.get("/livez")
            before = cpu_seconds(service.process.pid)
            for _ in range(PROBES):
                client.get("/livez")
            cost.append(1e6 * (cpu_seconds(service.process.pid) - before) / PROBES)
    return Figure("/livez", "processor us", (cost[0],), (cost[1],), 1.0)


def differential(services: Sequence[RunningService], files: Sequence[ImageFile], progress: Console) -> Figure:
    """One order of all the images, until its last cell is analysed; one build after the other."""
    took = []
    for service in services:
        progress.print(f"a differential of {len(files)} images: {service.url}", highlight=False)
        with httpx2.Client(base_url=service.url, timeout=60) as client:
            begun = time.monotonic()
            order = client.post(
                "/v1/differentials",
                data={"specimen_id": "S-1"},
                files=[("files", (one.name, one.data, one.media_type)) for one in files],
            )
            order.raise_for_status()
            path = f"/v1/differentials/{order.json()['id']}?cells=false"
            while client.get(path).json()["progress"]["waiting"]:
                if time.monotonic() - begun > LONGEST_DIFFERENTIAL_S:
                    raise RuntimeError(f"{service.url}: the differential was not done in time")
                time.sleep(0.1)
            took.append(time.monotonic() - begun)
    return Figure(f"differential of {len(files)} images", "s", (took[0],), (took[1],), 0.3)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and judge; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--base", default=BASE, help=f"commit to compare with ({BASE})")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=Path, help="folder of images instead of painted cells")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    files = painted_cells() if options.images is None else files_of(options.images)
    progress = Console(stderr=True)
    before = host_in_words()
    with (
        work_tree(options.base) as folder,
        build(folder) as base,
        build(PROJECT_ROOT) as here,
    ):
        services = (base, here)
        figures = asyncio.run(requests(services, files, options.rounds, progress))
        figures.append(differential(services, files, progress))
        figures.append(probes(services))
        memory = [resident_mb(service.process.pid) for service in services]
        figures.append(Figure("resident memory", "MB", (memory[0],), (memory[1],), 0.8))
        figures.append(Figure("start to ready, warm cache", "s", (base.ready_s,), (here.ready_s,), 1.0))
        with (
            stand_in(newest_model(folder), folder) as there,
            stand_in(newest_model(PROJECT_ROOT)) as ours,
            build(folder, there) as base_asking,
            build(PROJECT_ROOT, ours) as here_asking,
        ):
            asking = (base_asking, here_asking)
            figures.append(asyncio.run(orchestrators(asking, files, options.rounds, progress)))
    about = f"{options.base} and this tree, {options.rounds} rounds; {before} before, {host_in_words()} after"
    table = Table(*HEADER, title=about, caption=DISCLAIMER)
    for one in figures:
        table.add_row(*one.row())
    Console().print(table)
    options.output_dir.mkdir(parents=True, exist_ok=True)
    lines = ["# Between builds", "", f"{DISCLAIMER} {about}.", ""]
    lines += [f"| {' | '.join(HEADER)} |", f"|{' --- |' * len(HEADER)}"]
    lines += [f"| {' | '.join(one.row())} |" for one in figures]
    (options.output_dir / "builds.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    progress.print(f"written: {options.output_dir / 'builds.md'}", highlight=False)
    return 0 if all(one.met for one in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
