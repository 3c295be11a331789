import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from orchestrator.model_server.hedging import hedged


class Server:
    """Each call lasts as long, and ends, as its script says; keeps what became of each."""

    def __init__(self, *script: tuple[float, str | Exception]) -> None:
        self.script = list(script)
        self.calls = 0
        self.cancelled: list[int] = []
        self.hedges: list[bool] = []
        self.tokens = 1

    async def ask(self) -> str:
        number = self.calls
        self.calls += 1
        seconds, end = self.script[number]
        try:
            await asyncio.sleep(seconds)
        except asyncio.CancelledError:
            self.cancelled.append(number)
            raise
        if isinstance(end, Exception):
            raise end
        return end

    def take(self) -> bool:
        self.tokens -= 1
        return self.tokens >= 0

    def hedged(self) -> Coroutine[Any, Any, str]:
        return hedged(self.ask, after_s=0.02, may_hedge=self.take, observe=self.hedges.append)


async def test_a_quick_answer_is_not_asked_for_twice():
    server = Server((0.0, "first"))
    assert await server.hedged() == "first"
    assert (server.calls, server.hedges, server.tokens) == (1, [], 1)


async def test_a_quick_failure_is_told_and_not_hedged():
    server = Server((0.0, ConnectionError("gone")))
    with pytest.raises(ConnectionError, match="gone"):
        await server.hedged()
    assert server.calls == 1


async def test_where_the_first_is_late_the_second_answers_and_the_first_is_cancelled():
    server = Server((60.0, "first"), (0.0, "second"))
    assert await server.hedged() == "second"
    assert (server.cancelled, server.hedges) == ([0], [True])


async def test_the_first_may_still_be_the_faster_one():
    server = Server((0.05, "first"), (60.0, "second"))
    assert await server.hedged() == "first"
    assert (server.cancelled, server.hedges) == ([1], [False])


async def test_without_a_token_nobody_asks_twice():
    server = Server((0.04, "first"))
    server.tokens = 0
    assert await server.hedged() == "first"
    assert server.calls == 1


@pytest.mark.parametrize(
    "script",
    [
        ((0.05, ConnectionError("first")), (0.06, "answer")),
        ((0.08, "answer"), (0.0, ConnectionError("second"))),
    ],
    ids=["first fails", "second fails"],
)
async def test_one_failure_leaves_the_other_its_time(script: tuple[tuple[float, str | Exception], ...]):
    assert await Server(*script).hedged() == "answer"


async def test_two_failures_are_told_as_the_first():
    server = Server((0.04, ConnectionError("first")), (0.0, ConnectionError("second")))
    with pytest.raises(ConnectionError, match="first"):
        await server.hedged()
    assert server.hedges == [False]


async def test_giving_up_cancels_both():
    server = Server((60.0, "first"), (60.0, "second"))
    task = asyncio.create_task(server.hedged())
    await asyncio.sleep(0.06)
    assert server.calls == 2
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(server.cancelled) == [0, 1]
