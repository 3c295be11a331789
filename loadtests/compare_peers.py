"""Side by side in one run, on the same images: a reference-style server, FastAPI over TensorFlow, and ours.

    python -m loadtests.compare_peers [--rounds 3] [--per-view] [--images data/wbc/TestA]

Eight views, heatmap and report everywhere, and once ours with adaptive test-time augmentation. All servers
run at once, and are asked in turn, round after round, so that whatever else the machine does bears on all of
them; the ratios count. Processor time for each request stands beside, which what others do changes less.
:mod:`loadtests.peers` says what the baselines do. Then what the service costs beside its network, on one
core; how fast it starts; and its memory. Each with its target. Writes ``peers.md`` under ``runs/load/``.
For research use only. Not for use in diagnostic procedures.
"""

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.client import Load, Outcome, figures
from loadtests.host import cpu_seconds, host_in_words, resident_mb
from loadtests.images import ImageFile, files_of, painted_cells
from loadtests.load import is_ready, verdict_table
from loadtests.objective import Verdict
from orchestrator.domain import DISCLAIMER
from tests.running_service import PROJECT_ROOT, RunningService, free_port, running_service

START_TIMEOUT_S: Final = 120.0
DEADLINE_S: Final = 60.0
PATIENT: Final = {"WBC_DEADLINE__DEFAULT_S": "30", "WBC_TF_SERVING__TIMEOUT_S": "30"}
"""A busy machine is slow, and the baselines have no deadline at all."""

CLIENTS: Final = (1, 8)
"""At once: one, and as many as keep every server busy."""

REFERENCE: Final = "reference-style"
REFERENCE_NETWORK: Final = "reference-style with its own network"
PLAIN: Final = "plain FastAPI + TensorFlow"
LIGHT: Final = "ours, embedded"
ADAPTIVE: Final = "ours, embedded, adaptive"
GRPC: Final = "ours over gRPC to the stand-in"

TARGETS: Final = {REFERENCE: (35.0, 60.0), REFERENCE_NETWORK: (100.0, 200.0), PLAIN: (4.0, 8.0)}
"""How many times a peer's requests a second ours are to be, by light and by adaptive augmentation."""
OUTSIDE_TARGET_MS: Final = 25.0
READY_TARGET_S: Final = 5.0
EMBEDDED_TARGET_MB: Final = 450.0
CLIENT_TARGET_MB: Final = 200.0


@dataclass(frozen=True, slots=True)
class Peer:
    """A running server and the path that answers for it; ``seconds`` of each stretch."""

    name: str
    url: str
    pid: int
    path: str = "/predict"
    seconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Stretch:
    """So many clients in a closed loop: answers a second, their times, processor time of an answer, and how
    many requests failed."""

    per_second: float
    p50_ms: float
    p95_ms: float
    cpu_ms: float
    failed: int


@dataclass(slots=True)
class Measured:
    """What a peer came to in each round: with one client, and with several."""

    alone: list[Stretch] = field(default_factory=list)
    together: list[Stretch] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Requests a second: the median over the rounds of the better of one and several clients."""
        return median(
            max(one.per_second, many.per_second) for one, many in zip(self.alone, self.together, strict=True)
        )

    @property
    def cpu_ms(self) -> float:
        """Processor time of a request under load, in milliseconds: the median over the rounds."""
        return median(one.cpu_ms for one in self.together)


@contextmanager
def stand_in(model_path: Path, folder: Path = PROJECT_ROOT) -> Iterator[str]:
    """``host:port`` of the tests' stand-in for TensorFlow Serving, which answers by TensorFlow on all cores;
    that of the tree in ``folder``.

    Raises ``RuntimeError`` where it is not ready in two minutes.
    """
    port = free_port()
    command = [sys.executable, "-m", "tests.fakes.tf_serving_stand_in", "--port", str(port)]
    command += ["--model-dir", str(model_path.parent), "--versions", model_path.name, "--warm-up"]
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        give_up = time.monotonic() + START_TIMEOUT_S
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError("the stand-in for TensorFlow Serving did not become ready")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        process.kill()  # it ignores SIGTERM, as the real one does
        process.wait(timeout=30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def baseline(name: str, kind: str, model_path: Path, seconds: float) -> Iterator[Peer]:
    """A server of :mod:`loadtests.peers`.

    Raises ``RuntimeError`` where it is not ready in two minutes.
    """
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "loadtests.peers",
        kind,
        "--port",
        str(port),
        "--model-path",
        str(model_path),
    ]
    process = subprocess.Popen(command, cwd=PROJECT_ROOT, stderr=subprocess.DEVNULL)
    try:
        url, give_up = f"http://127.0.0.1:{port}", time.monotonic() + START_TIMEOUT_S
        while not is_ready(url):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"the server {name} did not become ready")
            time.sleep(0.2)
        yield Peer(name, url, process.pid, seconds=seconds)
    finally:
        process.terminate()
        process.wait(timeout=30)


async def measure(
    peers: Sequence[Peer], files: Sequence[ImageFile], rounds: int, progress: Console
) -> dict[str, Measured]:
    """Ask every peer in turn, round after round.

    Raises ``RuntimeError`` where one answers nothing at all.
    """
    measured = {peer.name: Measured() for peer in peers}
    for number in range(rounds):
        for peer in peers:
            progress.print(f"round {number + 1} of {rounds}: {peer.name}", highlight=False)
            async with Load(peer.url, peer.path, files) as load:
                if number == 0:
                    await load.at_once(2, 1.0)  # the first requests compile and connect
                measured[peer.name].alone.append(await stretch(load, peer, CLIENTS[0]))
                measured[peer.name].together.append(await stretch(load, peer, CLIENTS[1]))
    return measured


async def stretch(load: Load, peer: Peer, clients: int) -> Stretch:
    """One closed loop. The rate is clients over the mean time of an answer (Little 1961), which a few slow
    answers measure better than counting them in a window does."""
    cpu = cpu_seconds(peer.pid)
    outcomes = await load.at_once(clients, peer.seconds)
    cpu = cpu_seconds(peer.pid) - cpu
    found = figures(outcomes, peer.seconds, DEADLINE_S)
    answered = sum(one.status == HTTPStatus.OK for one in outcomes)
    if not answered:
        raise RuntimeError(f"{peer.name} answered none of {len(outcomes)} requests ({outcomes[0].status})")
    waited_s = sum(one.took_s for one in outcomes)  # failures cost their time and are no answers
    return Stretch(
        clients * answered / waited_s,
        found.p50_ms,
        found.p95_ms,
        1000 * cpu / answered,
        len(outcomes) - answered,
    )


@dataclass(frozen=True, slots=True)
class Outside:
    """What a request costs beside the network, on one core, in ms: a caller's wait, and processor time."""

    p50_ms: float
    cpu_ms: float


def outside_the_model(files: Sequence[ImageFile], requests: int = 100) -> dict[str, Outside]:
    """By test-time augmentation, with a model server that answers at once; one request after another.

    All that a caller waits for counts: upload, HTTP, decoding, preprocessing, heatmap, report, JSON.
    """
    core = max(os.sched_getaffinity(0))
    found = {}
    with running_service(("-m", "loadtests.canned_service", "--core", str(core))) as service:
        for tta in ("light", "adaptive"):
            outcomes, cpu = asyncio.run(_in_turn(service, f"/predict?tta={tta}", files, requests))
            found[tta] = Outside(median(one.took_s for one in outcomes) * 1000, 1000 * cpu / len(outcomes))
    return found


async def _in_turn(
    service: RunningService, path: str, files: Sequence[ImageFile], requests: int
) -> tuple[list[Outcome], float]:
    async with Load(service.url, path, files) as load:
        for _ in range(5):
            await load.send()
        cpu = cpu_seconds(service.process.pid)
        outcomes = [await load.send() for _ in range(requests)]
        return outcomes, cpu_seconds(service.process.pid) - cpu


def figures_table(peers: Sequence[Peer], measured: dict[str, Measured]) -> list[tuple[str, ...]]:
    """A row a peer, in words: medians over the rounds."""
    base = measured[REFERENCE].per_second
    rows: list[tuple[str, ...]] = []
    for peer in peers:
        found = measured[peer.name]
        rows.append(
            (
                peer.name,
                f"{found.per_second:.2f}",
                f"{found.per_second / base:.1f}x",
                f"{found.cpu_ms:.0f}",
                f"{median(one.p50_ms for one in found.alone):.0f}",
                f"{median(one.p95_ms for one in found.alone):.0f}",
                f"{median(one.p95_ms for one in found.together):.0f}",
                f"{resident_mb(peer.pid):.0f}",
                str(sum(one.failed for one in (*found.alone, *found.together))),
            )
        )
    return rows


HEADER: Final = (
    "Server", "Requests/s", "Against reference-style", "Processor ms a request",
    "p50 ms, alone", "p95 ms, alone",
    f"p95 ms, {CLIENTS[1]} clients", "Resident MB", "Failed",
)  # fmt: skip


def verdicts_of(
    measured: dict[str, Measured], resident: dict[str, float], outside: dict[str, Outside], ready_s: float
) -> list[Verdict]:
    """Every target beside what was measured."""

    def at_least(what: str, target: float, value: float) -> Verdict:
        return Verdict(f"{what}: at least {target:g}x", f"{value:.1f}x", value >= target)

    def at_most(what: str, target: float, unit: str, value: float) -> Verdict:
        return Verdict(f"{what}: at most {target:g} {unit}", f"{value:.1f} {unit}", value <= target)

    return [
        *(
            at_least(f"{ours} against {peer}", target, measured[ours].per_second / measured[peer].per_second)
            for peer, targets in TARGETS.items()
            for ours, target in zip((LIGHT, ADAPTIVE), targets, strict=True)
        ),
        *(
            Verdict(
                f"outside the model, one core, p50, {tta}: at most {OUTSIDE_TARGET_MS:g} ms",
                f"{value.p50_ms:.1f} ms ({value.cpu_ms:.1f} ms of processor time)",
                value.p50_ms <= OUTSIDE_TARGET_MS,
            )
            for tta, value in outside.items()
        ),
        at_most("start to ready", READY_TARGET_S, "s", ready_s),
        at_most("resident memory, embedded", EMBEDDED_TARGET_MB, "MB", resident[LIGHT]),
        at_most("resident memory, gRPC client", CLIENT_TARGET_MB, "MB", resident[GRPC]),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and judge; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--per-view", action="store_true", help="also the reference with a predict a view")
    parser.add_argument("--images", type=Path, help="folder of images instead of painted cells")
    parser.add_argument("--model-path", type=Path, default=Path("model_repository/wbc/9"))
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    console = Console()
    files = painted_cells() if options.images is None else files_of(options.images, 100)
    hosts = [host_in_words()]
    with ExitStack() as stack:
        peers = [
            stack.enter_context(baseline(name, kind, options.model_path, seconds))
            for name, kind, seconds in (
                (REFERENCE, "reference", 10.0),
                (f"{REFERENCE}, a predict for each view", "reference-per-view", 10.0),
                (REFERENCE_NETWORK, "reference-network", 30.0),
                (PLAIN, "plain", 4.0),
            )
            if options.per_view or kind != "reference-per-view"
        ]
        ours = stack.enter_context(running_service(environment=PATIENT))
        for name, tta in ((LIGHT, "light"), (ADAPTIVE, "adaptive")):
            peers.append(Peer(name, ours.url, ours.process.pid, f"/predict?tta={tta}"))
        target = stack.enter_context(stand_in(options.model_path))
        client = stack.enter_context(
            running_service(environment={**PATIENT, "WBC_TF_SERVING__TARGET": target})
        )
        peers.append(Peer(GRPC, client.url, client.process.pid, "/predict?tta=light"))
        measured = asyncio.run(measure(peers, files, options.rounds, Console(stderr=True)))
        rows = figures_table(peers, measured)
        resident = {peer.name: resident_mb(peer.pid) for peer in peers}
    hosts.append(host_in_words())
    outside = outside_the_model(files)
    verdicts = verdicts_of(measured, resident, outside, ours.ready_s)

    about = (
        f"{options.rounds} rounds; {hosts[0]} before, {hosts[1]} after the comparison (it makes load itself)"
    )
    table = Table(*HEADER, title=about, caption=DISCLAIMER)
    for row in rows:
        table.add_row(*row)
    console.print(table)
    console.print(verdict_table(verdicts))
    options.output_dir.mkdir(parents=True, exist_ok=True)
    (options.output_dir / "peers.md").write_text(_markdown(about, rows, verdicts), encoding="utf-8")
    console.print(f"written: {options.output_dir / 'peers.md'}", highlight=False)
    return 0 if all(one.met for one in verdicts) else 1


def _markdown(about: str, rows: Sequence[tuple[str, ...]], verdicts: Sequence[Verdict]) -> str:
    lines = [
        "# Side by side",
        "",
        f"{DISCLAIMER} {about}. The reference-style servers run the shipped network's twin with random "
        "weights (a SavedModel has no Keras layers to build a Grad-CAM model from), or DenseNet121 with "
        "attention. Over gRPC, the "
        "stand-in for TensorFlow Serving runs the model by TensorFlow on the same cores; processor time and "
        "memory of that row are the orchestrator's alone.",
        "",
        f"| {' | '.join(HEADER)} |",
        f"|{' --- |' * len(HEADER)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
        "| Target | Measured | |",
        "| --- | --- | --- |",
        *(f"| {one.target} | {one.measured} | {'met' if one.met else 'missed'} |" for one in verdicts),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
