import asyncio

import numpy as np
import pytest

from orchestrator.domain import ViewBatch
from orchestrator.errors import ModelServerUnavailable
from orchestrator.model_server.late_start import LateModelServer
from tests.fakes.scripted_model_server import ScriptedModelServer
from tests.waiting import LONGEST_S

VIEWS = ViewBatch(np.zeros((1, 224, 224, 3), np.uint8), np.ones(1, np.float32))


async def test_a_server_that_is_there_is_started_at_once():
    server = ScriptedModelServer()
    late = LateModelServer(server)
    await late.start()
    assert await late.ready()
    await late.close()
    assert (server.started, server.closed) == (1, 1)


async def test_a_server_that_cannot_be_reached_is_started_when_it_can(caplog):
    server = ScriptedModelServer(start_failure=ModelServerUnavailable("nobody listens"))
    late = LateModelServer(server, patience_s=0.01, retry_s=0.01)
    await late.start()
    assert not await late.ready()
    with pytest.raises(ModelServerUnavailable):
        await late.classify(VIEWS)
    assert "nobody listens" in caplog.text

    server.start_failure = None
    async with asyncio.timeout(LONGEST_S):
        while not await late.ready():
            await asyncio.sleep(0.01)
    assert (await late.classify(VIEWS)).model == await late.identity()
    await late.close()


class NeverStarted(ScriptedModelServer):
    async def start(self) -> None:
        await asyncio.Event().wait()


async def test_nobody_waits_long_for_a_server_that_does_not_answer():
    late = LateModelServer(NeverStarted(), patience_s=0.05)
    async with asyncio.timeout(LONGEST_S):
        await late.start()
        await late.close()


async def test_it_stops_trying_when_it_is_closed():
    server = ScriptedModelServer(start_failure=ModelServerUnavailable("nobody listens"))
    late = LateModelServer(server, patience_s=0.01, retry_s=0.01)
    await late.start()
    await late.close()
    tried = server.started
    await asyncio.sleep(0.05)
    assert server.started == tried


async def test_a_bug_in_a_start_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        await LateModelServer(ScriptedModelServer(start_failure=ZeroDivisionError())).start()
