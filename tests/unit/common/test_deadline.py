import asyncio

import pytest

from orchestrator.common.deadline import deadline, remaining_s


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_without_a_deadline_nothing_remains_to_be_told():
    assert remaining_s() is None


def test_what_remains_falls_with_the_clock_and_below_zero():
    clock = Clock()
    with deadline(2.0, clock=clock):
        assert remaining_s() == 2.0
        clock.now_s += 1.5
        assert remaining_s() == 0.5
        clock.now_s += 1.0
        assert remaining_s() == -0.5
    assert remaining_s() is None


@pytest.mark.parametrize(("inner_s", "remaining"), [(1.0, 1.0), (9.0, 2.0)])
def test_a_deadline_within_another_only_shortens_it(inner_s: float, remaining: float):
    clock = Clock()
    with deadline(2.0, clock=clock):
        with deadline(inner_s, clock=clock):
            assert remaining_s() == remaining
        assert remaining_s() == 2.0


def test_an_error_ends_it_too():
    with pytest.raises(ZeroDivisionError), deadline(2.0):
        raise ZeroDivisionError
    assert remaining_s() is None


async def test_tasks_and_threads_of_a_request_have_its_deadline_and_others_have_not():
    clock = Clock()

    async def task() -> float | None:
        return remaining_s()

    with deadline(2.0, clock=clock):
        inside = asyncio.create_task(task())
        assert await asyncio.to_thread(remaining_s) == 2.0
    assert await inside == 2.0
    assert await asyncio.create_task(task()) is None


async def test_requests_at_once_have_each_their_own():
    async def request(seconds: float) -> float:
        with deadline(seconds, clock=Clock()):
            await asyncio.sleep(0)
            left_s = remaining_s()
        assert left_s is not None
        return left_s

    assert await asyncio.gather(request(1.0), request(2.0), request(3.0)) == [1.0, 2.0, 3.0]
