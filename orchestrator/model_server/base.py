"""The port to whatever runs the network.

One suite, ``tests/contract/model_server_suite.py``, runs against every implementation.
"""

from typing import Any, Protocol

from numpy.typing import NDArray

from orchestrator.domain import CellViews, Float32Array, ModelIdentity, Prediction, Question, ViewBatch
from orchestrator.errors import ContractViolation, ModelServerUnavailable
from orchestrator.model_contract import (
    GAIN,
    HEAD,
    IMAGE,
    IMAGES,
    LARGEST_KNOWN,
    LARGEST_UNKNOWN,
    MAX_BATCH_SIZE,
    MEASURES,
    MORPHOMETRY,
    NUM_CLASSES,
    NUM_VIEWS,
)


class CircuitOpen(ModelServerUnavailable):
    """The question was not asked, since those before it failed; see
    :mod:`orchestrator.common.circuit_breaker`."""


class ModelServer(Protocol):
    """Answers for views of an image, or for rows as they are, from many tasks of one event loop at once.

    ``start`` comes first and ``close`` last; both may be called again without effect. Between the two,
    every other method may be called at any time and never blocks the loop. A caller who is cancelled takes
    their question with them: what has not been begun for them is not begun.
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

    async def classify(self, question: Question) -> Prediction:
        """Return the class probabilities of each row; ``cams`` is None.

        Row i of the answer belongs to row i, or the i-th code, of ``question``.

        Raises:
            Overloaded: more rows wait than may; with the time after which to come back.
            ContractViolation: ``question`` is not as the contract has it, has no row, or has more than
                ``MAX_BATCH_SIZE`` rows.
            ModelServerUnavailable: the server is not started, is closed, or cannot be reached.
            ModelServerTimeout: it did not answer in time, at the latest by the
                :mod:`~orchestrator.common.deadline`.
            ModelServerError: the network failed on this batch; the server lives on.
        """

    async def explain(self, question: Question) -> Prediction:
        """Return what :meth:`classify` returns and ``cams``, the guided Grad-CAM of each class.

        Raises:
            WbcError: as :meth:`classify`.
        """


def check_question(question: Question, features: int | None = None) -> None:
    """Check a question before it is queued or sent; ``features`` is the model's number of them, where it is
    known.

    Raises:
        ContractViolation: dtype, shape or number of rows are not those of the contract.
    """
    if isinstance(question, CellViews):
        _check_cell(question, features)
    else:
        _check_rows(question, features)


def _check_cell(cell: CellViews, features: int | None) -> None:
    _check_array(IMAGE.name, cell.image, IMAGE.dtype, IMAGE.shape[1:])
    if not cell.codes or len(cell.codes) > NUM_VIEWS or not set(cell.codes) <= set(range(NUM_VIEWS)):
        raise ContractViolation(
            f"expected 1 to {NUM_VIEWS} codes from 0 to {NUM_VIEWS - 1}, received {list(cell.codes)}"
        )
    for name in MEASURES:
        value = getattr(cell.morphometry, name)
        if value is not None and not LARGEST_UNKNOWN < value <= LARGEST_KNOWN:
            raise ContractViolation(f"expected a {name} of a cell or none, received {value}")
    if cell.head is not None:
        _check_array(HEAD.name, cell.head, HEAD.dtype, (_head_rows(cell.head, features), NUM_CLASSES))


def _check_rows(views: ViewBatch, features: int | None) -> None:
    rows = len(views.images)
    if not 1 <= rows <= MAX_BATCH_SIZE:
        raise ContractViolation(f"expected 1 to {MAX_BATCH_SIZE} rows, received {rows}")
    for spec, array in ((IMAGES, views.images), (GAIN, views.gain), (MORPHOMETRY, views.morphometry)):
        if array is not None:
            _check_array(spec.name, array, spec.dtype, (rows, *spec.shape[1:]))
    if views.morphometry is not None and (views.morphometry > LARGEST_KNOWN).any():
        raise ContractViolation(f"expected {MORPHOMETRY.name} of at most {LARGEST_KNOWN:g}, or unknown")
    if views.head is not None:
        head = views.head
        expected = (rows, _head_rows(head[0] if head.ndim else head, features), NUM_CLASSES)
        _check_array(HEAD.name, head, HEAD.dtype, expected)


def _head_rows(head: Float32Array, features: int | None) -> int | None:
    """How many rows a head must have: as many as it has, where nobody knows."""
    if features is not None:
        return features + 1
    return len(head) if head.ndim else None


def _check_array(name: str, array: NDArray[Any], dtype: str, shape: tuple[int | None, ...]) -> None:
    if array.dtype != dtype or array.shape != shape:
        raise ContractViolation(
            f"expected {name} as {dtype}{list(shape)}, received {array.dtype}{list(array.shape)}"
        )
