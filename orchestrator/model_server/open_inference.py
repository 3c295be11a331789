"""The client of servers that speak the Open Inference Protocol, version 2, over gRPC: Triton, OpenVINO Model
Server, MLServer, KServe's.

The protocol knows no signatures; so two models stand for two signatures
(:data:`~orchestrator.model_contract.OPEN_MODELS`), and ``wbc-train onnx`` writes them.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import grpc
import numpy as np

from orchestrator.domain import Float32Array, ModelIdentity, Prediction, Question
from orchestrator.errors import ContractViolation
from orchestrator.model_contract import GAIN, MODEL_NAME, OPEN_MODELS, TensorSpec, open_signature
from orchestrator.model_server.call_observer import CallObserver, Method
from orchestrator.model_server.remote import RemoteModelServer, RemoteOptions
from orchestrator.model_server.served_signatures import Declared, Tensors, agreed_features, differences_of
from orchestrator.model_server.tensor_codec import content, received_array
from orchestrator.model_server.unary_call import called
from orchestrator.model_server.wire import (
    WhatAnswers,
    inputs_of,
    prediction_of,
    signature_of,
    wanted_outputs,
)
from orchestrator.observability.tracing import client_call
from orchestrator.protos.inference import open_inference_pb2 as pb

SERVER: Final = "open-inference"
"""What the identities of this client call its server."""

_SERVICE: Final = f"/{pb.DESCRIPTOR.services_by_name['GRPCInferenceService'].full_name}"
_INFER: Final = f"{_SERVICE}/ModelInfer"

_DATA_TYPES: Final = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}
_DTYPES: Final = {datatype: dtype for dtype, datatype in _DATA_TYPES.items()}


class OpenInferenceModelServer(RemoteModelServer):
    """Asks servers of the Open Inference Protocol; see :class:`~.remote.RemoteModelServer`.

    Raises:
        ValueError: a label is to answer, which the protocol does not know.
    """

    def __init__(self, options: RemoteOptions, *, observer: CallObserver | None = None) -> None:
        if options.version_label is not None:
            raise ValueError("expected no label: the Open Inference Protocol knows none")
        super().__init__(options, "the Open Inference server", OpenInferenceWire, observer=observer)


class OpenInferenceWire:
    """Speaks the Open Inference Protocol; see :class:`~.wire.Wire`."""

    def __init__(self, channel: grpc.aio.Channel, wanted: WhatAnswers) -> None:
        self._metadata = channel.unary_unary(f"{_SERVICE}/ModelMetadata")
        self._ready = channel.unary_unary(f"{_SERVICE}/ModelReady")
        self._infer = channel.unary_unary(_INFER)
        self._wanted = wanted
        self._version = "" if wanted.version is None else str(wanted.version)

    async def look(self) -> tuple[int, ModelIdentity]:
        """Ask for the metadata of both models, and compare them with the contract."""
        served: dict[str, Declared] = {}
        differences: list[str] = []
        versions: set[str] = set()
        for signature, model in OPEN_MODELS.items():
            request = pb.ModelMetadataRequest(name=model, version=self._version).SerializeToString()
            told = await called(self._metadata, request, pb.ModelMetadataResponse)
            served[signature] = _tensors(told.inputs), _tensors(told.outputs)
            differences += differences_of(f"model {model}", open_signature(signature), *served[signature])
            versions.add(self._version or max(told.versions, key=_number, default=""))
        features = agreed_features(served, differences)
        if len(versions) > 1:
            raise ContractViolation(f"expected one version of both models, received {sorted(versions)}")
        return features, self._identity_of(MODEL_NAME, MODEL_NAME, versions.pop())

    async def is_ready(self) -> bool:
        """Whether both models are ready."""
        for model in OPEN_MODELS.values():
            request = pb.ModelReadyRequest(name=model, version=self._version).SerializeToString()
            if not (await called(self._ready, request, pb.ModelReadyResponse)).ready:
                return False
        return True

    def request(self, method: Method, question: Question, features: int) -> bytes:
        """A ``ModelInferRequest``."""
        request = pb.ModelInferRequest(model_name=_model(question), model_version=self._version)
        for name, array in inputs_of(question, features, _filled).items():
            sent = array[:, np.newaxis] if name == GAIN.name else array
            request.inputs.add(name=name, datatype=_DATA_TYPES[sent.dtype.name], shape=sent.shape)
            request.raw_input_contents.append(content(sent).tobytes())
        for spec in wanted_outputs(method, question):
            request.outputs.add(name=spec.name)
        serialised: bytes = request.SerializeToString()
        return serialised

    async def ask(self, request: bytes, method: Method, question: Question, features: int) -> Prediction:
        """Return what ``ModelInfer`` answers."""
        with client_call(_INFER) as metadata:
            response = await called(self._infer, request, pb.ModelInferResponse, metadata)
        identity = self._identity_of(_model(question), response.model_name, response.model_version)
        raw = response.raw_output_contents or [b""] * len(response.outputs)
        if len(raw) != len(response.outputs):
            raise ContractViolation(f"expected {len(response.outputs)} raw outputs, received {len(raw)}")
        received = {
            tensor.name: _Received(tensor, data) for tensor, data in zip(response.outputs, raw, strict=True)
        }
        return prediction_of(received, _decoded, method, question, features, identity)

    def _identity_of(self, asked: str, name: str, version: str) -> ModelIdentity:
        number = int(version) if version.isdecimal() else None
        return self._wanted.identity(MODEL_NAME if name == asked else name, number, SERVER)


class _Received(NamedTuple):
    """A tensor of a reply, and its data where they stand apart."""

    tensor: pb.ModelInferResponse.InferOutputTensor
    raw: bytes


def _decoded(received: _Received, spec: TensorSpec, rows: int) -> Float32Array:
    tensor = received.tensor
    dtype = _DTYPES.get(tensor.datatype, tensor.datatype)
    return received_array(spec, rows, dtype, tuple(tensor.shape), received.raw, tensor.contents.fp32_contents)


def _model(question: Question) -> str:
    return OPEN_MODELS[signature_of(question)]


def _number(version: str) -> int:
    return int(version) if version.isdecimal() else -1


def _filled(value: float, shape: tuple[int, ...]) -> Float32Array:
    return np.full(shape, value, np.float32)


def _tensors(told: Sequence[pb.ModelMetadataResponse.TensorMetadata]) -> Tensors:
    return {
        tensor.name: (
            _DTYPES.get(tensor.datatype, tensor.datatype),
            tuple(None if size < 0 else size for size in tensor.shape),
        )
        for tensor in told
    }
