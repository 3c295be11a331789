import asyncio

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import Prediction, Question, ViewBatch
from orchestrator.errors import (
    ContractViolation,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
    WbcError,
)
from orchestrator.model_server.base import CircuitOpen
from orchestrator.model_server.failover import FailoverModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer

VIEWS = ViewBatch(np.zeros((2, 224, 224, 3), np.uint8), np.ones(2, np.float32))


def failovers(reason: str) -> float:
    return REGISTRY.get_sample_value("wbc_failovers_total", {"reason": reason}) or 0.0


async def started(primary: ScriptedModelServer, secondary: ScriptedModelServer) -> FailoverModelServer:
    server = FailoverModelServer(primary, secondary)
    await server.start()
    return server


async def test_the_primary_answers_as_long_as_it_can():
    primary, secondary = ScriptedModelServer(1), ScriptedModelServer(2)
    server = await started(primary, secondary)
    assert (await server.classify(VIEWS)).model.version == 1
    assert (await server.explain(VIEWS)).model.version == 1
    assert (await server.identity()).version == 1
    assert secondary.asked == 0


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ModelServerUnavailable("gone"), "unavailable"),
        (CircuitOpen("left alone"), "unavailable"),
        (ModelServerTimeout("late"), "timeout"),
        (ContractViolation("another model"), "contract"),
        (ModelServerError("out of memory"), "error"),
        (Overloaded("too much", 1.0), "overload"),
    ],
)
@pytest.mark.parametrize("method", ["classify", "explain"])
async def test_the_secondary_answers_where_the_primary_fails_and_the_answer_says_so(error, reason, method):
    server = await started(ScriptedModelServer(1, failure=error), ScriptedModelServer(2))
    before = failovers(reason)
    answer: Prediction = await getattr(server, method)(VIEWS)
    assert answer.model.version == 2
    assert failovers(reason) == before + 1


async def test_a_bug_is_not_moved_elsewhere():
    secondary = ScriptedModelServer(2)
    server = await started(ScriptedModelServer(1, failure=ZeroDivisionError()), secondary)
    with pytest.raises(ZeroDivisionError):
        await server.classify(VIEWS)
    assert secondary.asked == 0


async def test_where_both_have_too_much_to_do_the_caller_is_told_when_to_come_back():
    full = ScriptedModelServer(1, failure=Overloaded("full", 1.0))
    server = await started(full, ScriptedModelServer(2, failure=Overloaded("full, too", 3.0)))
    with pytest.raises(Overloaded) as refused:
        await server.classify(VIEWS)
    assert refused.value.retry_after_s == 3.0


async def test_what_the_caller_did_wrong_is_not_asked_again():
    primary, secondary = ScriptedModelServer(1), ScriptedModelServer(2)
    server = await started(primary, secondary)
    with pytest.raises(ContractViolation, match="received 0"):
        await server.classify(ViewBatch(VIEWS.images[:0], VIEWS.gain[:0]))
    assert primary.asked == secondary.asked == 0


async def test_both_failures_are_told():
    first, second = ModelServerUnavailable("gone"), ModelServerTimeout("late")
    server = await started(ScriptedModelServer(1, failure=first), ScriptedModelServer(2, failure=second))
    with pytest.raises(ModelServerTimeout) as raised:
        await server.classify(VIEWS)
    assert raised.value.__context__ is first


class Patient(ScriptedModelServer):
    """Fails when its deadline passes, as a server that is never heard of does; time passes at once."""

    now_s = 0.0

    async def classify(self, question: Question) -> Prediction:  # noqa: ARG002 (the port's signature)
        left_s = remaining_s()
        assert left_s is not None
        self.now_s += left_s
        raise ModelServerTimeout("silence")


async def test_a_silent_primary_leaves_the_secondary_time_to_answer():
    patient = Patient(1)
    server = await started(patient, ScriptedModelServer(2))
    with deadline(40, clock=lambda: patient.now_s):
        answer = await server.classify(VIEWS)
        left_s = remaining_s()
    assert answer.model.version == 2
    assert left_s is not None
    assert 10 < left_s < 25


async def test_nobody_is_asked_after_the_deadline():
    gate = asyncio.Event()
    secondary = ScriptedModelServer(2)
    server = await started(ScriptedModelServer(1, failure=ModelServerTimeout("late"), gate=gate), secondary)
    with deadline(0.02):
        asked = asyncio.create_task(server.classify(VIEWS))
    await asyncio.sleep(0.05)
    gate.set()
    with pytest.raises(ModelServerTimeout):
        await asked
    assert secondary.asked == 0


async def test_a_caller_who_goes_away_is_not_answered_by_anybody():
    primary, secondary = ScriptedModelServer(1, gate=asyncio.Event()), ScriptedModelServer(2)
    server = await started(primary, secondary)
    asked = asyncio.create_task(server.classify(VIEWS))
    await primary.reached.wait()
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (primary.cancelled, primary.running, secondary.asked) == (1, 0, 0)


async def test_it_is_ready_and_has_a_name_while_one_of_them_has():
    primary, secondary = ScriptedModelServer(1), ScriptedModelServer(2)
    server = await started(primary, secondary)
    await primary.close()
    assert await server.ready()
    assert (await server.identity()).version == 2
    await primary.start()
    await secondary.close()
    assert await server.ready()
    assert (await server.identity()).version == 1
    await server.close()
    assert not await server.ready()


async def test_where_one_cannot_start_the_other_is_not_left_running():
    secondary = ScriptedModelServer(2)
    server = FailoverModelServer(ScriptedModelServer(1, start_failure=ContractViolation("other")), secondary)
    with pytest.raises(WbcError):
        await server.start()
    assert not await secondary.ready()


@pytest.mark.parametrize("share", [0, 1, -0.1])
def test_a_share_that_leaves_one_of_them_no_time_is_refused(share):
    with pytest.raises(ValueError, match="between 0 and 1"):
        FailoverModelServer(ScriptedModelServer(1), ScriptedModelServer(2), primary_share=share)
