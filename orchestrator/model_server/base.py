"""The port to whatever runs the network.

One suite, ``tests/contract/model_server_suite.py``, runs against every implementation.
"""

from typing import Protocol

from orchestrator.domain import ModelIdentity, Prediction, ViewBatch
from orchestrator.errors import ContractViolation, ModelServerUnavailable
from orchestrator.model_contract import GAIN, IMAGES, MAX_BATCH_SIZE, TensorSpec


class CircuitOpen(ModelServerUnavailable):
    """The question was not asked, since those before it failed; see :mod:`orchestrator.circuit_breaker`."""


class ModelServer(Protocol):
    """Answers for batches of views, from many tasks of one event loop at once.

    ``start`` comes first and ``close`` last; both may be called again without effect. Between the two,
    every other method may be called at any time and never blocks the loop. A caller who is cancelled takes
    his question with him: what has not been begun for him is not begun.
    """

    async def start(self) -> None:
        """Load or reach the model, check it against the contract and warm it up.

        Raises:
            ModelServerUnavailable: there is no model, or it cannot be read or reached.
            ContractViolation: the model is not the one of :mod:`orchestrator.model_contract`.
        """

    async def close(self) -> None:
        """Answer what was accepted, refuse what comes after, and let the model go."""

    async def ready(self) -> bool:
        """Whether a request would be answered now. Never raises."""

    async def identity(self) -> ModelIdentity:
        """Return the name, version and hash of the model that answers.

        Raises:
            ModelServerUnavailable: no model is loaded.
        """

    async def classify(self, views: ViewBatch) -> Prediction:
        """Return the class probabilities of each row; ``cams`` is None.

        Row i of the answer belongs to row i of ``views``.

        Raises:
            Overloaded: more rows wait than may; with the time after which to come back.
            ContractViolation: ``views`` is not as the contract has it, has no row, or has more than
                ``MAX_BATCH_SIZE`` rows.
            ModelServerUnavailable: the server is not started, is closed, or cannot be reached.
            ModelServerTimeout: it did not answer in time, at the latest by :mod:`orchestrator.deadline`.
            ModelServerError: the network failed on this batch; the server lives on.
        """

    async def explain(self, views: ViewBatch) -> Prediction:
        """Return what :meth:`classify` returns and ``cams``, the guided Grad-CAM of each class.

        Raises:
            WbcError: as :meth:`classify`.
        """


def check_views(views: ViewBatch) -> None:
    """Check a batch before it is queued or sent.

    Raises:
        ContractViolation: dtype, shape or number of rows are not those of the contract.
    """
    rows = len(views.images)
    if not 1 <= rows <= MAX_BATCH_SIZE:
        raise ContractViolation(f"expected 1 to {MAX_BATCH_SIZE} rows, received {rows}")
    for spec, array in ((IMAGES, views.images), (GAIN, views.gain)):
        expected = (rows, *spec.shape[1:])
        if array.dtype != spec.dtype or array.shape != expected:
            raise ContractViolation(
                f"expected {_described(spec, expected)}, received {array.dtype}{list(array.shape)}"
            )


def _described(spec: TensorSpec, shape: tuple[int | None, ...]) -> str:
    return f"{spec.name} as {spec.dtype}{list(shape)}"
