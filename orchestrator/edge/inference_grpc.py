"""The Open Inference Protocol, version 2, over gRPC: the models of ``/v2`` on the port of ``wbc.v1``.

Requests become the very questions that those over HTTP become (:mod:`~.open_inference.message`), in the frame
that every edge uses; calls go through what those of ``wbc.v1`` go through: access, traces, errors.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from orchestrator import __version__
from orchestrator.analyse import Services
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.needs import ANALYSE, OPEN, READ
from orchestrator.edge.admission import Admission, counted
from orchestrator.edge.draining import Draining
from orchestrator.edge.grpc.calls import Call, Method, Service
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.edge.open_inference.message import (
    MESSAGE_THREAD,
    Question,
    finite_outputs,
    images_of,
    parsed,
    question_of,
)
from orchestrator.edge.open_inference.models import (
    Inference,
    InferenceModel,
    inference_models,
    known_model,
)
from orchestrator.edge.open_inference.schemas import (
    SERVER_NAME,
    DataType,
    InferenceTooLarge,
    MalformedInference,
    RequestInput,
    TensorMetadata,
    UnknownModel,
)
from orchestrator.edge.open_inference.tensors import Array, bytes_array, from_binary, from_json, to_binary
from orchestrator.edge.readiness import require_readiness
from orchestrator.edge.request_frame import Deadlines, RequestFrame, within_deadline
from orchestrator.errors import ModelServerError
from orchestrator.protos.inference import open_inference_pb2 as pb

SERVICE: Final = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name

MODEL_INFER: Final = "grpc.ModelInfer"
"""Endpoint in the metrics."""

_CONTENTS: Final[Mapping[DataType, str]] = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


class InferenceGrpc:
    """The methods, bound to the services that they speak to."""

    def __init__(
        self, services: Services, admission: Admission, deadlines: Deadlines, draining: Draining
    ) -> None:
        self._model_server = services.model_server
        self._models = inference_models(services)
        self._frame = RequestFrame(services, admission)
        self._deadlines = deadlines
        self._draining = draining
        begin_at_zero(services.profiles, (MODEL_INFER,))

    def methods(self) -> list[Method[Any, Any]]:
        """All of them, with what they need."""
        return [
            Method("ServerLive", pb.ServerLiveRequest, OPEN, self.live),
            Method("ServerReady", pb.ServerReadyRequest, OPEN, self.ready),
            Method("ModelReady", pb.ModelReadyRequest, OPEN, self.model_ready),
            Method("ServerMetadata", pb.ServerMetadataRequest, READ, self.server),
            Method("ModelMetadata", pb.ModelMetadataRequest, READ, self.model),
            Method("ModelInfer", pb.ModelInferRequest, ANALYSE, self.infer),
        ]

    async def live(self, call: Call[Any, Any]) -> pb.ServerLiveResponse:
        """Whether this process runs."""
        await call.receive_one()
        return pb.ServerLiveResponse(live=True)

    async def ready(self, call: Call[Any, Any]) -> pb.ServerReadyResponse:
        """Whether inference requests would be answered now."""
        await call.receive_one()
        return pb.ServerReadyResponse(ready=await self._is_ready())

    async def model_ready(self, call: Call[pb.ModelReadyRequest, Any]) -> pb.ModelReadyResponse:
        """Whether a model, or a version of it, would answer now."""
        request = await call.receive_one()
        known_model(self._models, request.name)
        if not await self._is_ready():
            return pb.ModelReadyResponse(ready=False)
        await self._check_version(request.version)
        return pb.ModelReadyResponse(ready=True)

    async def server(self, call: Call[Any, Any]) -> pb.ServerMetadataResponse:
        """This server."""
        await call.receive_one()
        return pb.ServerMetadataResponse(name=SERVER_NAME, version=__version__)

    async def model(self, call: Call[pb.ModelMetadataRequest, Any]) -> pb.ModelMetadataResponse:
        """A model, or the version of it that is served."""
        request = await call.receive_one()
        model = known_model(self._models, request.name)
        version = await self._check_version(request.version)
        return pb.ModelMetadataResponse(
            name=model.name,
            versions=[version],
            platform=model.platform,
            inputs=map(_tensor, model.inputs),
            outputs=map(_tensor, model.outputs),
        )

    async def infer(self, call: Call[pb.ModelInferRequest, Any]) -> pb.ModelInferResponse:
        """Ask a model."""
        with counted(MODEL_INFER):

            async def read() -> tuple[pb.ModelInferRequest, InferenceModel, Question]:
                async with within_deadline():
                    request = await call.receive_one()
                    model = known_model(self._models, request.model_name)
                    if request.model_version:
                        await self._check_version(request.model_version)
                    if request.ByteSize() > model.max_body_bytes:
                        raise InferenceTooLarge(
                            f"The request is too large; at most {model.max_body_bytes} bytes are accepted."
                        )
                    return request, model, await run(MESSAGE_THREAD, _question, request, model)

            left_s = call.remaining_s()
            time_s = self._deadlines.seconds(None if left_s is None else round(max(0.0, left_s) * 1000))
            run = asyncio.get_running_loop().run_in_executor
            async with self._frame.begun(time_s, read, lambda sent: images_of(sent[1], sent[2])) as sent:
                request, model, question = sent
                inference = await model.infer(question.inputs, question.wanted.keys(), question.parameters)
                if request.model_version not in ("", str(inference.version)):  # another came a moment ago
                    raise _no_such_version()
                return await run(MESSAGE_THREAD, _answer, request.id, question, inference, model)

    async def _is_ready(self) -> bool:
        try:
            await require_readiness(self._model_server, self._draining)
        except ModelServerError:
            return False
        return True

    async def _check_version(self, version: str) -> str:
        """The version that is served; raises :class:`UnknownModel` where another is asked for."""
        served = str((await self._model_server.identity()).version)
        if version not in ("", served):
            raise _no_such_version()
        return served


def inference_service(
    services: Services, admission: Admission, deadlines: Deadlines, draining: Draining
) -> Service:
    """The service, for the server's list."""
    return Service(SERVICE, InferenceGrpc(services, admission, deadlines, draining).methods())


def _no_such_version() -> UnknownModel:
    return UnknownModel("This version of the model is not served.")


def _question(request: pb.ModelInferRequest, model: InferenceModel) -> Question:
    raw = list(request.raw_input_contents)
    if raw and len(raw) != len(request.inputs):
        raise MalformedInference(
            f"raw_input_contents: expected one for each of {len(request.inputs)} inputs, received {len(raw)}."
        )
    sent = iter(zip(request.inputs, raw or [None] * len(request.inputs), strict=True))

    def array_of(received: RequestInput, datatype: DataType) -> Array:
        tensor, data = next(sent)
        name, shape = received.name, received.shape
        if data is None:
            elements = list(getattr(tensor.contents, _CONTENTS[datatype]))
            if datatype != "BYTES":
                return from_json(elements, datatype, shape, name)
            if len(elements) != shape[0]:
                raise MalformedInference(f"{name}: expected {shape[0]} elements, received {len(elements)}.")
            return bytes_array(elements, shape)
        if tensor.HasField("contents"):
            raise MalformedInference(f"{name}: expected its data in contents or raw, not both.")
        return from_binary(memoryview(data), datatype, shape, name)

    return question_of(parsed(lambda: _document(request)), model, array_of)


def _document(request: pb.ModelInferRequest) -> dict[str, Any]:
    """The request without its data, as its JSON over HTTP would be."""
    return {
        "id": request.id,
        "parameters": _parameters(request.parameters),
        "inputs": [
            {
                "name": tensor.name,
                "datatype": tensor.datatype,
                "shape": list(tensor.shape),
                "parameters": _parameters(tensor.parameters),
            }
            for tensor in request.inputs
        ],
        "outputs": [
            {"name": output.name, "parameters": _parameters(output.parameters)} for output in request.outputs
        ],
    }


def _parameters(sent: Mapping[str, pb.InferParameter]) -> dict[str, Any]:
    chosen = {name: value.WhichOneof("parameter_choice") for name, value in sent.items()}
    return {name: getattr(sent[name], kind) for name, kind in chosen.items() if kind is not None}


def _answer(
    request_id: str, question: Question, inference: Inference, model: InferenceModel
) -> pb.ModelInferResponse:
    datatypes = {tensor.name: tensor.datatype for tensor in model.outputs}
    response = pb.ModelInferResponse(
        model_name=model.name,
        model_version=str(inference.version),
        id=request_id,
        parameters={"disclaimer": pb.InferParameter(string_param=DISCLAIMER)},
    )
    for name, array in finite_outputs(question, inference):
        response.outputs.add(name=name, datatype=datatypes[name], shape=array.shape)
        response.raw_output_contents.append(to_binary(array, datatypes[name]))
    return response


def _tensor(metadata: TensorMetadata) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(
        name=metadata.name, datatype=metadata.datatype, shape=metadata.shape
    )
