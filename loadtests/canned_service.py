"""The service with a model server that answers at once: what remains is the service's own cost.

    WBC_HTTP__PORT=9000 python -m loadtests.canned_service [--core 3]

For benchmarks; its answers are invented. For research use only. Not for use in diagnostic procedures.
"""

import argparse
import dataclasses
import os

import numpy as np

from orchestrator.bootstrap.process import serve
from orchestrator.bootstrap.services import build_services
from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.model_contract import CAM_SIZE, MODEL_NAME, NUM_CLASSES
from orchestrator.settings import Settings

IDENTITY = ModelIdentity(MODEL_NAME, 1, None)
LOGITS = np.array([0.0, 0.0, 1.0, 0.0, 6.0], np.float32)
"""A clear answer, so that adaptive test-time augmentation stops at its first view."""


class CannedModelServer:
    """Gives every row the same answer; see :class:`orchestrator.model_server.base.ModelServer`."""

    async def start(self) -> None:
        """Nothing to load."""

    async def close(self) -> None:
        """Nothing to let go."""

    async def ready(self) -> bool:
        """At once."""
        return True

    async def identity(self) -> ModelIdentity:
        """Whose answers these are said to be."""
        return IDENTITY

    async def classify(self, question: Question) -> Prediction:
        """Return the answer for each row."""
        return dataclasses.replace(await self.explain(question), cams=None)

    async def explain(self, question: Question) -> Prediction:
        """Return the answer for each row, with a map that is warm in the middle."""
        rows = len(question)
        main = np.exp(LOGITS) / np.exp(LOGITS).sum()
        distance = np.abs(np.arange(CAM_SIZE) - CAM_SIZE // 2)
        cam = 1.0 / (1.0 + distance[:, np.newaxis] + distance)
        return Prediction(
            main_out=np.tile(main, (rows, 1)),
            aux_out=np.full(rows, 0.9, np.float32),
            logits=np.tile(LOGITS, (rows, 1)),
            not_wbc=np.zeros(rows, np.float32),
            features=np.zeros((rows, 1), np.float32),
            cams=np.tile(cam.astype(np.float32), (rows, NUM_CLASSES, 1, 1)),
            model=IDENTITY,
        )


def main() -> None:
    """Serve, on one core where one is named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--core", type=int, help="number of the only processor core to use")
    core = parser.parse_args().core
    if core is not None:
        os.sched_setaffinity(0, {core})
    settings = Settings()
    serve(settings, build_services(settings, model_server=CannedModelServer()))


if __name__ == "__main__":
    main()
