"""What a gRPC status of a model server means in this project's errors: the one place that knows.

The words of the server stay in ``__cause__``: they may name addresses and paths, and our messages reach
callers.
"""

from typing import Final

import grpc

from orchestrator.errors import (
    ContractViolation,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
    WbcError,
)

RETRY_AFTER_S: Final = 1.0
"""When to come back to a server that has too much to do and does not say when it will have less."""

_QUEUE_FULL: Final = ("batch scheduling queue", "Exceeds maximum queue size")
"""Of TensorFlow Serving (shared_batch_scheduler.h) and of Triton (scheduler_utils.cc)."""

_UNKNOWN_LABEL: Final = "servable version label"
_MESSAGE_TOO_LARGE: Final = "larger than max"


def translated(error: grpc.aio.AioRpcError) -> WbcError:
    """Return what ``error`` is called in this project; to be raised ``from`` it."""
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.UNAVAILABLE:
        # A full queue has the code of a dead server; only its words tell them apart.
        if any(words in details for words in _QUEUE_FULL):
            return Overloaded("The queue of the model server is full.", RETRY_AFTER_S)
        return ModelServerUnavailable("The model server cannot be reached.")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        # gRPC itself says this of a message over the limits, which the contract makes large enough.
        if _MESSAGE_TOO_LARGE in details:
            return ContractViolation("The model server sent more than the contract has room for.")
        return Overloaded("The model server has too much to do.", RETRY_AFTER_S)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return ModelServerTimeout("The model server did not answer before the deadline.")
    if code is grpc.StatusCode.NOT_FOUND or _UNKNOWN_LABEL in details:
        return ModelServerUnavailable("The model server holds no such model, version or label.")
    if code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
        return ModelServerUnavailable("The model server does not let this service in.")
    if code is grpc.StatusCode.CANCELLED:
        return ModelServerUnavailable("The model server broke the request off.")
    if code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.UNIMPLEMENTED):
        return ContractViolation("The model server does not know what it was asked.")
    return ModelServerError("The model server failed on this request.")


def may_be_retried(error: BaseException) -> bool:
    """Whether ``error`` came of the status UNAVAILABLE, the one after which another attempt may help."""
    cause = error.__cause__
    return isinstance(cause, grpc.aio.AioRpcError) and cause.code() is grpc.StatusCode.UNAVAILABLE
