"""Where the time of a request goes: a flame graph of a service under load, and a table of its stages.

    python -m loadtests.profile [--url http://localhost:8000 --pid 4711] [--path "/predict?tta=light"]

py-spy looks a hundred times a second at what each thread of the service, and of its processes for images, is
doing in Python, without changing them; a thread that waits is not counted, time in OpenCV and OpenVINO is its
caller's. Stages are the service's own clocks, as ``/metrics`` tells them; those of several requests overlap.
Writes ``flame.svg`` and ``stages.md`` under ``runs/load/``.
py-spy needs the rights of a debugger. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import asyncio
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from http import HTTPStatus
from pathlib import Path
from typing import Final

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from loadtests.client import Load
from loadtests.host import host_in_words
from loadtests.images import files_of, painted_cells
from orchestrator.domain import DISCLAIMER
from tests.running_service import running_service

RATE_HZ: Final = 100
STAGES: Final = "wbc_stage_duration_seconds"
HEADER: Final = ("Stage", "ms each time", "times a request", "ms a request")

Stages = dict[str, tuple[float, float]]
"""Seconds and how often, by the name of a stage, since the service began."""


def stages_of(exposition: str) -> Stages:
    """Of what ``/metrics`` says."""
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(exposition):
        if family.name == STAGES:
            for sample in family.samples:
                if sample.name.endswith(("_sum", "_count")):
                    found.setdefault(sample.labels["stage"], {})[sample.name] = sample.value
    return {stage: (of[f"{STAGES}_sum"], of[f"{STAGES}_count"]) for stage, of in found.items()}


def rows_of(before: Stages, after: Stages, requests: int) -> list[tuple[str, ...]]:
    """What lies between, the costliest first; a stage that did not run has no row."""
    rows = []
    for stage, (seconds, times) in after.items():
        seconds_before, times_before = before.get(stage, (0.0, 0.0))
        if ran := times - times_before:
            rows.append((1000 * (seconds - seconds_before), ran, stage))
    return [
        (stage, f"{ms / ran:.2f}", f"{ran / requests:.2f}", f"{ms / requests:.2f}")
        for ms, ran, stage in sorted(rows, reverse=True)
    ]


def spy(pid: int, seconds: float, output: Path) -> "subprocess.Popen[str]":
    """Begin to look at a process and those that it started."""
    command = ["py-spy", "record", "--pid", str(pid), "--subprocesses", "--rate", str(RATE_HZ)]
    command += ["--duration", str(max(1, round(seconds))), "--output", str(output)]
    return subprocess.Popen(
        [str(Path(sys.executable).with_name(command[0])), *command[1:]],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


async def _answered(load: Load, clients: int, seconds: float) -> int:
    return sum(one.status == HTTPStatus.OK for one in await load.at_once(clients, seconds))


async def _loaded(url: str, pid: int, options: argparse.Namespace) -> tuple[Stages, Stages, int, str]:
    files = painted_cells() if options.images is None else files_of(options.images, 100)
    async with Load(url, options.path, files) as load, httpx2.AsyncClient(base_url=url) as client:
        await load.at_once(options.clients, 3.0)  # warms up
        before = stages_of((await client.get("/metrics")).text)
        spying = spy(pid, options.seconds, options.output_dir / "flame.svg")
        answered = await _answered(load, options.clients, options.seconds)
        after = stages_of((await client.get("/metrics")).text)
        _, said = await asyncio.to_thread(spying.communicate, timeout=120)
    return before, after, answered, said.strip() if spying.returncode else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a running service, with --pid; one is started where absent")
    parser.add_argument("--pid", type=int, help="its process")
    parser.add_argument("--path", default="/predict?tta=light")
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--images", type=Path, help="folder of images instead of painted cells")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    if (options.url is None) != (options.pid is None):
        parser.error("expected both --url and --pid, or neither")
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        url, pid = options.url, options.pid
        if url is None:
            service = stack.enter_context(running_service())
            url, pid = service.url, service.process.pid

        before, after, answered, failure = asyncio.run(_loaded(url, pid, options))

    console = Console()
    if not answered:
        console.print(f"{url} answered nothing")
        return 1
    rows = rows_of(before, after, answered)
    about = f"POST {options.path}, {options.clients} clients, {answered} answers; {host_in_words()}"
    table = Table(*HEADER, title=about, caption=DISCLAIMER)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    lines = ["# Stages of a request", "", f"{about}. {DISCLAIMER}", ""]
    lines += [f"| {' | '.join(row)} |" for row in (HEADER, ("---",) * len(HEADER), *rows)]
    (options.output_dir / "stages.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console.print(f"written: {options.output_dir}", highlight=False)
    if failure:
        console.print(f"no flame graph: {failure}", markup=False)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
