import asyncio
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import REGISTRY

from orchestrator.common.on_trial import is_on_trial
from orchestrator.domain import ModelIdentity, ViewBatch
from orchestrator.errors import ContractViolation, ModelServerUnavailable, Overloaded
from orchestrator.model_contract import MODEL_NAME, NUM_CLASSES
from orchestrator.model_server.canary import CanaryModelServer
from tests.fakes.model_server import FEATURES, FakeModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer

VIEWS = ViewBatch(np.zeros((1, 224, 224, 3), np.uint8), np.ones(1, np.float32))


def asked(arm: str) -> float:
    return REGISTRY.get_sample_value("wbc_canary_requests_total", {"arm": arm}) or 0.0


class Canary:
    """The wrapper with names of requests that a test gives."""

    def __init__(
        self, stable: ScriptedModelServer, canary: ScriptedModelServer, share: float, name: str = ""
    ) -> None:
        self.name = name
        self.server = CanaryModelServer(stable, canary, share=share, request_name=lambda: self.name)


async def test_a_share_of_the_requests_goes_to_the_canary_the_same_ones_each_time():
    trial = Canary(ScriptedModelServer(1), ScriptedModelServer(2), share=0.2)
    await trial.server.start()
    before = {arm: asked(arm) for arm in ("stable", "canary")}
    versions: list[dict[str, int]] = []
    for method in (trial.server.classify, trial.server.explain):
        answered = {}
        for trial.name in (f"request-{number}" for number in range(500)):
            answered[trial.name] = (await method(VIEWS)).model.version
        versions.append(answered)
    assert versions[0] == versions[1]
    on_trial = Counter(versions[0].values())[2]
    assert 70 <= on_trial <= 130  # 100, and three standard deviations of 9
    assert asked("canary") - before["canary"] == 2 * on_trial
    assert asked("stable") - before["stable"] == 2 * (500 - on_trial)


def test_who_is_on_trial_stays_so_when_the_share_grows():
    names = [f"request-{number}" for number in range(2000)]
    small, large = ({name for name in names if is_on_trial(name, share)} for share in (0.05, 0.5))
    assert small < large
    assert len(small) / 2000 == pytest.approx(0.05, abs=0.015)
    assert len(large) / 2000 == pytest.approx(0.5, abs=0.035)
    assert all(is_on_trial(name, 1) for name in names)
    assert not any(is_on_trial(name, 0) for name in names)


async def test_a_request_without_a_name_is_not_on_trial():
    canary = ScriptedModelServer(2)
    trial = Canary(ScriptedModelServer(1), canary, share=1)
    await trial.server.start()
    await trial.server.classify(VIEWS)
    assert canary.asked == 0


@pytest.mark.parametrize("error", [ModelServerUnavailable("gone"), Overloaded("too much", 1.0)])
async def test_where_the_canary_fails_the_stable_one_answers(error):
    trial = Canary(ScriptedModelServer(1), ScriptedModelServer(2, failure=error), share=1, name="lab-42")
    await trial.server.start()
    before = asked("fallback")
    assert (await trial.server.explain(VIEWS)).model.version == 1
    assert asked("fallback") == before + 1


async def test_under_a_site_s_head_of_other_features_than_the_canary_s_the_stable_one_answers():
    canary = FakeModelServer(ModelIdentity(MODEL_NAME, 2, None))
    trial = Canary(ScriptedModelServer(1), canary, share=1, name="lab-42")
    await trial.server.start()
    before = asked("fallback")
    head = np.ones((len(VIEWS), FEATURES + 5, NUM_CLASSES), np.float32)
    assert (await trial.server.classify(replace(VIEWS, head=head))).model.version == 1
    assert asked("fallback") == before + 1


async def test_what_the_caller_did_wrong_is_asked_nobody():
    stable, canary = ScriptedModelServer(1), ScriptedModelServer(2)
    trial = Canary(stable, canary, share=1, name="lab-42")
    await trial.server.start()
    with pytest.raises(ContractViolation):
        await trial.server.classify(ViewBatch(VIEWS.images[:0], VIEWS.gain[:0]))
    assert stable.asked == canary.asked == 0


async def test_a_caller_who_goes_away_takes_his_question_with_him():
    stable, canary = ScriptedModelServer(1), ScriptedModelServer(2, gate=asyncio.Event())
    trial = Canary(stable, canary, share=1, name="lab-42")
    await trial.server.start()
    question = asyncio.create_task(trial.server.classify(VIEWS))
    await canary.reached.wait()
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert (canary.cancelled, stable.asked) == (1, 0)


async def test_readiness_and_name_are_the_stable_ones():
    stable, canary = ScriptedModelServer(1), ScriptedModelServer(2)
    trial = Canary(stable, canary, share=1, name="lab-42")
    await trial.server.start()
    await canary.close()
    assert await trial.server.ready()
    assert (await trial.server.identity()).version == 1
    await stable.close()
    assert not await trial.server.ready()


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(ValueError, match="0 to 1"):
        Canary(ScriptedModelServer(1), ScriptedModelServer(2), share=share)
