"""The client of TensorFlow Serving behind a network that fails in every way that networks do."""

import asyncio

import pytest

from loadtests.fault_injection import (
    CLEAR_ERRORS,
    FAULTS,
    OWN_VERSION,
    Outcome,
    Questions,
    ask,
    behind_a_bad_network,
    run,
)
from orchestrator.domain import ViewBatch
from orchestrator.views import rows_of
from tests.waiting import LONGEST_S

DEADLINE_S = 1.0


async def asked(server, count: int, deadline_s: float = DEADLINE_S) -> Outcome:
    outcome, questions = Outcome(), Questions()
    await asyncio.gather(*(ask(server, *questions.next(), deadline_s, outcome) for _ in range(count)))
    return outcome


async def test_under_every_fault_no_question_is_lost_or_answered_wrongly_and_every_error_is_clear(capsys):
    outcome = await run(1000, calm_s=0.3, fault_s=0.4)
    with capsys.disabled():
        print(f"\n{outcome}")  # noqa: T201

    assert outcome.asked >= 1000
    assert set(outcome.faults) == {fault.__name__ for fault in FAULTS}
    assert (outcome.wrong, outcome.unclear, outcome.late, outcome.lost) == ([], [], [], 0)
    assert outcome.answered.total() > 0.3 * outcome.asked
    assert len(outcome.answered) >= 3  # versions
    assert outcome.failed.total() > 0


async def test_with_a_failover_every_question_is_answered():
    outcome = await run(200, calm_s=0.3, fault_s=0.4, failover=True)

    assert (outcome.wrong, outcome.unclear, outcome.late, outcome.lost) == ([], [], [], 0)
    assert outcome.failed.total() == 0
    assert outcome.answered[OWN_VERSION] > 0
    assert set(outcome.answered) > {OWN_VERSION}


async def test_the_run_notices_wrong_answers_and_errors_that_are_none_of_ours():
    """A judge that cannot condemn proves nothing."""

    class Mixing:
        """Answers with the rows in another order, or with a bug."""

        def __init__(self, server) -> None:
            self._server = server

        async def classify(self, question):
            rows = rows_of(question)
            return await self._server.classify(ViewBatch(rows.images[::-1], rows.gain))

        async def explain(self, question):  # noqa: ARG002 (the port's signature)
            raise ZeroDivisionError

    async with behind_a_bad_network(failover=False, deadline_s=DEADLINE_S) as (server, _, _):
        good, bad = await asked(server, 12), await asked(Mixing(server), 12)
    assert good.is_good
    assert good.answered.total() == 12
    assert not bad.is_good
    assert len(bad.unclear) == 6
    assert len(bad.wrong) == 4  # of six; a single row has no other order


async def test_a_silent_network_ends_in_a_timeout_at_the_deadline():
    async with behind_a_bad_network(failover=False, deadline_s=60.0) as (server, proxy, _):
        assert (await asked(server, 2, deadline_s=60.0)).answered.total() == 2
        proxy.network.black_hole = True
        outcome = await asked(server, 4, deadline_s=0.5)
        proxy.network.black_hole = False
        recovered = await asked(server, 4, deadline_s=60.0)
    assert outcome.failed == {"ModelServerTimeout": 4}
    assert 0.5 <= outcome.longest_s < 20
    assert recovered.answered.total() == 4


async def test_a_connection_that_is_cut_is_made_anew_and_the_question_asked_again():
    async with behind_a_bad_network(failover=False, deadline_s=10.0) as (server, proxy, process):
        process.tell("delay 0.3")
        await asyncio.sleep(0.1)
        under_way = asyncio.create_task(asked(server, 3, deadline_s=10.0))
        await asyncio.sleep(0.15)
        assert proxy.reset() > 0
        before = proxy.connections
        outcome = await under_way
    assert outcome.is_good
    assert outcome.answered.total() + outcome.failed.total() == 3
    assert proxy.connections > before or outcome.failed.total() == 3


async def test_a_server_that_is_gone_is_a_clear_error_and_its_return_is_noticed():
    async with behind_a_bad_network(failover=False, deadline_s=DEADLINE_S) as (server, _, process):
        process.kill()
        gone = await asked(server, 4)
        await asyncio.to_thread(process.start)
        async with asyncio.timeout(LONGEST_S):
            while (back := await asked(server, 1)).answered.total() == 0:
                assert back.is_good
    assert gone.is_good
    assert gone.answered.total() == 0
    assert set(gone.failed) <= {kind.__name__ for kind in CLEAR_ERRORS} | {"CircuitOpen"}


@pytest.mark.parametrize("rows", [1, 2, 3])
def test_no_two_questions_are_alike(rows):
    questions = Questions()
    seen = {
        rows_of(question).images.tobytes()
        for _, question in (questions.next() for _ in range(30))
        if len(question) == rows
    }
    assert len(seen) == 10
