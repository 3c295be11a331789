"""How the cost of a request grows, with the law that fits it: cores, clients, pixels and views.

    python -m loadtests.growth [--seconds 8] [--images data/wbc/TestA]

Requests a second against the cores that the service has (1, 2, ... as many as there are) and against
clients at once (1 to 64), each fitted by the universal scalability law X(n) = a n / (1 + s (n-1) + k n
(n-1)) (Gunther, 1993; s is what is done one after the other, k what waits for the others); processor time
against the pixels of an image (0.1 to 25 million) and against views, each fitted by a line. The questions
come from this machine, too, and take some of it. Writes ``growth.csv`` and ``growth.png`` under
``runs/load/``. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import asyncio
import csv
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cv2
import httpx2
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.optimize import OptimizeWarning, curve_fit

from loadtests.client import Load
from loadtests.compare_peers import PATIENT, Peer, stretch
from loadtests.host import host_in_words
from loadtests.images import ImageFile, files_of, painted_cells
from orchestrator.domain import DISCLAIMER
from tests.running_service import running_service

CLIENTS: Final = (1, 2, 4, 8, 16, 32, 64)
MEGAPIXELS: Final = (0.1, 0.5, 2.0, 6.0, 12.0, 25.0)
TTA: Final = ("none", "adaptive", "light")
BUSY_CLIENTS: Final = 8
BACKGROUND: Final = 235


@dataclass(frozen=True, slots=True)
class Growth:
    """What was measured (``y``) against what grew (``x``), and the law that fits, in words."""

    what: str
    x_name: str
    y_name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    law: Callable[[np.ndarray], np.ndarray] | None
    in_words: str


def scalability(n: np.ndarray, a: float, s: float, k: float) -> np.ndarray:
    """Answers a second by n at once (Gunther, The Practical Performance Analyst, 1993)."""
    return np.asarray(a * n / (1 + s * (n - 1) + k * n * (n - 1)))


def fitted_scalability(what: str, x_name: str, x: Sequence[float], y: Sequence[float]) -> Growth:
    """The law has three numbers: under four points it is not fitted."""
    law, words = None, "too few points for a law"
    if len(x) >= 4:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", OptimizeWarning)
            found, _ = curve_fit(
                scalability, np.array(x), np.array(y), p0=(y[0], 0.1, 1e-4), bounds=(0, (np.inf, 1, 1))
            )
        a, s, k = (float(value) for value in found)
        law, words = lambda n: scalability(n, a, s, k), f"{a:.3g} n / (1 + {s:.2g} (n-1) + {k:.2g} n (n-1))"
    return Growth(what, x_name, "requests/s", tuple(x), tuple(y), law, words)


def fitted_line(what: str, x_name: str, x: Sequence[float], y: Sequence[float]) -> Growth:
    """Least squares of the relative error, so that the small ones count as much as the large ones."""
    weights = 1 / np.array(y)
    slope, offset = (float(value) for value in np.polyfit(x, y, 1, w=weights))
    return Growth(
        what, x_name, "processor ms a request", tuple(x), tuple(y),
        lambda n: offset + slope * n, f"{offset:.3g} + {slope:.3g} x",
    )  # fmt: skip


@contextmanager
def on_cores(number: int) -> Iterator[None]:
    """What is started within has so many cores."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(cores)[:number]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)


def framed(cell: ImageFile, megapixels: float) -> ImageFile:
    """The cell in the middle of an empty field of so many pixels; as it is where it has more."""
    rgb = np.asarray(cv2.imdecode(np.frombuffer(cell.data, np.uint8), cv2.IMREAD_COLOR), np.uint8)
    side = max(round((megapixels * 1e6) ** 0.5), *rgb.shape[:2])
    field = np.full((side, side, 3), BACKGROUND, np.uint8)
    top, left = ((side - length) // 2 for length in rgb.shape[:2])
    field[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    data = cv2.imencode(".jpg", field, [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return ImageFile(f"{megapixels:g}.jpg", data, "image/jpeg")


async def _stretch(peer: Peer, files: Sequence[ImageFile], clients: int) -> Any:
    async with Load(peer.url, peer.path, files) as load:
        await load.at_once(1, 1.0)
        return await stretch(load, peer, clients)


def measured(files: Sequence[ImageFile], seconds: float, progress: Console) -> list[Growth]:
    """All four, one after the other; each point is told on stderr."""

    def point(service: Any, sent: Sequence[ImageFile], clients: int, tta: str = "adaptive") -> Any:
        peer = Peer("ours", service.url, service.process.pid, f"/predict?tta={tta}", seconds)
        found = asyncio.run(_stretch(peer, sent, clients))
        progress.print(
            f"{tta}, {clients} clients: {found.per_second:.2f}/s, {found.cpu_ms:.0f} ms", highlight=False
        )
        return found

    available = len(os.sched_getaffinity(0))
    cores = sorted({n for n in (1, 2, 4, 8, 16, 32, 64, available) if n <= available})
    rates = []
    for number in cores:
        progress.print(f"{number} cores", highlight=False)
        with ExitStack() as stack:
            with on_cores(number):
                service = stack.enter_context(running_service(environment=PATIENT))
            rates.append(point(service, files, BUSY_CLIENTS).per_second)
    with running_service(environment=PATIENT) as service:
        by_clients = [point(service, files, clients).per_second for clients in CLIENTS]
        by_views = [point(service, files, BUSY_CLIENTS, tta).cpu_ms for tta in TTA]
        views = [_mean_views(service.url, files, tta) for tta in TTA]
        large = [[framed(files[0], size)] for size in MEGAPIXELS]
        by_pixels = [point(service, sent, 1).cpu_ms for sent in large]
    return [
        fitted_scalability("cores", "cores", [float(n) for n in cores], rates),
        fitted_scalability("clients", "clients at once", [float(n) for n in CLIENTS], by_clients),
        fitted_line("pixels", "million pixels", MEGAPIXELS, by_pixels),
        fitted_line("views", "views of an image", views, by_views),
    ]


def _mean_views(url: str, files: Sequence[ImageFile], tta: str) -> float:
    with httpx2.Client(base_url=url, timeout=60) as client:
        answers = [
            client.post(
                f"/v1/analyses?tta={tta}&heatmap=false&report=none",
                files={"file": (one.name, one.data, one.media_type)},
            ).json()
            for one in files
        ]
    return float(np.mean([answer["views"] for answer in answers]))


def plot(path: Path, found: Sequence[Growth], about: str) -> None:
    """A panel each: points, the law, and its words."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(10, 7), layout="constrained")
    for panel, one in zip(panels.flat, found, strict=True):
        panel.plot(one.x, one.y, "o", color="black")
        if one.law is not None:
            along = np.linspace(min(one.x), max(one.x), 200)
            panel.plot(along, one.law(along), color="tab:blue", label=one.in_words)
            panel.legend(fontsize=8)
        panel.set(xlabel=one.x_name, ylabel=one.y_name, ylim=(0, None))
    figure.suptitle(f"{about}\n{DISCLAIMER}", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8, help="of each point")
    parser.add_argument("--images", type=Path, help="folder of images instead of painted cells")
    parser.add_argument("--output-dir", type=Path, default=Path("runs/load"))
    options = parser.parse_args(arguments)
    files = painted_cells() if options.images is None else files_of(options.images, 100)
    before = host_in_words()
    found = measured(files, options.seconds, Console(stderr=True))
    options.output_dir.mkdir(parents=True, exist_ok=True)
    with (options.output_dir / "growth.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("grows", "by", "x", "measured", "y"))
        for one in found:
            writer.writerows(
                (one.what, one.x_name, x, one.y_name, y) for x, y in zip(one.x, one.y, strict=True)
            )
    plot(options.output_dir / "growth.png", found, f"{before} at the start")
    table = Table("grows", "what", "measured", "law", title=before, caption=DISCLAIMER)
    for one in found:
        points = ", ".join(f"{x:g}: {y:.3g}" for x, y in zip(one.x, one.y, strict=True))
        table.add_row(one.what, one.y_name, points, one.in_words)
    Console().print(table)
    Console().print(f"written: {options.output_dir}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
