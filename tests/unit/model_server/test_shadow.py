import asyncio

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import Prediction, Question, ViewBatch
from orchestrator.errors import ModelServerUnavailable
from orchestrator.model_server.shadow import ShadowModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.waiting import becomes

VIEWS = ViewBatch(np.zeros((1, 224, 224, 3), np.uint8), np.ones(1, np.float32))


def compared() -> dict[str, float]:
    return {
        outcome: REGISTRY.get_sample_value("wbc_shadow_comparisons_total", {"outcome": outcome}) or 0.0
        for outcome in ("agree", "disagree", "failed", "dropped")
    }


def changed(before: dict[str, float]) -> dict[str, float]:
    return {
        outcome: count - before[outcome] for outcome, count in compared().items() if count != before[outcome]
    }


async def started(
    primary: ScriptedModelServer, shadow: ScriptedModelServer, max_pending: int = 4, timeout_s: float = 5.0
) -> ShadowModelServer:
    server = ShadowModelServer(primary, shadow, max_pending=max_pending, timeout_s=timeout_s)
    await server.start()
    return server


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("shadow", "outcome"),
    [
        (ScriptedModelServer(6), "agree"),  # another version that decides for the same class
        (ScriptedModelServer(2), "disagree"),
        (ScriptedModelServer(2, failure=ModelServerUnavailable("gone")), "failed"),
        (ScriptedModelServer(2, failure=ZeroDivisionError()), "failed"),
    ],
    ids=["agrees", "disagrees", "is gone", "has a bug"],
)
@pytest.mark.parametrize("method", ["classify", "explain"])
async def test_the_caller_gets_the_primarys_answer_whatever_the_shadow_does(shadow, outcome, method):
    server, before = await started(ScriptedModelServer(1), shadow), compared()
    answer: Prediction = await getattr(server, method)(VIEWS)
    assert answer.model.version == 1
    assert answer.main_out[0].argmax() == 1
    await settled()
    assert changed(before) == {outcome: 1}
    await server.close()


async def test_a_slow_shadow_costs_the_caller_no_time():
    gate = asyncio.Event()
    shadow = ScriptedModelServer(1, gate=gate)
    server = await started(ScriptedModelServer(1), shadow, timeout_s=60)
    await server.classify(VIEWS)
    await shadow.reached.wait()
    assert shadow.running == 1
    gate.set()
    await server.close()


async def test_copies_are_dropped_while_the_shadow_is_busy():
    gate = asyncio.Event()
    shadow = ScriptedModelServer(1, gate=gate)
    server, before = await started(ScriptedModelServer(1), shadow, max_pending=2), compared()
    for _ in range(5):
        await server.classify(VIEWS)
        await settled()
    assert shadow.running == 2
    assert changed(before) == {"dropped": 3}
    gate.set()
    await settled()
    await server.classify(VIEWS)
    await settled()
    assert changed(before) == {"dropped": 3, "agree": 3}
    await server.close()


async def test_a_shadow_that_never_answers_is_given_up():
    shadow = ScriptedModelServer(1, gate=asyncio.Event())
    server, before = await started(ScriptedModelServer(1), shadow, timeout_s=0.02), compared()
    await server.classify(VIEWS)
    await becomes(lambda: changed(before) == {"failed": 1})
    assert (shadow.cancelled, shadow.running) == (1, 0)
    await server.close()


class Timed(ScriptedModelServer):
    left_s: float | None = None

    async def classify(self, question: Question) -> Prediction:
        self.left_s = remaining_s()
        return await super().classify(question)


async def test_the_shadow_has_its_own_deadline_and_not_the_callers():
    primary, shadow = Timed(1), Timed(1)
    server = await started(primary, shadow, timeout_s=5.0)
    with deadline(1.0):
        await server.classify(VIEWS)
    await settled()
    assert primary.left_s == pytest.approx(1.0, abs=0.3)
    assert shadow.left_s == pytest.approx(5.0, abs=0.3)
    await server.close()


async def test_the_shadow_is_not_asked_what_the_primary_could_not_answer():
    shadow = ScriptedModelServer(2)
    server = await started(ScriptedModelServer(1, failure=ModelServerUnavailable("gone")), shadow)
    with pytest.raises(ModelServerUnavailable):
        await server.classify(VIEWS)
    await settled()
    assert shadow.asked == 0
    await server.close()


async def test_closing_gives_up_what_is_under_way():
    shadow = ScriptedModelServer(1, gate=asyncio.Event())
    server = await started(ScriptedModelServer(1), shadow)
    await server.classify(VIEWS)
    await shadow.reached.wait()
    await asyncio.wait_for(server.close(), 5)
    assert (shadow.cancelled, shadow.running) == (1, 0)
    assert not await shadow.ready()


async def test_readiness_and_name_are_the_primarys():
    primary, shadow = ScriptedModelServer(1), ScriptedModelServer(2)
    server = await started(primary, shadow)
    await shadow.close()
    assert await server.ready()
    assert (await server.identity()).version == 1
    await primary.close()
    assert not await server.ready()


def test_a_shadow_that_may_never_be_asked_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        ShadowModelServer(ScriptedModelServer(1), ScriptedModelServer(2), max_pending=0)
