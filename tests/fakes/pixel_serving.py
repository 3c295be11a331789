"""A server that speaks TensorFlow Serving's protocol and answers from a checksum of the pixels.

So every answer can be checked for being the right one: it depends on each byte of its own rows, on the
version that answered, and on nothing else. There is no model, so that it is fast enough for tens of thousands
of requests.

As a process it listens on ``--port`` and takes commands, one a line, on its standard input:
``version N`` (another version is in service from now on) and ``delay SECONDS`` (of each answer).
"""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.wrappers_pb2 import Int64Value

from orchestrator.domain import CellViews, Float32Array, Question, UInt8Array, ViewBatch
from orchestrator.model_contract import (
    AUX_OUT,
    CAM_SIZE,
    CAMS,
    CODES,
    FEATURES,
    GAIN,
    HEAD,
    IMAGE,
    IMAGE_SIZE,
    IMAGES,
    LOGITS,
    MAIN_OUT,
    MODEL_NAME,
    NOT_WBC,
    NUM_CLASSES,
    NUM_VIEWS,
    SIGNATURES,
    VIEWS_SIGNATURE,
    TensorSpec,
)
from orchestrator.model_server.protos import serving_pb2, tensor_pb2
from orchestrator.model_server.tensor_codec import DATA_TYPES
from orchestrator.views import rows_of
from tests.fakes.tensors import to_tensor

NUM_FEATURES = 2

PROJECT_ROOT = Path(__file__).resolve().parents[2]


def expected_logits(question: Question, version: int) -> Float32Array:
    """What ``version`` answers for ``question``: float32 ``[N, 5]``, five bytes of a checksum of each row."""
    views = rows_of(question)
    seeds = [
        zlib.crc32(gain.tobytes(), zlib.crc32(image.tobytes(), version))
        for image, gain in zip(views.images, views.gain, strict=True)
    ]
    bits = np.array(seeds, np.uint64)[:, None] >> np.array([0, 6, 12, 18, 24], np.uint64)
    return (bits & np.uint64(63)).astype(np.float32) / np.float32(8)


def answer(question: Question, version: int) -> dict[str, Float32Array]:
    logits = expected_logits(question, version)
    exponentials = np.exp(logits)
    rows = len(question)
    return {
        LOGITS.name: logits,
        MAIN_OUT.name: (exponentials / exponentials.sum(axis=1, keepdims=True)).astype(np.float32),
        AUX_OUT.name: np.full((rows, 1), 0.5, np.float32),
        NOT_WBC.name: np.full((rows, 1), 0.25, np.float32),
        FEATURES.name: np.ones((rows, NUM_FEATURES), np.float32),
        CAMS.name: np.ones((rows, NUM_CLASSES, CAM_SIZE, CAM_SIZE), np.float32),
    }


class PixelServing:
    """The services, of one version at a time."""

    def __init__(self) -> None:
        self.version = 1
        self.delay_s = 0.0

    async def predict(self, request: serving_pb2.PredictRequest, _: Any) -> serving_pb2.PredictResponse:
        if self.delay_s:
            await asyncio.sleep(self.delay_s)
        version = self.version
        signature = request.model_spec.signature_name
        names = request.output_filter or [spec.name for spec in SIGNATURES[signature].outputs]
        outputs = _views(request, version) if signature == VIEWS_SIGNATURE else _rows(request, version)
        return serving_pb2.PredictResponse(
            model_spec=_spec(version, signature), outputs={name: to_tensor(outputs[name]) for name in names}
        )

    async def metadata(
        self, _request: serving_pb2.GetModelMetadataRequest, _: Any
    ) -> serving_pb2.GetModelMetadataResponse:
        signatures = serving_pb2.SignatureDefMap()
        for name, signature in SIGNATURES.items():
            definition = signatures.signature_def[name]
            for specs, described in (
                (signature.inputs, definition.inputs),
                (signature.outputs, definition.outputs),
            ):
                for spec in specs:
                    described[spec.name].CopyFrom(_info(spec))
        return serving_pb2.GetModelMetadataResponse(
            model_spec=_spec(self.version),
            metadata={"signature_def": AnyMessage(value=signatures.SerializeToString())},
        )

    async def status(
        self, _request: serving_pb2.GetModelStatusRequest, _: Any
    ) -> serving_pb2.GetModelStatusResponse:
        available = serving_pb2.ModelVersionStatus(
            version=self.version, state=serving_pb2.ModelVersionStatus.AVAILABLE
        )
        return serving_pb2.GetModelStatusResponse(model_version_status=[available])

    def obey(self, command: str) -> None:
        what, value = command.split()
        if what == "version":
            self.version = int(value)
        elif what == "delay":
            self.delay_s = float(value)
        else:
            raise ValueError(f"there is no command {what!r}")


def _pixels(tensor: tensor_pb2.TensorProto) -> UInt8Array:
    return np.frombuffer(tensor.tensor_content, np.uint8).reshape(-1, IMAGE_SIZE, IMAGE_SIZE, 3)


def _rows(request: serving_pb2.PredictRequest, version: int) -> dict[str, Float32Array]:
    gain = np.frombuffer(request.inputs[GAIN.name].tensor_content, np.float32)
    return answer(ViewBatch(_pixels(request.inputs[IMAGES.name]), gain), version)


def _views(request: serving_pb2.PredictRequest, version: int) -> dict[str, Float32Array]:
    """For one image; zeros where no view is wanted."""
    (image,) = _pixels(request.inputs[IMAGE.name])
    places = np.frombuffer(request.inputs[CODES.name].tensor_content, np.int32)
    wanted = np.flatnonzero(places >= 0)
    rows = answer(CellViews(image, tuple(places[wanted].tolist())), version)
    outputs = {name: np.zeros((1, NUM_VIEWS, *value.shape[1:]), np.float32) for name, value in rows.items()}
    for name, value in rows.items():
        outputs[name][0, wanted] = value
    return outputs


def _spec(version: int, signature: str = "") -> serving_pb2.ModelSpec:
    return serving_pb2.ModelSpec(name=MODEL_NAME, version=Int64Value(value=version), signature_name=signature)


def _info(spec: TensorSpec) -> serving_pb2.TensorInfo:
    free = NUM_FEATURES + 1 if spec is HEAD else NUM_FEATURES
    shape = (-1, *(free if size is None else size for size in spec.shape[1:]))
    dims = [tensor_pb2.TensorShapeProto.Dim(size=size) for size in shape]
    return serving_pb2.TensorInfo(
        name=spec.name,
        dtype=DATA_TYPES[spec.dtype],
        tensor_shape=tensor_pb2.TensorShapeProto(dim=dims),
    )


def handlers(serving: PixelServing) -> list[grpc.GenericRpcHandler]:
    def method(answer: Any, request: Any, response: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request.FromString,
            response_serializer=response.SerializeToString,
        )

    predict = method(serving.predict, serving_pb2.PredictRequest, serving_pb2.PredictResponse)
    metadata = method(
        serving.metadata, serving_pb2.GetModelMetadataRequest, serving_pb2.GetModelMetadataResponse
    )
    status = method(serving.status, serving_pb2.GetModelStatusRequest, serving_pb2.GetModelStatusResponse)
    return [
        grpc.method_handlers_generic_handler(
            "tensorflow.serving.PredictionService", {"Predict": predict, "GetModelMetadata": metadata}
        ),
        grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": status}),
    ]


async def _serve(port: int, version: int) -> None:
    serving = PixelServing()
    serving.version = version
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", 32 * 2**20), ("grpc.so_reuseport", 0)]
    )
    server.add_generic_rpc_handlers(handlers(serving))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while command := await commands.readline():
        serving.obey(command.decode())
    await server.stop(grace=None)


class PixelServingProcess:
    """The server as a process of its own, which may be killed and started again on its port."""

    def __init__(self, port: int, version: int = 1) -> None:
        self.port = port
        self.version = version
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it listens."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", __spec__.name, "--port", str(self.port), "--version", str(self.version)],
            cwd=PROJECT_ROOT,
            env=os.environ | {"PYTHONPATH": str(PROJECT_ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != "ready\n":
            raise RuntimeError("the server did not become ready")

    def tell(self, command: str) -> None:
        """Give it a command."""
        assert self._process is not None
        assert self._process.stdin is not None
        if command.startswith("version"):
            self.version = int(command.split()[1])
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """End it as a crash does: whatever is under way is lost."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):
                        pipe.close()
            self._process = None


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--version", type=int, default=1)
    chosen = parser.parse_args()
    asyncio.run(_serve(chosen.port, chosen.version))
