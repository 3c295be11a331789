"""Questions to a model server behind a network that fails in every way that networks do.

    python -m loadtests.fault_injection --requests 20000

The client of TensorFlow Serving asks, through a proxy that delays, drips, swallows and cuts, a server that is
killed and started again and changes its version meanwhile. Each answer is a checksum of the pixels that were
sent and of the version that answered, so that a wrong, mixed up or stale one is found. The run fails where an
answer is wrong, a question is lost, or an error is not one of ours or comes later than 0.5 s after the
deadline. Neither a model nor TensorFlow is needed.
"""

import argparse
import asyncio
import itertools
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from orchestrator.common.deadline import deadline
from orchestrator.domain import DISCLAIMER, CellViews, ModelIdentity, Prediction, Question, ViewBatch
from orchestrator.errors import ModelServerTimeout, ModelServerUnavailable, Overloaded, WbcError
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    FEATURES,
    IMAGE_SIZE,
    LOGITS,
    MAIN_OUT,
    MODEL_NAME,
    NOT_WBC,
)
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.failover import FailoverModelServer
from orchestrator.model_server.remote import RemoteOptions
from orchestrator.model_server.tf_serving import TfServingModelServer
from tests.fakes.fault_proxy import FaultProxy
from tests.fakes.model_server import FakeModelServer
from tests.fakes.pixel_serving import PixelServingProcess, answer, expected_logits
from tests.running_service import free_port

GRACE_S: Final = 0.5
"""After its deadline, until when an error may come."""

PAUSE_S: Final = 0.2
"""Of a caller after an error, who would otherwise get through all questions while the server is away."""

CLEAR_ERRORS: Final = (ModelServerUnavailable, ModelServerTimeout, Overloaded)

OWN_VERSION: Final = 1000
"""Of the model server in this process that takes over, where there is one."""


@dataclass
class Outcome:
    """What became of all questions; those in the lists are what must not be."""

    asked: int = 0
    answered: Counter[int] = field(default_factory=Counter)
    failed: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    unclear: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    longest_s: float = 0.0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        return self.asked - self.answered.total() - self.failed.total() - len(self.wrong) - len(self.unclear)

    @property
    def is_good(self) -> bool:
        return not (self.wrong or self.unclear or self.late or self.lost)

    def __str__(self) -> str:
        versions = ", ".join(f"version {v}: {n}" for v, n in sorted(self.answered.items()))
        errors = ", ".join(f"{name}: {n}" for name, n in sorted(self.failed.items())) or "none"
        faults = ", ".join(f"{name} {n}x" for name, n in sorted(self.faults.items()))
        return (
            f"{self.asked} questions in {self.seconds:.1f} s ({self.asked / self.seconds:.0f}/s)\n"
            f"  answered rightly   {self.answered.total()} ({versions})\n"
            f"  answered wrongly   {len(self.wrong)}\n"
            f"  lost               {self.lost}\n"
            f"  clear errors       {self.failed.total()} ({errors})\n"
            f"  other errors       {len(self.unclear)}\n"
            f"  late               {len(self.late)} (the longest question took {self.longest_s:.2f} s)\n"
            f"  faults             {faults}\n"
            f"{DISCLAIMER}"
        )


class PixelModelServer(FakeModelServer):
    """Gives the answers of the server, as another version, from this process."""

    async def classify(self, question: Question) -> Prediction:
        return await self._answer(question, explain=False)

    async def explain(self, question: Question) -> Prediction:
        return await self._answer(question, explain=True)

    async def _answer(self, question: Question, *, explain: bool) -> Prediction:
        self._require_open()
        await asyncio.sleep(0.01)  # about what a small network takes
        outputs = answer(question, self._identity.version)
        return Prediction(
            outputs[MAIN_OUT.name],
            outputs[AUX_OUT.name][:, 0],
            outputs[LOGITS.name],
            outputs[NOT_WBC.name][:, 0],
            outputs[FEATURES.name],
            outputs[CAMS.name] if explain else None,
            self._identity,
        )


class Questions:
    """Questions of which no two are alike."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self._images = random.integers(0, 256, (8, IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
        self._numbers = itertools.count()

    def next(self) -> tuple[int, Question]:
        """The number of a question and its one to three rows, each of which bears both numbers; every fourth
        is about as many views of its first row."""
        number = next(self._numbers)
        rows = 1 + number % 3
        images = self._images[(number + np.arange(rows)) % len(self._images)]
        images[:, 0, :8, 0] = np.frombuffer(number.to_bytes(8, "little"), np.uint8)
        images[:, 0, 8, 0] = np.arange(rows)
        if number % 4 == 0:
            return number, CellViews(images[0], tuple(range(rows)))
        return number, ViewBatch(images, np.ones(rows, np.float32))


async def ask(
    server: ModelServer, number: int, question: Question, deadline_s: float, outcome: Outcome
) -> None:
    """Ask one question, check its answer and note what became of it."""
    outcome.asked += 1
    explain = bool(number % 2)
    begun_s = time.monotonic()
    failed = True
    try:
        with deadline(deadline_s):
            got = await (server.explain if explain else server.classify)(question)
        expected = expected_logits(question, got.model.version)
        if not np.array_equal(got.logits, expected) or (got.cams is not None) != explain:
            outcome.wrong.append(
                f"question {number}: expected {expected.tolist()}, got {got.logits.tolist()}"
            )
        else:
            outcome.answered[got.model.version] += 1
        failed = False
    except CLEAR_ERRORS as error:
        outcome.failed[type(error).__name__] += 1
    except Exception as error:
        kind = "ours, but no clear one" if isinstance(error, WbcError) else "not ours"
        outcome.unclear.append(f"question {number}: {kind}: {error!r}")
    took_s = time.monotonic() - begun_s
    outcome.longest_s = max(outcome.longest_s, took_s)
    if took_s > deadline_s + GRACE_S:
        outcome.late.append(f"question {number} took {took_s:.2f} s, of {deadline_s:g} s")
    if failed:
        await asyncio.sleep(PAUSE_S)


Fault = Callable[[FaultProxy, PixelServingProcess, float], Awaitable[None]]


async def latency(proxy: FaultProxy, _: PixelServingProcess, lasts_s: float) -> None:
    """Each piece of data takes 50 ms longer, each way."""
    proxy.network.latency_s = 0.05
    await asyncio.sleep(lasts_s)
    proxy.network.latency_s = 0.0


async def slow_drip(proxy: FaultProxy, _: PixelServingProcess, lasts_s: float) -> None:
    """Data comes at 200 kB a second, a row in 0.75 s."""
    proxy.network.bytes_per_s = 200_000
    await asyncio.sleep(lasts_s)
    proxy.network.bytes_per_s = None


async def black_hole(proxy: FaultProxy, _: PixelServingProcess, lasts_s: float) -> None:
    """Nothing goes through, and nobody is told."""
    proxy.network.black_hole = True
    await asyncio.sleep(lasts_s)
    proxy.network.black_hole = False


async def resets(proxy: FaultProxy, _: PixelServingProcess, lasts_s: float) -> None:
    """Every connection is cut, three times."""
    for _number in range(3):
        proxy.reset()
        await asyncio.sleep(lasts_s / 3)


async def refusal(proxy: FaultProxy, _: PixelServingProcess, lasts_s: float) -> None:
    """Every connection is cut, and a new one at once."""
    proxy.network.refuses = True
    proxy.reset()
    await asyncio.sleep(lasts_s)
    proxy.network.refuses = False


async def slow_server(_: FaultProxy, server: PixelServingProcess, lasts_s: float) -> None:
    """Each answer takes 0.3 s longer."""
    server.tell("delay 0.3")
    await asyncio.sleep(lasts_s)
    server.tell("delay 0")


async def version_swap(_: FaultProxy, server: PixelServingProcess, lasts_s: float) -> None:
    """Another version is in service, in the midst of the load."""
    server.tell(f"version {server.version + 1}")
    await asyncio.sleep(lasts_s)


async def restart(_: FaultProxy, server: PixelServingProcess, _lasts_s: float) -> None:
    """The server is killed in the midst of its work, and started again."""
    server.kill()
    await asyncio.to_thread(server.start)


FAULTS: Final[tuple[Fault, ...]] = (
    latency,
    version_swap,
    resets,
    slow_server,
    black_hole,
    version_swap,
    slow_drip,
    restart,
    refusal,
)


@asynccontextmanager
async def behind_a_bad_network(
    *, failover: bool, deadline_s: float
) -> AsyncIterator[tuple[ModelServer, FaultProxy, PixelServingProcess]]:
    """The client, what it asks through, and whom."""
    process = PixelServingProcess(free_port())
    await asyncio.to_thread(process.start)
    try:
        async with FaultProxy(process.port) as proxy:
            options = RemoteOptions(f"127.0.0.1:{proxy.port}", timeout_s=deadline_s, breaker_open_s=0.3)
            server: ModelServer = TfServingModelServer(options)
            if failover:
                own = PixelModelServer(ModelIdentity(MODEL_NAME, OWN_VERSION, None))
                server = FailoverModelServer(server, own)
            await server.start()
            try:
                yield server, proxy, process
            finally:
                await server.close()
    finally:
        process.kill()


async def run(
    requests: int,
    *,
    concurrency: int = 16,
    deadline_s: float = 1.0,
    failover: bool = False,
    fault_s: float = 0.6,
    calm_s: float = 2.0,
) -> Outcome:
    """Ask ``requests`` questions at least, and as many as it takes to have had each fault once."""
    outcome, questions = Outcome(), Questions()
    async with behind_a_bad_network(failover=failover, deadline_s=deadline_s) as (server, proxy, process):
        every_fault_was = asyncio.Event()

        async def cause_faults() -> None:
            for fault in itertools.cycle(FAULTS):
                await asyncio.sleep(calm_s)
                if outcome.asked >= requests and every_fault_was.is_set():
                    return
                await fault(proxy, process, fault_s)
                outcome.faults[fault.__name__] += 1
                if len(outcome.faults) == len(set(FAULTS)):
                    every_fault_was.set()

        async def keep_asking() -> None:
            while outcome.asked < requests or not every_fault_was.is_set():
                await ask(server, *questions.next(), deadline_s, outcome)

        begun_s = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(cause_faults())
            for _ in range(concurrency):
                tasks.create_task(keep_asking())
        outcome.seconds = time.monotonic() - begun_s
    return outcome


def main() -> None:
    """Run as the command line says, print what became of the questions, and fail where that is not good."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--deadline-s", type=float, default=1.0)
    parser.add_argument("--calm-s", type=float, default=2.0, help="between two faults")
    parser.add_argument("--failover", action="store_true", help="a model server in this process takes over")
    chosen = parser.parse_args()
    outcome = asyncio.run(
        run(
            chosen.requests,
            concurrency=chosen.concurrency,
            deadline_s=chosen.deadline_s,
            failover=chosen.failover,
            calm_s=chosen.calm_s,
        )
    )
    print(outcome)
    for what in (*outcome.wrong[:5], *outcome.unclear[:5], *outcome.late[:5]):
        print(f"  {what}")
    if not outcome.is_good:
        sys.exit(1)


if __name__ == "__main__":
    main()
