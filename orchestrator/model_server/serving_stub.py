"""The three calls that the client makes, with the deadline of the request and in our errors."""

import asyncio
from typing import Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message

from orchestrator.common.deadline import remaining_s
from orchestrator.errors import ContractViolation, ModelServerTimeout, ModelServerUnavailable
from orchestrator.model_server.grpc_errors import translated
from orchestrator.model_server.protos import serving_pb2
from orchestrator.model_server.served_signatures import METADATA_FIELD
from orchestrator.observability.tracing import Metadata, client_call

Reply = TypeVar("Reply", bound=Message)

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"


class ServingStub:
    """Calls over ``channel``, by the official paths and with our own messages.

    What is left of the deadline of the request travels with each call, and cancelling the task cancels the
    call. Every method raises :class:`~orchestrator.errors.WbcError` alone.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        # Bytes in and out: what is asked several times is serialised once, and gRPC would answer None, with a
        # note in the log, where a reply cannot be read.
        self._predict = channel.unary_unary(PREDICT)
        self._get_model_metadata = channel.unary_unary(GET_MODEL_METADATA)
        self._get_model_status = channel.unary_unary(GET_MODEL_STATUS)

    async def predict(self, request: bytes) -> serving_pb2.PredictResponse:
        """Run a signature; ``request`` is a serialised ``PredictRequest``."""
        with client_call(PREDICT) as metadata:
            return await _called(self._predict, request, serving_pb2.PredictResponse, metadata)

    async def metadata(self, model: serving_pb2.ModelSpec) -> serving_pb2.GetModelMetadataResponse:
        """Ask for the signatures of a model."""
        request = serving_pb2.GetModelMetadataRequest(model_spec=model, metadata_field=[METADATA_FIELD])
        return await _called(
            self._get_model_metadata, request.SerializeToString(), serving_pb2.GetModelMetadataResponse
        )

    async def status(self, model: serving_pb2.ModelSpec) -> serving_pb2.GetModelStatusResponse:
        """Ask for the state of a version, or of all where ``model`` names none; labels are not looked at."""
        request = serving_pb2.GetModelStatusRequest(model_spec=model)
        return await _called(
            self._get_model_status, request.SerializeToString(), serving_pb2.GetModelStatusResponse
        )

    async def close(self) -> None:
        """Close the channel; what is under way fails."""
        await self._channel.close()


async def _called(
    method: "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]",
    request: bytes,
    reply: type[Reply],
    metadata: Metadata | None = None,
) -> Reply:
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
