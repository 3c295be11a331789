import asyncio

import pytest

from orchestrator.model_server.hedging import hedged
from tests.waiting import becomes


class Server:
    """Ends the calls as ``ends`` say, each when its gate is open, and keeps what became of each."""

    def __init__(self, *ends: str | Exception, tokens: int = 1) -> None:
        self.ends = ends
        self.gates = [asyncio.Event() for _ in ends]
        self.calls = 0
        self.cancelled: list[int] = []
        self.hedges: list[bool] = []
        self.tokens = tokens

    async def ask(self) -> str:
        number = self.calls
        self.calls += 1
        try:
            await self.gates[number].wait()
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        end = self.ends[number]
        if isinstance(end, Exception):
            raise end
        return end

    def take(self) -> bool:
        self.tokens -= 1
        return self.tokens >= 0

    def hedged(self) -> "asyncio.Task[str]":
        asked = hedged(self.ask, after_s=0.02, may_hedge=self.take, observe=self.hedges.append)
        return asyncio.create_task(asked)


async def test_a_quick_answer_is_not_asked_for_twice():
    server = Server("first")
    server.gates[0].set()
    assert await server.hedged() == "first"
    assert (server.calls, server.hedges, server.tokens) == (1, [], 1)


async def test_a_quick_failure_is_told_and_not_hedged():
    server = Server(ConnectionError("gone"))
    server.gates[0].set()
    with pytest.raises(ConnectionError, match="gone"):
        await server.hedged()
    assert server.calls == 1


async def test_where_the_first_is_late_the_second_answers_and_the_first_is_cancelled():
    server = Server("first", "second")
    server.gates[1].set()
    assert await server.hedged() == "second"
    assert (server.cancelled, server.hedges) == ([0], [True])


async def test_the_first_may_still_be_the_faster_one():
    server = Server("first", "second")
    asked = server.hedged()
    await becomes(lambda: server.calls == 2)
    server.gates[0].set()
    assert await asked == "first"
    assert (server.cancelled, server.hedges) == ([1], [False])


async def test_without_a_token_nobody_asks_twice():
    server = Server("first", tokens=0)
    asked = server.hedged()
    await becomes(lambda: server.tokens < 0)
    server.gates[0].set()
    assert await asked == "first"
    assert server.calls == 1


@pytest.mark.parametrize(
    ("ends", "failing"),
    [((ConnectionError("first"), "answer"), 0), (("answer", ConnectionError("second")), 1)],
    ids=["first fails", "second fails"],
)
async def test_one_failure_leaves_the_other_its_time(ends: tuple[str | Exception, ...], failing: int):
    server = Server(*ends)
    asked = server.hedged()
    await becomes(lambda: server.calls == 2)
    server.gates[failing].set()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asked.done()
    server.gates[1 - failing].set()
    assert await asked == "answer"


async def test_two_failures_are_told_as_the_first():
    server = Server(ConnectionError("first"), ConnectionError("second"))
    asked = server.hedged()
    await becomes(lambda: server.calls == 2)
    for gate in reversed(server.gates):
        gate.set()
        await asyncio.sleep(0)
    with pytest.raises(ConnectionError, match="first"):
        await asked
    assert server.hedges == [False]


async def test_giving_up_cancels_both():
    server = Server("first", "second")
    asked = server.hedged()
    await becomes(lambda: server.calls == 2)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert sorted(server.cancelled) == [0, 1]
