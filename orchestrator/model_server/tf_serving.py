"""The client of TensorFlow Serving, over gRPC."""

from typing import Final

import grpc
from google.protobuf.wrappers_pb2 import Int64Value

from orchestrator.domain import ModelIdentity, Prediction, Question
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.call_observer import CallObserver, Method
from orchestrator.model_server.predict_request import predict_request
from orchestrator.model_server.protos import serving_pb2
from orchestrator.model_server.remote import RemoteModelServer, RemoteOptions
from orchestrator.model_server.served_signatures import check_signatures
from orchestrator.model_server.serving_stub import ServingStub
from orchestrator.model_server.tensor_codec import filled, from_tensor
from orchestrator.model_server.wire import (
    WhatAnswers,
    inputs_of,
    prediction_of,
    signature_of,
    wanted_outputs,
)

SERVER: Final = "tf-serving"
"""What the identities of this client call its server."""


class TfServingModelServer(RemoteModelServer):
    """Asks TensorFlow Serving; see :class:`~.remote.RemoteModelServer`."""

    def __init__(self, options: RemoteOptions, *, observer: CallObserver | None = None) -> None:
        super().__init__(options, "TensorFlow Serving", TfServingWire, observer=observer)


class TfServingWire:
    """Speaks TensorFlow Serving's own protocol; see :class:`~.wire.Wire`."""

    def __init__(self, channel: grpc.aio.Channel, wanted: WhatAnswers) -> None:
        self._stub = ServingStub(channel)
        self._wanted = wanted

    async def look(self) -> tuple[int, ModelIdentity]:
        """Ask for the signatures, and compare them with the contract."""
        response = await self._stub.metadata(self._model_spec())
        return check_signatures(response), self._identity_of(response.model_spec)

    async def is_ready(self) -> bool:
        """Whether the version, or any, is loaded."""
        if self._wanted.label is not None:  # GetModelStatus knows no labels
            await self._stub.metadata(self._model_spec())
            return True
        versions = (await self._stub.status(self._model_spec())).model_version_status
        return any(version.state == serving_pb2.ModelVersionStatus.AVAILABLE for version in versions)

    def request(self, method: Method, question: Question, features: int) -> bytes:
        """A ``PredictRequest``."""
        outputs = [spec.name for spec in wanted_outputs(method, question)] if method == "classify" else ()
        inputs = inputs_of(question, features, filled)
        return predict_request(self._model_spec(signature_of(question)), inputs, outputs)

    async def ask(self, request: bytes, method: Method, question: Question, features: int) -> Prediction:
        """Return what ``Predict`` answers."""
        response = await self._stub.predict(request)
        identity = self._identity_of(response.model_spec)
        return prediction_of(response.outputs, from_tensor, method, question, features, identity)

    def _model_spec(self, signature: str = "") -> serving_pb2.ModelSpec:
        version = self._wanted.version
        return serving_pb2.ModelSpec(
            name=MODEL_NAME,
            signature_name=signature,
            version=None if version is None else Int64Value(value=version),
            version_label=self._wanted.label,
        )

    def _identity_of(self, spec: serving_pb2.ModelSpec) -> ModelIdentity:
        version = spec.version.value if spec.HasField("version") else None
        return self._wanted.identity(spec.name, version, SERVER)
