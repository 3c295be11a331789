"""A server of the Open Inference Protocol that runs the signatures of a SavedModel with TensorFlow, as the
ONNX of ``wbc-train onnx`` has them.

It speaks the messages of this project: Triton's, of the same names, cannot be in one process with them. A
test with Triton's own client holds the messages to the protocol (``test_open_inference_grpc``), and MLServer,
which others wrote, is asked in ``test_mlserver``.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn, Self

import grpc
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from orchestrator.model_contract import GAIN, OPEN_MODELS
from orchestrator.protos.inference import open_inference_pb2 as pb

_SERVICE = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_TYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


class OpenInferenceServer:
    """Serves ``versions``, number to folder, of both models; what it does wrong is what a test sets.

    It answers in ``raw_output_contents``, or in typed fields where ``raw`` is not set.
    """

    def __init__(self, versions: Mapping[int, Path]) -> None:
        self._saved = {number: tf.saved_model.load(str(path)) for number, path in versions.items()}
        self._one_at_a_time = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Work without faults."""
        self.raw = True
        self.ready = True
        self.asked: list[str] = []
        self.failures: list[tuple[grpc.StatusCode, str]] = []
        self.alter_metadata: Callable[[Any], None] = _as_it_is
        self.alter_reply: Callable[[Any], None] = _as_it_is

    def __enter__(self) -> Self:
        self._server = grpc.server(
            ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", 64 * 2**20)]
        )
        handlers = {
            method.name: grpc.unary_unary_rpc_method_handler(
                getattr(self, method.name),
                request_deserializer=getattr(pb, method.input_type.name).FromString,
                response_serializer=getattr(pb, method.output_type.name).SerializeToString,
            )
            for method in _SERVICE.methods
            if hasattr(self, method.name)
        }
        self._server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers)]
        )
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop(grace=None).wait()

    def ModelReady(self, request: Any, context: grpc.ServicerContext) -> Any:
        self._find(request.name, request.version, context)
        return pb.ModelReadyResponse(ready=self.ready)

    def ModelMetadata(self, request: Any, context: grpc.ServicerContext) -> Any:
        _, function = self._find(request.name, request.version, context)
        told = pb.ModelMetadataResponse(name=request.name, versions=map(str, self._saved))
        for tensors, specs in (
            (told.inputs, function.structured_input_signature[1]),
            (told.outputs, function.structured_outputs),
        ):
            for name, spec in specs.items():
                shape = [-1 if size is None else size for size in spec.shape]
                shape += [1] if name == GAIN.name else []
                tensors.add(name=name, datatype=_TYPES[spec.dtype.name], shape=shape)
        self.alter_metadata(told)
        return told

    def ModelInfer(self, request: Any, context: grpc.ServicerContext) -> Any:
        self.asked.append(request.model_name)
        if self.failures:
            context.abort(*self.failures.pop(0))
        version, function = self._find(request.model_name, request.model_version, context)
        with self._one_at_a_time:
            outputs = function(**{name: tf.constant(array) for name, array in _inputs(request).items()})
        reply = pb.ModelInferResponse(model_name=request.model_name, model_version=str(version))
        for wanted in request.outputs:
            array = outputs[wanted.name].numpy()
            tensor = reply.outputs.add(name=wanted.name, datatype="FP32", shape=array.shape)
            if self.raw:
                reply.raw_output_contents.append(array.tobytes())
            else:
                tensor.contents.fp32_contents.extend(array.ravel().tolist())
        self.alter_reply(reply)
        return reply

    def _find(self, model: str, version: str, context: grpc.ServicerContext) -> tuple[int, Any]:
        number = int(version) if version else max(self._saved)
        signature = {name: signature for signature, name in OPEN_MODELS.items()}.get(model)
        if signature is None or number not in self._saved:
            _unknown(context, model)
        return number, self._saved[number].signatures[signature]


def _inputs(request: Any) -> dict[str, NDArray[Any]]:
    dtypes = {datatype: dtype for dtype, datatype in _TYPES.items()}
    arrays = {
        tensor.name: np.frombuffer(data, dtypes[tensor.datatype]).reshape(tensor.shape)
        for tensor, data in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    if GAIN.name in arrays:
        arrays[GAIN.name] = arrays[GAIN.name][:, 0]
    return arrays


def _as_it_is(_: Any) -> None:
    pass


def _unknown(context: grpc.ServicerContext, model: str) -> NoReturn:
    context.abort(grpc.StatusCode.NOT_FOUND, f"Request for unknown model: '{model}' is not found")
    raise AssertionError("abort raises")
