"""The work on waiting cells: each once, whatever happens meanwhile."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import REGISTRY

from orchestrator import errors
from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.bootstrap.services import build_services
from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import Prediction, Question
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.threads import ImageThreads
from orchestrator.observability.request_context import current_request_id, set_request_id
from orchestrator.profiles import load_profiles
from orchestrator.settings import Settings
from orchestrator.specimen import CellResult, Specimen, SpecimenOrder
from orchestrator.specimens.runner import MAX_BEGUN, SpecimenRunner
from orchestrator.store.base import Recorded
from orchestrator.views import rows_of
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.synthetic_cells import cell_file
from tests.waiting import LONGEST_S, becomes

ORDER = SpecimenOrder("S-1", tta="none")


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    """Small images, each of its own."""
    return [cell_file("Neutrophil", seed, 130) for seed in range(6)]


class CountingStore(MemoryStore):
    """Notes what it was told, and answers ``record_result`` late."""

    def __init__(self) -> None:
        super().__init__()
        self.told: Counter[str] = Counter()
        self.failures_left = 0

    async def record_result(
        self, differential_id: str, cell_id: str, result: CellResult, token: int | None = None
    ) -> Recorded:
        await asyncio.sleep(0.002)
        if self.failures_left:
            self.failures_left -= 1
            raise errors.StoreUnavailable("The database does not answer.")
        recorded = await super().record_result(differential_id, cell_id, result, token)
        self.told[cell_id] += 1
        return recorded


class ScriptedModelServer(FakeModelServer):
    """Fails by turns as the script says, then answers; notes how many questions were open at once."""

    def __init__(self, *failures: Exception) -> None:
        super().__init__()
        self.failures = list(failures)
        self.asked = self.open = self.most_open = 0
        self.request_ids: set[str] = set()
        self.deadlines: list[float | None] = []
        self.answer = asyncio.Event()
        self.answer.set()

    async def explain(self, question: Question) -> Prediction:
        self.asked += 1
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        self.request_ids.add(current_request_id())
        self.deadlines.append(remaining_s())
        try:
            await self.answer.wait()
            if self.failures:
                raise self.failures.pop(0)
            return await super().explain(question)
        finally:
            self.open -= 1


def services_with(model_server: FakeModelServer) -> Services:
    return build_services(Settings(), model_server=model_server)


@asynccontextmanager
async def running(
    store: MemoryStore,
    model_server: FakeModelServer,
    *,
    concurrency: int = 2,
    busy: Callable[[], bool] = lambda: False,
    leaving: Callable[[], bool] = lambda: False,
    images: ImageWorkers | None = None,
    isolated: ImageWorkers | None = None,
    lease_s: float = 20.0,
) -> AsyncIterator[SpecimenRunner]:
    services = services_with(model_server)
    runner = SpecimenRunner(
        store,
        services if images is None else replace(services, images=images),
        isolated=isolated,
        lease_s=lease_s,
        concurrency=concurrency,
        busy=busy,
        leaving=leaving,
        first_pause_s=0.01,
    )
    await model_server.start()
    await runner.start()
    try:
        yield runner
    finally:
        await runner.close(grace_s=0.2)
        await model_server.close()


async def ended(store: MemoryStore, specimen: Specimen, runner: SpecimenRunner) -> Specimen:
    """Raises ``TimeoutError`` where nothing changes for LONGEST_S, however long all of it takes."""
    async with asyncio.timeout(LONGEST_S) as patience:
        while (now := await store.get(specimen.differential_id)).state in ("waiting", "running"):
            if now != specimen:
                specimen = now
                patience.reschedule(asyncio.get_running_loop().time() + LONGEST_S)
            await runner.changed(specimen.differential_id, 0.05)
    return now


async def test_every_cell_is_analysed_once_and_recorded_at_once(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server, concurrency=3) as runner:
        specimen, _ = await store.create(ORDER, payloads * 4, "local")
        for _ in range(3):  # a second submission of what is under way changes nothing
            runner.submit(specimen.differential_id)
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * 24
    assert set(store.told.values()) == {1}
    assert model_server.asked == 24
    assert model_server.most_open <= 3
    assert all(cell.result.profile == "default" and cell.result.views == 1 for cell in now.cells)
    used = replace(load_profiles()["default"], tta=ORDER.tta)
    assert {cell.result.profile_sha256 for cell in now.cells} == {used.sha256}


async def test_what_an_earlier_process_left_is_gone_on_with(payloads):
    store = CountingStore()
    specimen, _ = await store.create(ORDER, payloads, "local")
    first = ScriptedModelServer()
    async with running(store, first, concurrency=1) as runner:
        while len(store.told) < 2:
            await runner.changed(specimen.differential_id, 0.05)
    # The end of the block breaks off what is under way, as a stop does.
    half = await store.get(specimen.differential_id)
    finished = {cell.cell_id: cell.result for cell in half.cells if cell.state == "analysed"}
    assert 2 <= len(finished) < len(payloads)
    second = ScriptedModelServer()
    async with running(store, second) as runner:
        now = await ended(store, specimen, runner)
    assert second.asked == len(payloads) - len(finished)
    assert {cell.cell_id for cell in now.cells if cell.state == "analysed"} == set(store.told)
    assert set(store.told.values()) == {1}
    for cell in now.cells:
        if cell.cell_id in finished:
            assert cell.result == finished[cell.cell_id]


class DeadlyModelServer(ScriptedModelServer):
    """Never comes back from an image whose mean is that of the deadly one, as a process does that ends."""

    def __init__(self, deadly: set[bytes]) -> None:
        super().__init__()
        self.deadly = deadly
        self.reached = asyncio.Event()

    async def explain(self, question: Question) -> Prediction:
        if rows_of(question).images[0].tobytes() in self.deadly:
            self.most_open = max(self.most_open, self.open + 1)
            self.reached.set()
            await asyncio.Event().wait()
        return await super().explain(question)


async def pixels_of(payload: bytes) -> bytes:
    """The pixels that the network sees of an image."""
    model_server = SeenModelServer()
    await model_server.start()
    await analyse(payload, services_with(model_server), AnalysisOptions(tta="none", report=False))
    return model_server.seen[0]


class SeenModelServer(FakeModelServer):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[bytes] = []

    async def explain(self, question: Question) -> Prediction:
        self.seen.append(rows_of(question).images[0].tobytes())
        return await super().explain(question)


class MortalStore(CountingStore):
    """Of a process that ends without a farewell: what it takes back is never told."""

    async def withdraw(self, cell_id: str, token: int) -> None:  # noqa: ARG002 (the port's signature)
        raise errors.StoreUnavailable("The process is gone.")


async def test_a_cell_that_ends_the_process_is_found_and_fails_and_all_others_are_finished(payloads):
    store = MortalStore()
    specimen, _ = await store.create(ORDER, payloads, "local")
    deadly = specimen.cells[2].cell_id
    pixels = {await pixels_of(payloads[2])}
    lives = 0
    while (now := await store.get(specimen.differential_id)).state in ("waiting", "running"):
        lives += 1
        assert lives <= MAX_BEGUN + 1
        store.end_leases()
        model_server = DeadlyModelServer(pixels)
        async with running(store, model_server) as runner:
            end = asyncio.create_task(ended(store, specimen, runner))
            death = asyncio.create_task(model_server.reached.wait())
            await asyncio.wait({end, death}, return_when=asyncio.FIRST_COMPLETED)
            end.cancel()
            death.cancel()
    assert lives == MAX_BEGUN + 1
    states = {cell.cell_id: cell.state for cell in now.cells}
    assert states.pop(deadly) == "failed"
    assert set(states.values()) == {"analysed"}
    assert "ended the service" in next(cell.failure for cell in now.cells if cell.cell_id == deadly)


class LosingWorkers(ImageThreads):
    """Lost so many times before each of their answers, as where somebody kills the processes."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times
        self.lost: Counter[bytes] = Counter()

    async def run(self, function, *args, **kwargs):
        payload = args[0]
        if isinstance(payload, bytes) and self.lost[payload] < self.times:
            self.lost[payload] += 1
            raise errors.ImageWorkersLost("The processes for images are lost.", 0.0)
        return await super().run(function, *args, **kwargs)


async def test_lost_workers_of_images_are_no_fault_of_the_cells(payloads):
    store, workers = CountingStore(), LosingWorkers(3)
    async with running(store, ScriptedModelServer(), images=workers) as runner:
        specimen, _ = await store.create(ORDER, payloads, "local")
        runner.submit(specimen.differential_id)
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * len(payloads)
    assert set(workers.lost.values()) == {3}


class DeadlyWorkers(ImageThreads):
    """Workers of an image that ends its process; what is in a process of its own says so."""

    async def run(self, function, *args, **kwargs):  # noqa: ARG002 (the port's signature)
        raise errors.UndecodableImage("The image cannot be processed: it ends the process that tries to.")


async def test_a_cell_that_ended_a_process_is_tried_where_it_can_end_no_other(payloads):
    store = CountingStore()
    specimen, _ = await store.create(ORDER, payloads, "local")
    cell = await store.claim(specimen.differential_id, 20)
    assert cell is not None
    store.end_leases()  # its holder was killed
    async with running(store, ScriptedModelServer(), isolated=DeadlyWorkers()) as runner:
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["failed"] + ["analysed"] * (len(payloads) - 1)


async def test_several_processes_share_a_specimen_and_ask_for_each_cell_once(payloads):
    store = CountingStore()
    servers = [ScriptedModelServer() for _ in range(5)]
    specimen, _ = await store.create(ORDER, payloads * 5, "local")
    async with AsyncExitStack() as stack:
        runners = [await stack.enter_async_context(running(store, server)) for server in servers]
        now = await ended(store, specimen, runners[0])
    assert [cell.state for cell in now.cells] == ["analysed"] * 30
    assert sum(server.asked for server in servers) == 30
    assert sum(server.asked > 0 for server in servers) > 1


async def test_what_a_killed_process_held_is_gone_on_with_when_its_lease_is_over(payloads):
    store = CountingStore()
    specimen, _ = await store.create(ORDER, payloads, "local")
    held = await store.claim(specimen.differential_id, 0.5)
    assert held is not None
    async with running(store, ScriptedModelServer(), lease_s=0.2) as runner:
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * len(payloads)
    assert not await store.record_failure(specimen.differential_id, held.cell_id, "late", held.token)


async def test_a_specimen_that_several_processes_finish_is_counted_as_analysed_once(payloads):
    store, before = CountingStore(), analysed_specimens()
    specimen, _ = await store.create(ORDER, payloads, "local")
    async with AsyncExitStack() as stack:
        servers = [ScriptedModelServer() for _ in range(3)]
        runners = [await stack.enter_async_context(running(store, server)) for server in servers]
        await ended(store, specimen, runners[0])
    assert analysed_specimens() == before + 1


def analysed_specimens() -> float:
    return REGISTRY.get_sample_value("wbc_specimens_total", {"event": "analysed"}) or 0.0


async def test_an_image_that_was_changed_in_the_store_is_a_failed_cell_and_never_analysed(payloads):
    store, server = CountingStore(), ScriptedModelServer()
    specimen, _ = await store.create(ORDER, payloads[:2], "local")
    store.change_image(specimen.cells[0].cell_id, payloads[2])
    async with running(store, server) as runner:
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["failed", "analysed"]
    assert now.cells[0].failure is not None
    assert "not the one that was sent" in now.cells[0].failure
    assert server.asked == 1


async def test_an_analysis_that_takes_longer_than_a_lease_keeps_its_cell(payloads):
    store, slow, other = CountingStore(), ScriptedModelServer(), ScriptedModelServer()
    slow.answer.clear()
    specimen, _ = await store.create(ORDER, payloads[:1], "local")
    async with running(store, slow, lease_s=0.2) as first, running(store, other, lease_s=0.2):
        await asyncio.sleep(1)
        slow.answer.set()
        await ended(store, specimen, first)
    assert (slow.asked, other.asked) == (1, 0)


async def test_who_lost_a_lease_breaks_the_analysis_off(payloads):
    store, slow = CountingStore(), ScriptedModelServer()
    slow.answer.clear()
    specimen, _ = await store.create(ORDER, payloads[:1], "local")
    async with running(store, slow, concurrency=1, lease_s=0.2):
        await becomes(lambda: slow.open == 1)
        store.end_leases()  # as after a long sleep of the whole process
        other = await store.claim(specimen.differential_id, 60)
        assert other is not None
        await becomes(lambda: slow.open == 0)
    assert await store.record_failure(specimen.differential_id, other.cell_id, "no image", other.token)


async def test_a_model_server_that_is_away_or_a_store_that_fails_counts_as_no_attempt(payloads):
    store = CountingStore()
    model_server = ScriptedModelServer(*[errors.ModelServerUnavailable("away")] * 9)
    async with running(store, model_server) as runner:
        store.failures_left = 5
        specimen, _ = await store.create(ORDER, payloads, "local")
        runner.submit(specimen.differential_id)
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * len(payloads)


async def test_nothing_is_begun_where_there_is_nothing_to_do(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    specimen, _ = await store.create(ORDER, payloads[:1], "local")
    await store.cancel(specimen.differential_id, "local")
    async with running(store, model_server) as runner:
        runner.submit(specimen.differential_id)
        runner.submit("nowhere")
        await runner.changed(specimen.differential_id, 0.2)
    assert model_server.asked == 0


async def test_a_busy_or_absent_model_server_is_waited_for(payloads):
    model_server = ScriptedModelServer(
        errors.Overloaded("full", retry_after_s=0.01),
        errors.ModelServerUnavailable("gone"),
        errors.ModelServerTimeout("late"),
        *[errors.Overloaded("full", retry_after_s=0.01)] * 5,
    )
    store = CountingStore()
    async with running(store, model_server) as runner:
        specimen, _ = await store.create(ORDER, payloads[:3], "local")
        runner.submit(specimen.differential_id)
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * 3
    assert model_server.asked == 3 + 8


@pytest.mark.parametrize(
    ("failures", "said"),
    [
        ([errors.ModelServerError("broken")] * 3, "model server failed"),
        ([RuntimeError("a bug with /home/lab/Yilmaz.png")], "service failed"),
    ],
)
async def test_an_image_that_always_fails_is_a_failed_cell(payloads, failures, said):
    store, model_server = CountingStore(), ScriptedModelServer(*failures)
    async with running(store, model_server, concurrency=1) as runner:
        specimen, _ = await store.create(ORDER, payloads[:2], "local")
        runner.submit(specimen.differential_id)
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["failed", "analysed"]
    assert said in now.cells[0].failure
    assert "Yilmaz" not in now.cells[0].failure


async def test_what_is_no_image_and_a_profile_that_is_gone_are_failed_cells(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server) as runner:
        bad, _ = await store.create(ORDER, [b"no image", payloads[0]], "local")
        gone, _ = await store.create(SpecimenOrder("S-2", profile="removed"), payloads[:1], "local")
        for specimen in (bad, gone):
            runner.submit(specimen.differential_id)
        assert [cell.state for cell in (await ended(store, bad, runner)).cells] == ["failed", "analysed"]
        assert "profile" in (await ended(store, gone, runner)).cells[0].failure
    assert model_server.asked == 1


async def test_a_store_that_fails_now_and_then_loses_nothing(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    store.failures_left = 3
    async with running(store, model_server) as runner:
        specimen, _ = await store.create(ORDER, payloads, "local")
        runner.submit(specimen.differential_id)
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * len(payloads)
    assert set(store.told.values()) == {1}


async def test_while_persons_wait_cells_go_one_at_a_time_but_they_go(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server, concurrency=4, busy=lambda: True) as runner:
        specimen, _ = await store.create(ORDER, payloads, "local")
        runner.submit(specimen.differential_id)
        await ended(store, specimen, runner)
    assert model_server.most_open == 1
    assert model_server.asked == len(payloads)


async def test_a_small_specimen_does_not_wait_for_a_large_one(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server, concurrency=1) as runner:
        large, _ = await store.create(ORDER, payloads * 10, "local")
        small, _ = await store.create(ORDER, payloads[:2], "local")
        runner.submit(large.differential_id)
        runner.submit(small.differential_id)
        await ended(store, small, runner)
        done = sum(cell.state == "analysed" for cell in (await store.get(large.differential_id)).cells)
    assert done < 10


async def test_the_work_has_neither_deadline_nor_name_of_the_request_that_ordered_it(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server) as runner:
        set_request_id("the-request")
        with deadline(0.001):
            specimen, _ = await store.create(ORDER, payloads[:3], "local")
            runner.submit(specimen.differential_id)
        await asyncio.sleep(0.01)  # it is over
        now = await ended(store, specimen, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * 3
    assert len(model_server.request_ids) == 3
    assert "the-request" not in model_server.request_ids
    assert all(left is not None and left > 10 for left in model_server.deadlines)


async def test_a_close_lets_what_is_under_way_end_and_begins_nothing(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    model_server.answer.clear()
    runner = SpecimenRunner(store, services_with(model_server))
    await model_server.start()
    specimen, _ = await store.create(ORDER, payloads, "local")
    runner.submit(specimen.differential_id)
    async with asyncio.timeout(LONGEST_S):
        while model_server.open < 2:
            await asyncio.sleep(0.01)
        closing = asyncio.create_task(runner.close(grace_s=5))
        await asyncio.sleep(0.02)
        assert not closing.done()
        model_server.answer.set()
        await closing
    now = await store.get(specimen.differential_id)
    assert [cell.state for cell in now.cells] == ["analysed"] * 2 + ["waiting"] * 4
    runner.submit(specimen.differential_id)
    assert model_server.asked == 2


async def test_a_close_breaks_off_what_does_not_end(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    model_server.answer.clear()
    async with running(store, model_server) as runner:
        specimen, _ = await store.create(ORDER, payloads[:2], "local")
        runner.submit(specimen.differential_id)
        async with asyncio.timeout(LONGEST_S):
            while model_server.open < 2:
                await asyncio.sleep(0.01)
    assert model_server.open == 0
    now = await store.get(specimen.differential_id)
    assert [cell.state for cell in now.cells] == ["waiting"] * 2


async def test_a_stop_of_one_specimen_leaves_the_others(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server, concurrency=1) as runner:
        cancelled, _ = await store.create(ORDER, payloads * 10, "local")
        other, _ = await store.create(ORDER, payloads, "local")
        runner.submit(cancelled.differential_id)
        runner.submit(other.differential_id)
        await store.cancel(cancelled.differential_id, "local")
        await runner.stop(cancelled.differential_id)
        now = await ended(store, other, runner)
    assert [cell.state for cell in now.cells] == ["analysed"] * len(payloads)
    assert len(store.told) < 12


async def test_leaving_is_seen_before_the_next_cell(payloads):
    leaves = False
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server, concurrency=1, leaving=lambda: leaves) as runner:
        specimen, _ = await store.create(ORDER, payloads, "local")
        runner.submit(specimen.differential_id)
        while not store.told:
            await runner.changed(specimen.differential_id, 0.05)
        leaves = True
        await asyncio.sleep(0.2)
        assert model_server.asked <= 2
        assert runner.leaving


async def test_who_waits_for_a_change_hears_of_it_or_of_the_end_of_his_time(payloads):
    store, model_server = CountingStore(), ScriptedModelServer()
    async with running(store, model_server) as runner:
        specimen, _ = await store.create(ORDER, payloads[:1], "local")
        waiting = asyncio.create_task(runner.changed(specimen.differential_id, 10))
        await asyncio.sleep(0)
        runner.submit(specimen.differential_id)
        async with asyncio.timeout(5):
            await waiting
            await runner.changed("another", 0.01)


def test_no_concurrency_is_no_runner():
    with pytest.raises(ValueError, match="concurrency"):
        SpecimenRunner(MemoryStore(), services_with(FakeModelServer()), concurrency=0)
