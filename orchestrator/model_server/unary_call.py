"""One call of a model server on the wire, with the deadline of the request and in our errors."""

import asyncio
from typing import TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from orchestrator.common.deadline import remaining_s
from orchestrator.errors import ContractViolation, ModelServerTimeout, ModelServerUnavailable
from orchestrator.model_server.grpc_errors import translated
from orchestrator.observability.tracing import Metadata

Reply = TypeVar("Reply", bound=Message)


async def called(
    method: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]",
    request: bytes,
    reply: type[Reply],
    metadata: Metadata | None = None,
) -> Reply:
    """Return the reply to ``request``. It goes as bytes and comes as bytes: what is asked several times is
    serialised once, and gRPC would answer None, with a note in the log, where a reply cannot be read.

    What is left of the deadline of the request travels with it, and cancelling the task cancels the call.

    Raises:
        WbcError: what became of it; nothing else is raised.
    """
    try:
        data = await method(request, timeout=require_time(), metadata=metadata)
    except grpc.aio.AioRpcError as error:
        raise translated(error) from error
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task and not task.cancelling():  # not this task was cancelled but the call, by the channel's end
            raise ModelServerUnavailable("The connection to the model server was closed.") from error
        raise
    except grpc.aio.UsageError as error:
        raise ModelServerUnavailable("The connection to the model server is closed.") from error
    message: Reply = reply()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise ContractViolation("The reply of the model server cannot be read.") from error
    return message


def require_time() -> float | None:
    """Return what is left until the deadline, in seconds; None where there is none.

    Raises:
        ModelServerTimeout: nothing is left.
    """
    left_s = remaining_s()
    if left_s is not None and left_s <= 0:
        raise ModelServerTimeout("There was no time left to ask the model server.")
    return left_s
