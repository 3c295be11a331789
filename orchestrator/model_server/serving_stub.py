"""The three calls of TensorFlow Serving that the client makes."""

from typing import Final

import grpc

from orchestrator.model_server.protos import serving_pb2
from orchestrator.model_server.served_signatures import METADATA_FIELD
from orchestrator.model_server.unary_call import called
from orchestrator.observability.tracing import client_call

PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GET_MODEL_METADATA: Final = "/tensorflow.serving.PredictionService/GetModelMetadata"
GET_MODEL_STATUS: Final = "/tensorflow.serving.ModelService/GetModelStatus"


class ServingStub:
    """Calls over ``channel``, by the official paths and with our own messages.

    Every method is a call as :func:`~.unary_call.called` makes it.
    """

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._channel = channel
        self._predict = channel.unary_unary(PREDICT)
        self._get_model_metadata = channel.unary_unary(GET_MODEL_METADATA)
        self._get_model_status = channel.unary_unary(GET_MODEL_STATUS)

    async def predict(self, request: bytes) -> serving_pb2.PredictResponse:
        """Run a signature; ``request`` is a serialised ``PredictRequest``."""
        with client_call(PREDICT) as metadata:
            return await called(self._predict, request, serving_pb2.PredictResponse, metadata)

    async def metadata(self, model: serving_pb2.ModelSpec) -> serving_pb2.GetModelMetadataResponse:
        """Ask for the signatures of a model."""
        request = serving_pb2.GetModelMetadataRequest(model_spec=model, metadata_field=[METADATA_FIELD])
        return await called(
            self._get_model_metadata, request.SerializeToString(), serving_pb2.GetModelMetadataResponse
        )

    async def status(self, model: serving_pb2.ModelSpec) -> serving_pb2.GetModelStatusResponse:
        """Ask for the state of a version, or of all where ``model`` names none; labels are not looked at."""
        request = serving_pb2.GetModelStatusRequest(model_spec=model)
        return await called(
            self._get_model_status, request.SerializeToString(), serving_pb2.GetModelStatusResponse
        )

    async def close(self) -> None:
        """Close the channel; what is under way fails."""
        await self._channel.close()
