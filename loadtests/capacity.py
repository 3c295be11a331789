"""How many analyses a second a cluster bears, and what is in the way first.

    python -m loadtests.capacity --gpu l4|a100|h100 --replicas N [--pods N] [--processes N] [--gbit N]
    python -m loadtests.capacity --table

An analysis is one image with eight views, its heatmap and its report. What an orchestrator bears and what
goes over the wire is measured; what a GPU bears is an estimate, as there was none: the longest of arithmetic,
memory traffic and launches of kernels in a pass, from the figures below. A batch counts
images. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import IMAGE_SIZE, MAX_BATCH_SIZE, NUM_VIEWS

GFLOP_A_VIEW: Final = 0.789
MEGABYTES_A_VIEW: Final = 64.0
"""Moved to and from memory where no operations are fused."""
WEIGHT_MEGABYTES: Final = 15.4
KERNELS: Final = 255
"""Of one pass: 205 operations of the optimised graph of ``views`` that are no constants, variables or shapes,
and 33 additions of a bias and 17 ReLU6 that are one with their convolution on a CPU alone."""
KERNEL_US: Final = 6.5
"""To launch one: 5 to 8."""

CPU_MS_A_VIEW: Final = 9.0
"""Of one core of TensorFlow Serving without a GPU: 8 rows took 71 ms, 32 took 254."""
SERVER_MEGABYTES: Final = 770.0
MEGABYTES_AN_IMAGE: Final = 60.0
"""What TensorFlow holds with the model, and while an image with eight views runs on CPUs: 860 MB with one,
1,230 with eight, 2,300 with 32."""

BYTES_A_REQUEST: Final = IMAGE_SIZE * IMAGE_SIZE * 3 + 4 * NUM_VIEWS + 60
"""The image once, since its views are made in the graph; over the wire 150,618 were measured."""

REQUESTS_A_CORE: Final = 1000 / 31
"""Of an orchestrator: 31 ms of a core each; docs/speed.md."""
REQUESTS_A_POD: Final = {0: 40.0, 2: 65.0, 3: 90.0}
"""However many cores it has, by WBC_IMAGES__PROCESSES: its threads wait for Python's lock."""


@dataclass(frozen=True)
class Gpu:
    """``tflops`` of float32 as TensorFlow uses it (TF32), ``gigabytes_s`` of its memory."""

    tflops: float
    gigabytes_s: float
    note: str = ""

    def batch_ms(self, images: int) -> float:
        """Of one pass: the kernels are launched while the others run, so the longest of the three counts."""
        views = images * NUM_VIEWS
        arithmetic = GFLOP_A_VIEW * views / self.tflops
        memory = (MEGABYTES_A_VIEW * views + WEIGHT_MEGABYTES) / self.gigabytes_s
        return max(arithmetic, memory, KERNELS * KERNEL_US / 1000)

    @property
    def requests_s(self) -> float:
        """Of one GPU whose batches are full."""
        return MAX_BATCH_SIZE / (self.batch_ms(MAX_BATCH_SIZE) / 1000)


# NVIDIA's data sheets, dense, half of the peak for arithmetic.
GPUS: Final = {
    "l4": Gpu(30.0, 300.0),
    "a100": Gpu(78.0, 1555.0),
    "h100": Gpu(247.0, 3350.0, "with code or a filled cache for 9.0"),
}


def cpu_batch_ms(images: int, cores: int) -> float:
    """Of one pass without a GPU."""
    return images * NUM_VIEWS * CPU_MS_A_VIEW / cores


def longest_wait_s(batch_ms: float, threads: int, enqueued: int) -> float:
    """Until a question that found room in the queue of TensorFlow Serving is answered: all batches that run
    and wait are full, it is of the last, and they are worked on in turn, by all cores or the one GPU."""
    return (threads + enqueued) * batch_ms / 1000


def server_megabytes(threads: int) -> float:
    """Of TensorFlow Serving without a GPU while all its threads have full batches."""
    return SERVER_MEGABYTES + threads * MAX_BATCH_SIZE * MEGABYTES_AN_IMAGE


@dataclass(frozen=True)
class Limit:
    """What ends at so many requests a second."""

    name: str
    requests_s: float


def limits(gpu: str, replicas: int, pods: int, processes: int = 0, gbit: float = 10.0) -> list[Limit]:
    """All limits, the one that comes first in front.

    Args:
        gpu: a name of :data:`GPUS`.
        replicas: GPUs, one a pod of TensorFlow Serving.
        pods: of the orchestrator.
        processes: for images in each of those; 0, 2 or 3.
        gbit: of the network of a node with a GPU.
    """
    found = [
        Limit(f"{replicas} x {gpu} (estimate)", replicas * GPUS[gpu].requests_s),
        Limit(f"{pods} orchestrators (measured, version 5)", pods * REQUESTS_A_POD[processes]),
        Limit(f"{gbit:g} Gbit/s to each GPU (measured)", replicas * gbit * 1e9 / 8 / BYTES_A_REQUEST),
    ]
    return sorted(found, key=lambda limit: limit.requests_s)


def pods_for(requests_s: float, processes: int = 0) -> int:
    """Orchestrators that bear so many."""
    return math.ceil(requests_s / REQUESTS_A_POD[processes])


def table() -> str:
    """The table of docs/speed.md."""
    lines = [
        f"| one GPU | a batch of 1 / 4 / {MAX_BATCH_SIZE} images, ms | requests/s | Gbit/s "
        "| orchestrator cores | pods | first limit of 2 GPUs, 20 pods |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, gpu in GPUS.items():
        rate = gpu.requests_s
        batches = " / ".join(f"{gpu.batch_ms(images):.1f}" for images in (1, 4, MAX_BATCH_SIZE))
        first = limits(name, 2, 20)[0]
        lines.append(
            f"| {name} | {batches} | {rate:.0f} | {rate * BYTES_A_REQUEST * 8 / 1e9:.2f} "
            f"| {rate / REQUESTS_A_CORE:.0f} | {pods_for(rate)} | {first.name}: {first.requests_s:.0f}/s |"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the limits, or the table."""
    parser = argparse.ArgumentParser(prog="python -m loadtests.capacity", description=__doc__)
    parser.add_argument("--gpu", choices=GPUS, default="l4")
    parser.add_argument("--replicas", type=int, default=2, help="GPUs, one a pod")
    parser.add_argument("--pods", type=int, help="orchestrators; as many as the GPUs feed where absent")
    parser.add_argument("--processes", type=int, choices=REQUESTS_A_POD, default=0, help="for images in each")
    parser.add_argument("--gbit", type=float, default=10.0, help="network of a GPU's node")
    parser.add_argument("--table", action="store_true", help="the table of docs/speed.md")
    chosen = parser.parse_args(arguments)
    if chosen.table:
        print(table())
        return
    fed = chosen.replicas * GPUS[chosen.gpu].requests_s
    pods = pods_for(fed, chosen.processes) if chosen.pods is None else chosen.pods
    for number, limit in enumerate(
        limits(chosen.gpu, chosen.replicas, pods, chosen.processes, chosen.gbit), 1
    ):
        print(f"{number}. {limit.name}: {limit.requests_s:.0f} requests/s")
    print(f"{fed:.0f} requests/s are {fed / REQUESTS_A_CORE:.0f} cores of orchestrators, in {pods} pods.")
    if note := GPUS[chosen.gpu].note:
        print(f"{chosen.gpu}: {note}.")
    print(DISCLAIMER)


if __name__ == "__main__":
    main()
