import pytest

from orchestrator.common.deadline import deadline
from orchestrator.model_server.retry import Backoff, RetryBudget, Retrying


class Server:
    """Fails as often as it is told, then answers; time is what was slept."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.calls = 0
        self.slept_s: list[float] = []
        self.retries: list[str] = []

    async def attempt(self) -> str:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)

    def retrying(
        self, max_attempts: int = 3, budget: RetryBudget | None = None, drawn: float = 0.5
    ) -> Retrying:
        return Retrying(
            max_attempts=max_attempts,
            budget=budget or RetryBudget(0.1, 10),
            may_help=lambda error: isinstance(error, ConnectionError),
            observe=self.retries.append,
            sleep=self.sleep,
            draw=lambda: drawn,
        )


async def test_an_answer_at_once_is_no_retry():
    server = Server()
    assert await server.retrying().ask(server.attempt) == "answer"
    assert (server.calls, server.slept_s, server.retries) == (1, [], [])


async def test_failures_are_tried_again_after_growing_pauses():
    server = Server(ConnectionError(), ConnectionError())
    assert await server.retrying().ask(server.attempt) == "answer"
    assert server.slept_s == [0.5 * 0.05, 0.5 * 0.1]
    assert server.retries == ["failed", "answered"]


async def test_the_last_failure_is_told():
    server = Server(*(ConnectionError(str(number)) for number in range(5)))
    with pytest.raises(ConnectionError, match="2"):
        await server.retrying(max_attempts=3).ask(server.attempt)
    assert server.calls == 3
    assert server.retries == ["failed", "failed"]


async def test_what_another_attempt_cannot_mend_is_told_at_once():
    server = Server(ValueError("wrong"))
    with pytest.raises(ValueError, match="wrong"):
        await server.retrying().ask(server.attempt)
    assert server.calls == 1


async def test_one_attempt_means_no_retry():
    server = Server(ConnectionError())
    with pytest.raises(ConnectionError):
        await server.retrying(max_attempts=1).ask(server.attempt)
    assert (server.calls, server.retries) == (1, [])


async def test_an_empty_budget_ends_it():
    server = Server(ConnectionError(), ConnectionError())
    with pytest.raises(ConnectionError):
        await server.retrying(budget=RetryBudget(0.0, 1)).ask(server.attempt)
    assert server.calls == 2
    assert server.retries == ["failed", "no_budget"]


async def test_a_pause_beyond_the_deadline_is_not_begun():
    server = Server(ConnectionError())
    with pytest.raises(ConnectionError), deadline(0.02, clock=lambda: 0.0):
        await server.retrying(drawn=0.9).ask(server.attempt)
    assert (server.slept_s, server.retries) == ([], ["no_time"])


async def test_in_an_outage_retries_are_the_share_of_requests():
    budget = RetryBudget(share=0.2, reserve=10)
    calls = 0
    for _ in range(1000):
        server = Server(*[ConnectionError()] * 3)
        with pytest.raises(ConnectionError):
            await server.retrying(budget=budget).ask(server.attempt)
        calls += server.calls
    assert 1000 * 1.2 <= calls <= 1000 * 1.2 + 10


def test_a_budget_holds_no_more_than_its_reserve():
    budget = RetryBudget(share=1.0, reserve=2)
    for _ in range(10):
        budget.note_request()
    assert [budget.take() for _ in range(3)] == [True, True, False]


@pytest.mark.parametrize(("retry", "longest_s"), [(0, 0.05), (1, 0.1), (2, 0.2), (10, 1.0), (2000, 1.0)])
def test_pauses_are_random_below_a_limit_that_doubles_up_to_a_second(retry: int, longest_s: float):
    backoff = Backoff()
    assert backoff.delay_s(retry, 0.0) == 0.0
    assert backoff.delay_s(retry, 1.0) == pytest.approx(longest_s)
