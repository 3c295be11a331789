"""A model server that fails, waits and answers as a test says."""

import asyncio
import dataclasses

import numpy as np

from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.model_contract import CAM_SIZE, MODEL_NAME, NUM_CLASSES
from orchestrator.model_server.base import check_question
from tests.fakes.model_server import FakeModelServer


class ScriptedModelServer(FakeModelServer):
    """Answers class ``version % 5`` for everything.

    ``failure`` is raised instead of an answer, ``start_failure`` at a start. With ``gate`` it waits for that.
    ``asked`` counts questions, ``cancelled`` those whose caller went away; ``running`` is those under way.
    """

    def __init__(
        self,
        version: int = 1,
        *,
        failure: Exception | None = None,
        start_failure: Exception | None = None,
        gate: asyncio.Event | None = None,
    ) -> None:
        super().__init__(ModelIdentity(MODEL_NAME, version, None))
        self.version = version
        self.failure = failure
        self.start_failure = start_failure
        self.gate = gate
        self.asked = self.cancelled = self.running = self.started = self.closed = 0
        self.reached = asyncio.Event()

    async def start(self) -> None:
        self.started += 1
        if self.start_failure is not None:
            raise self.start_failure
        await super().start()

    async def close(self) -> None:
        self.closed += 1
        await super().close()

    async def classify(self, question: Question) -> Prediction:
        self._require_open()
        check_question(question)
        self.asked += 1
        self.running += 1
        self.reached.set()
        try:
            if self.gate is not None:
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.failure is not None:
            raise self.failure
        rows = len(question)
        main = np.zeros((rows, 5), np.float32)
        main[:, self.version % 5] = 1.0
        nothing = np.zeros(rows, np.float32)
        return Prediction(main, nothing, main * 4, nothing, main, None, self._identity)

    async def explain(self, question: Question) -> Prediction:
        answer = await self.classify(question)
        cams = np.ones((len(question), NUM_CLASSES, CAM_SIZE, CAM_SIZE), np.float32)
        return dataclasses.replace(answer, cams=cams)
