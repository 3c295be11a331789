"""How a service bears more than it can do: throughput, times and what it sends away, up to 3x the peak.

    python -m loadtests.saturation [--url http://localhost:8000] [--path "/predict?tta=adaptive"]

First a closed loop of growing concurrency, whose highest goodput is the peak; then an open loop at shares of
that peak, in which requests come whether earlier ones are answered or not, as callers do who know nothing of
each other. Goodput is answers within the deadline. At three times the peak it must be at least 90 % of it.
A service that is started for this leaves one core to the questions. Writes ``saturation.csv`` and
``saturation.png`` under ``runs/load/``. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import asyncio
import csv
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from loadtests.client import Figures, Load, figures
from loadtests.host import host_in_words
from loadtests.images import ImageFile, files_of, painted_cells
from loadtests.load import service
from orchestrator.domain import DISCLAIMER
from orchestrator.settings import Settings

CLIENTS: Final = (1, 2, 4, 8, 16, 32, 64)
SHARES_OF_PEAK: Final = (0.5, 1.0, 1.5, 2.0, 3.0)
MOST_OVER_PEAK: Final = 1.2
LEAST_SHARE: Final = 0.9
"""Of the peak, that goodput keeps at the highest of :data:`SHARES_OF_PEAK`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One stretch: ``closed`` with so many clients, or ``open`` at so many times the peak."""

    loop: str
    level: float
    figures: Figures


async def measure(
    load: Load, seconds: float, deadline_s: float, clients: Sequence[int], shares: Sequence[float]
) -> list[Step]:
    """Both loops, one step after another; each is told on stderr when it is done."""
    steps: list[Step] = []
    progress = Console(stderr=True)

    def done(step: Step) -> None:
        steps.append(step)
        progress.print(" ".join(_words(step)), highlight=False)

    await load.at_once(4, min(seconds, 3))  # warms up: connections, caches
    for level in clients:
        done(Step("closed", level, figures(await load.at_once(level, seconds), seconds, deadline_s)))
    peak = max(step.figures.goodput for step in steps)
    for share in shares:
        outcomes = await load.at_rate(max(share * peak, 1.0), seconds)
        done(Step("open", share, figures(outcomes, seconds, deadline_s)))
    return steps


async def _measured(url: str, files: Sequence[ImageFile], options: argparse.Namespace) -> list[Step]:
    async with Load(url, options.path, files) as load:
        return await measure(load, options.seconds, options.deadline_s, options.clients, options.shares)


def kept_share(steps: Sequence[Step]) -> float:
    """Goodput at the highest overload over the peak of all steps."""
    peak = max(step.figures.goodput for step in steps)
    last = max((step for step in steps if step.loop == "open"), key=lambda step: step.level)
    return last.figures.goodput / peak if peak > 0 else 0.0


def peak_was_found(steps: Sequence[Step]) -> bool:
    """Whether the closed loop found the peak. If an open one surpassed it clearly, the machine had become
    faster meanwhile, and what counts as three times the peak was none."""
    closed, opened = (
        max((one.figures.goodput for one in steps if one.loop == loop), default=0.0)
        for loop in ("closed", "open")
    )
    return closed > 0 and opened <= MOST_OVER_PEAK * closed


def table_of(steps: Sequence[Step], title: str) -> Table:
    """The steps for the terminal."""
    table = Table(
        "loop", "level", "offered/s", "goodput/s", "p50 ms", "p95 ms", "p99 ms", "sent away", "failed",
        title=title, caption=DISCLAIMER,
    )  # fmt: skip
    for step in steps:
        table.add_row(*_words(step))
    return table


def _words(step: Step) -> tuple[str, ...]:
    found = step.figures
    return (
        step.loop,
        f"{step.level:g} clients" if step.loop == "closed" else f"{step.level:g}x peak",
        f"{found.offered:.1f}",
        f"{found.goodput:.1f}",
        *(f"{value:.0f}" for value in (found.p50_ms, found.p95_ms, found.p99_ms)),
        f"{found.shed_share:.1%}",
        f"{found.failed_share:.1%}",
    )


def write_csv(path: Path, steps: Sequence[Step]) -> None:
    """A row a step."""
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = [{"loop": one.loop, "level": one.level, **asdict(one.figures)} for one in steps]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def plot(path: Path, steps: Sequence[Step], title: str) -> None:
    """Throughput and times against concurrency; goodput and share sent away against the offered load."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    closed = [step for step in steps if step.loop == "closed"]
    opened = [step for step in steps if step.loop == "open"]
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    levels = [step.level for step in closed]
    left.plot(levels, [step.figures.goodput for step in closed], "o-", color="black", label="goodput")
    left.set(
        xscale="log", xlabel="clients at once", ylabel="answers within the deadline, 1/s", ylim=(0, None)
    )
    left.set_xticks(levels, [f"{level:g}" for level in levels])
    times = left.twinx()
    for name, style in (("p50_ms", ":"), ("p95_ms", "--"), ("p99_ms", "-.")):
        values = [getattr(step.figures, name) for step in closed]
        times.plot(levels, values, style, color="tab:blue", label=name.removesuffix("_ms"))
    times.set(ylabel="time of an answer, ms", ylim=(0, None))
    times.legend(loc="upper left")
    offered = [step.level for step in opened]
    right.plot(offered, [step.figures.goodput for step in opened], "o-", color="black")
    right.axhline(max(step.figures.goodput for step in steps) * LEAST_SHARE, color="grey", linestyle=":")
    right.set(
        xlabel="offered load, times the peak", ylabel="answers within the deadline, 1/s", ylim=(0, None)
    )
    shed = right.twinx()
    shed.bar(offered, [step.figures.shed_share for step in opened], width=0.15, alpha=0.3, color="tab:red")
    shed.set(ylabel="share sent away (429, 503)", ylim=(0, 1))
    figure.suptitle(f"{title}\n{DISCLAIMER}", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write and judge; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", help="a running service; the one at port 8000, or one started, where absent")
    parser.add_argument("--path", default="/predict")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of each step; more than an answer may take"
    )
    parser.add_argument(
        "--deadline-s", type=float, default=Settings().deadline.default_s, help="what counts as good"
    )
    parser.add_argument("--clients", type=int, nargs="+", default=CLIENTS)
    parser.add_argument(
        "--shares", type=float, nargs="+", default=SHARES_OF_PEAK, help="of the peak, in the open loop"
    )
    parser.add_argument("--images", type=Path, help="folder of images instead of painted cells")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    files = painted_cells() if options.images is None else files_of(options.images, 100)
    with service(options.url, own_core=True) as url:
        before = host_in_words()
        steps = asyncio.run(_measured(url, files, options))
    title = f"POST {options.path}, deadline {options.deadline_s:g} s; {before} at the start"
    options.output_dir.mkdir(parents=True, exist_ok=True)
    write_csv(options.output_dir / "saturation.csv", steps)
    plot(options.output_dir / "saturation.png", steps, title)
    console = Console()
    console.print(table_of(steps, title))
    kept = kept_share(steps)
    met = kept >= LEAST_SHARE and peak_was_found(steps)
    verdict = "met" if met else "MISSED" if peak_was_found(steps) else "INCONCLUSIVE, the peak was not found"
    console.print(
        f"goodput at {max(options.shares):g}x overload: {kept:.0%} of the peak, at least {LEAST_SHARE:.0%}: "
        f"{verdict}; written: {options.output_dir}",
        highlight=False,
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
