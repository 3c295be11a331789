import asyncio
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from prometheus_client import REGISTRY

from orchestrator.common.deadline import deadline
from orchestrator.edge.admission import Admission, counted
from orchestrator.errors import Overloaded, UndecodableImage


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def in_flight() -> float:
    return sample("wbc_requests_in_flight")


def waiting() -> float:
    return sample("wbc_admission_waiting")


def refused(reason: str) -> float:
    return sample("wbc_admission_refused_total", reason=reason)


class Analyses:
    """Requests that hold their places until they are told to leave them."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._ends: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []

    def ask(self, name: str, pixels: int = 0) -> "asyncio.Task[None]":
        self._ends[name] = asyncio.Event()
        return asyncio.create_task(self._hold(name, pixels))

    def end(self, name: str) -> None:
        self._ends[name].set()

    async def _hold(self, name: str, pixels: int) -> None:
        async with self._admission.admitted(pixels):
            self.begun.append(name)
            await self._ends[name].wait()


async def settled() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_as_many_as_the_limit_are_let_in_at_once_and_the_next_has_to_wait():
    analyses = Analyses(Admission(2, max_waiting=1))
    before = in_flight()
    tasks = [analyses.ask(name) for name in "abc"]
    await settled()

    assert analyses.begun == ["a", "b"]
    assert (in_flight() - before, waiting()) == (2, 1)
    analyses.end("a")
    await settled()

    assert analyses.begun == ["a", "b", "c"]
    assert (in_flight() - before, waiting()) == (2, 0)
    for name in "bc":
        analyses.end(name)
    await asyncio.gather(*tasks)
    assert in_flight() == before


async def test_who_waits_is_let_in_in_the_order_of_arrival():
    analyses = Analyses(Admission(1, max_waiting=4))
    tasks = [analyses.ask(name) for name in "abcd"]
    for name in "abcd":
        await settled()
        analyses.end(name)
    await asyncio.gather(*tasks)
    assert analyses.begun == list("abcd")


async def test_more_than_may_wait_are_refused_and_told_when_to_come_back():
    analyses = Analyses(Admission(1, max_waiting=1))
    before = refused("queue_full")
    tasks = [analyses.ask("a"), analyses.ask("b")]
    await settled()

    with pytest.raises(Overloaded, match="1 analyses are under way and 1 more wait") as refusal:
        await analyses.ask("c")

    # One waits and one is under way: half a second each, as long as nothing else is known.
    assert refusal.value.retry_after_s == pytest.approx(1.0)
    assert refused("queue_full") == before + 1
    for name in "ab":
        analyses.end(name)
    await asyncio.gather(*tasks)


async def test_nobody_waits_longer_than_the_longest_wait():
    analyses = Analyses(Admission(4, max_waiting=4, max_wait_s=0.2))
    before = refused("waited_too_long")
    tasks = [analyses.ask(name) for name in "abcd"]
    await settled()

    with pytest.raises(Overloaded, match=r"none ended within 0\.2 s"):
        await analyses.ask("e")

    assert refused("waited_too_long") == before + 1
    assert waiting() == 0
    for name in "abcd":
        analyses.end(name)
    await asyncio.gather(*tasks)


async def test_who_would_get_his_place_too_late_is_refused_at_once():
    analyses = Analyses(Admission(1, max_waiting=100, max_wait_s=60.0))
    before = refused("too_late")
    task = analyses.ask("a")
    await settled()

    # Half a second until there is a place and another for the analysis: with less time, none is begun.
    with deadline(0.9), pytest.raises(Overloaded, match="which is too late"):
        await asyncio.wait_for(analyses.ask("b"), timeout=0.1)
    with deadline(1.5, clock=lambda: 0.0):
        in_time = analyses.ask("c")
    await settled()
    assert waiting() == 1

    assert refused("too_late") == before + 1
    for name in "ac":
        analyses.end(name)
    await asyncio.gather(task, in_time)
    assert analyses.begun == ["a", "c"]


async def test_a_wait_ends_with_the_deadline():
    admission = Admission(1, max_waiting=1, max_wait_s=60.0)
    for _ in range(60):
        async with admission.admitted():  # they take no time: so the next place is expected at once
            pass
    analyses = Analyses(admission)
    task = analyses.ask("a")
    await settled()

    with deadline(0.1, clock=lambda: 0.0), pytest.raises(Overloaded, match="none ended within 0"):
        await analyses.ask("b")

    analyses.end("a")
    await task


async def test_the_advice_follows_how_long_analyses_take():
    admission = Admission(1, max_waiting=0)
    for _ in range(60):
        async with admission.admitted():
            pass
    analyses = Analyses(admission)
    task = analyses.ask("a")
    await settled()

    with pytest.raises(Overloaded) as refusal:
        await analyses.ask("b")

    assert 0 < refusal.value.retry_after_s < 0.4
    analyses.end("a")
    await task


async def test_files_that_are_refused_early_do_not_pass_for_fast_analyses():
    admission = Admission(1, max_waiting=0)
    for _ in range(60):
        with pytest.raises(UndecodableImage):
            async with admission.admitted():
                raise UndecodableImage("cut")
    analyses = Analyses(admission)
    task = analyses.ask("a")
    await settled()
    with pytest.raises(Overloaded) as refusal:
        await analyses.ask("b")
    assert refusal.value.retry_after_s == pytest.approx(0.5)
    analyses.end("a")
    await task


async def test_who_gives_up_while_he_waits_leaves_his_turn_to_the_next():
    analyses = Analyses(Admission(1, max_waiting=3))
    first, gives_up, last = (analyses.ask(name) for name in "abc")
    await settled()
    gives_up.cancel()
    analyses.end("a")
    await asyncio.gather(first, gives_up, return_exceptions=True)
    await settled()
    assert analyses.begun == ["a", "c"]
    assert waiting() == 0
    analyses.end("c")
    await last


@pytest.mark.parametrize("steps", range(6))
async def test_no_place_is_lost_whenever_somebody_gives_up(steps: int):
    """Whatever comes first, their turn or their leaving: afterwards there are as many places as before."""
    before = in_flight()
    admission = Admission(2, max_waiting=8)
    analyses = Analyses(admission)
    tasks = [analyses.ask(name) for name in "abcdef"]
    await settled()
    orders: list[Callable[[], Any]] = [
        lambda: analyses.end("a"),
        tasks[2].cancel,
        lambda: analyses.end("b"),
        tasks[3].cancel,
        tasks[0].cancel,
        tasks[4].cancel,
    ]
    for act in itertools.islice(itertools.cycle(orders), steps, steps + len(orders)):
        act()
        if steps % 2:
            await asyncio.sleep(0)
    analyses.end("f")
    for name in "cde":
        analyses.end(name)
    await asyncio.gather(*tasks, return_exceptions=True)

    assert (in_flight(), waiting()) == (before, 0)
    async with admission.admitted(), admission.admitted():
        assert in_flight() == before + 2
    assert in_flight() == before


async def test_large_images_take_many_places_and_small_ones_go_beside_them():
    analyses = Analyses(Admission(32, max_wait_s=60.0))
    large = [analyses.ask(name, 25_000_000) for name in "ABC"]
    await settled()
    assert analyses.begun == ["A", "B"]
    small = [analyses.ask(name) for name in "abcdefghi"]
    await settled()
    assert analyses.begun == ["A", "B"]  # who came first is not overtaken for ever
    analyses.end("A")
    await settled()
    assert analyses.begun == ["A", "B", "C", *"abcdefgh"]
    for name in "BCabcdefghi":
        analyses.end(name)
    await asyncio.gather(*large, *small)


async def test_an_image_of_more_places_than_there_are_goes_alone():
    analyses = Analyses(Admission(2, max_wait_s=60.0))
    tasks = [analyses.ask("A", 25_000_000), analyses.ask("a")]
    await settled()
    assert analyses.begun == ["A"]
    analyses.end("A")
    await settled()
    assert analyses.begun == ["A", "a"]
    analyses.end("a")
    await asyncio.gather(*tasks)


async def test_large_images_whose_turn_would_come_too_late_are_refused_at_once_and_told_when_to_come():
    analyses = Analyses(Admission(32, max_wait_s=1.0))
    tasks = [analyses.ask(str(number), 25_000_000) for number in range(16)]
    await settled()

    refusals = [task.exception() for task in tasks if task.done()]
    assert len(refusals) >= 12
    assert all(isinstance(error, Overloaded) and error.retry_after_s > 0 for error in refusals)
    for number in range(16):
        analyses.end(str(number))
    await asyncio.gather(*tasks, return_exceptions=True)
    assert analyses.begun[:2] == ["0", "1"]


async def test_who_gives_up_wanting_much_leaves_the_way_to_who_wants_little():
    analyses = Analyses(Admission(2, max_wait_s=60.0))
    first, large, small = analyses.ask("a"), analyses.ask("A", 25_000_000), analyses.ask("b")
    await settled()
    assert analyses.begun == ["a"]
    large.cancel()
    await settled()
    assert analyses.begun == ["a", "b"]
    for name in "ab":
        analyses.end(name)
    await asyncio.gather(first, large, small, return_exceptions=True)


async def test_a_failed_analysis_leaves_its_place():
    admission = Admission(1)
    for _ in range(3):
        with pytest.raises(UndecodableImage):
            async with admission.admitted():
                raise UndecodableImage("cut")


def test_a_limit_below_one_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        Admission(0)


def test_requests_are_counted_by_how_they_end():
    with counted("here"):
        pass
    with pytest.raises(UndecodableImage), counted("here"):
        raise UndecodableImage("cut")
    with pytest.raises(ZeroDivisionError), counted("here"):
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), counted("here"):
        raise KeyboardInterrupt
    for outcome in ("ok", "undecodable-image", "internal-error", "cancelled"):
        assert sample("wbc_requests_total", endpoint="here", outcome=outcome) == 1
