"""What is spoken with one server: questions to bytes, and replies to answers; one class for each protocol.

What surrounds a call (deadline, retries, hedging, circuit breakers) is the same for all: :mod:`~.remote`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import CellViews, Float32Array, ModelIdentity, Prediction, Question
from orchestrator.errors import ContractViolation
from orchestrator.model_contract import (
    AUX_OUT,
    CAMS,
    CODES,
    FEATURES,
    GAIN,
    HEAD,
    IMAGE,
    IMAGES,
    LOGITS,
    MAIN_OUT,
    MEASURES,
    MODEL_NAME,
    MORPHOMETRY,
    NO_VIEW,
    NOT_WBC,
    NUM_CLASSES,
    NUM_VIEWS,
    ROWS_SIGNATURE,
    SIGNATURES,
    UNKNOWN,
    VIEWS_SIGNATURE,
    TensorSpec,
)
from orchestrator.model_server.call_observer import Method

Tensor = TypeVar("Tensor")


@dataclass(frozen=True, slots=True)
class WhatAnswers:
    """The version that is to answer, or what has this label; the newest where neither is named. ``sha256`` is
    that of the files of each version that may, where any is known."""

    version: int | None = None
    label: str | None = None
    sha256: Mapping[int, str] | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.label is not None:
            raise ValueError("expected a version or a label, received both")

    def __str__(self) -> str:
        if self.label is not None:
            return f"{MODEL_NAME} labelled {self.label!r}"
        return MODEL_NAME if self.version is None else f"{MODEL_NAME} version {self.version}"

    def identity(self, name: str, version: int | None, server: str) -> ModelIdentity:
        """Whose answer one is that names ``name`` and ``version``. No server tells of its files: the hash is
        that which was checked before it started, and None where none was.

        Raises:
            ContractViolation: the reply does not say, it is not what was asked for, or nobody checked the
                files of its version.
        """
        if name != MODEL_NAME or version is None or self.version not in (None, version):
            raise ContractViolation(
                f"expected an answer of {self}, received one of "
                f"{name or 'no name'} version {'unknown' if version is None else version}"
            )
        known = self.sha256 or {}
        if known and version not in known:
            raise ContractViolation(
                f"expected a version whose files are known ({', '.join(map(str, sorted(known)))}), "
                f"received version {version}"
            )
        return ModelIdentity(MODEL_NAME, version, known.get(version), server)


class Wire(Protocol):
    """One line to one server. Every coroutine raises :class:`~orchestrator.errors.WbcError` alone."""

    async def look(self) -> tuple[int, ModelIdentity]:
        """Return the number of the model's features, and what answers.

        Raises:
            ContractViolation: the model is not that of the contract.
        """

    async def is_ready(self) -> bool:
        """Whether what is wanted is loaded."""

    def request(self, method: Method, question: Question, features: int) -> bytes:
        """The request as it goes over the wire; made once, however often it is sent."""

    async def ask(self, request: bytes, method: Method, question: Question, features: int) -> Prediction:
        """Return the answer to ``request``, which :meth:`request` made of the other arguments."""


def signature_of(question: Question) -> str:
    """The signature that answers ``question``."""
    return VIEWS_SIGNATURE if isinstance(question, CellViews) else ROWS_SIGNATURE


def wanted_outputs(method: Method, question: Question) -> list[TensorSpec]:
    """What is asked for, in the order of the signature."""
    outputs = SIGNATURES[signature_of(question)].outputs
    return [spec for spec in outputs if method == "explain" or spec.name != CAMS.name]


def inputs_of(
    question: Question, features: int, filled: Callable[[float, tuple[int, ...]], Tensor]
) -> dict[str, NDArray[Any] | Tensor]:
    """The inputs of the signature by name; ``filled`` makes those that hold one value everywhere."""
    inputs: dict[str, NDArray[Any] | Tensor]
    if isinstance(question, CellViews):
        rows, head = 1, question.head
        codes = np.full((1, NUM_VIEWS), NO_VIEW, np.int32)
        codes[0, : len(question.codes)] = question.codes
        inputs = {IMAGE.name: question.image[np.newaxis], CODES.name: codes}
        morphometry: Float32Array | None = question.morphometry.places()[np.newaxis]
        heads = None if head is None else head[np.newaxis]
    else:
        rows, morphometry, heads = len(question), question.morphometry, question.head
        inputs = {IMAGES.name: question.images, GAIN.name: question.gain}
    return {
        **inputs,
        MORPHOMETRY.name: filled(UNKNOWN, (rows, len(MEASURES))) if morphometry is None else morphometry,
        HEAD.name: filled(0.0, (rows, features + 1, NUM_CLASSES)) if heads is None else heads,
    }


def prediction_of(
    received: Mapping[str, Tensor],
    decoded: Callable[[Tensor, TensorSpec, int], Float32Array],
    method: Method,
    question: Question,
    features: int,
    identity: ModelIdentity,
) -> Prediction:
    """The answer to ``question`` from the tensors of a reply, of which ``decoded`` makes arrays as
    :func:`~.tensor_codec.from_tensor` does.

    Raises:
        ContractViolation: one is missing, or is not as the contract has it.
    """
    arrays: dict[str, Float32Array] = {}
    for spec in SIGNATURES[ROWS_SIGNATURE].outputs:
        if method == "classify" and spec is CAMS:
            continue
        if spec.name not in received:
            raise ContractViolation(f"expected the output {spec.name}, received none of this name")
        sized = replace(spec, shape=(None, features)) if spec is FEATURES else spec
        if isinstance(question, CellViews):
            values = decoded(received[spec.name], sized.with_places(NUM_VIEWS), 1)[0, : len(question)]
        else:
            values = decoded(received[spec.name], sized, len(question))
        arrays[spec.name] = values
    return Prediction(
        main_out=arrays[MAIN_OUT.name],
        aux_out=arrays[AUX_OUT.name][:, 0],
        logits=arrays[LOGITS.name],
        not_wbc=arrays[NOT_WBC.name][:, 0],
        features=arrays[FEATURES.name],
        cams=arrays.get(CAMS.name),
        model=identity,
    )
