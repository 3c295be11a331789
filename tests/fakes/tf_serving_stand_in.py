"""A stand-in for TensorFlow Serving, on the official stubs and over a real SavedModel in TensorFlow.

It answers Predict, GetModelMetadata and GetModelStatus with the semantics of the server as far as a client
can see them: batching for each signature, versions and labels, UNAVAILABLE where a queue is full, replies in
typed fields unless told otherwise. What goes wrong on command stands in :class:`Faults`.

In a test::

    with StandIn(model_dir) as server:
        client = TfServingModelServer(RemoteOptions(server.target))

As a process, until SIGINT (SIGTERM it ignores, as the real one does)::

    python -m tests.fakes.tf_serving_stand_in --model-dir model_repository/wbc --port 8500 --rest-port 8501
    curl localhost:8501/monitoring/prometheus/metrics
    curl -d '{"delay_s": 0.5, "unavailable_share": 0.1}' localhost:8501/faults
"""

import argparse
import json
import os
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn, Self

# Before the first import of TensorFlow.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import grpc
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from tests.fakes.batch_scheduler import Arrays, BatchingParameters, BatchScheduler, QueueFull, TaskTooLarge
from tests.fakes.serving_metrics import ServingMetrics

State = get_model_status_pb2.ModelVersionStatus
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
LONGEST_S = 60.0
"""What a call without a deadline may take."""
BATCHING = BatchingParameters()


@dataclass
class Faults:
    """What goes wrong; may be changed at any time."""

    delay_s: float = 0.0
    """Every Predict waits that long before it is queued."""
    slow_share: float = 1.0
    """Of the calls, at random, that ``delay_s`` delays."""
    next_delays_s: list[float] = field(default_factory=list)
    """The next calls of Predict wait so long instead, one each."""
    unavailable_share: float = 0.0
    """Of the calls, at random, that are answered UNAVAILABLE."""
    next_failures: list[tuple[grpc.StatusCode, str]] = field(default_factory=list)
    """The next calls of Predict fail so, one each."""
    alter_reply: Callable[[predict_pb2.PredictResponse], None] | None = None
    """Changes a reply before it is sent."""
    alter_signatures: Callable[[get_model_metadata_pb2.SignatureDefMap], None] | None = None


@dataclass(frozen=True)
class Seen:
    """A Predict that arrived."""

    signature: str
    rows: int
    size_bytes: int
    remaining_s: float
    metadata: Mapping[str, str]


class Aborted(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class _Version:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.saved_model = tf.saved_model.load(str(directory))
        self.functions = self.saved_model.signatures
        message = saved_model_pb2.SavedModel()
        message.ParseFromString((directory / "saved_model.pb").read_bytes())
        self.signature_def = message.meta_graphs[0].signature_def


class StandIn:
    """A server over the versions in ``model_dir``, the newest where ``versions`` is None.

    Args:
        model_dir: ``<repository>/wbc``.
        port: of its gRPC; a free one where 0. It keeps it when it is stopped and started again.
        rest_port: of metrics and commands; none where None, a free one where 0.
        tensor_content: replies in ``tensor_content`` in place of typed fields.
        warm_up: replays the warm-up records before a version is available.
        credentials: plain text where None.
    """

    def __init__(
        self,
        model_dir: Path,
        *,
        versions: Sequence[int] | None = None,
        labels: Mapping[str, int] | None = None,
        batching: BatchingParameters = BATCHING,
        port: int = 0,
        rest_port: int | None = None,
        host: str = "127.0.0.1",
        tensor_content: bool = False,
        warm_up: bool = False,
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        self.model_dir = model_dir
        self.model_name = model_dir.name
        self.labels = dict(labels or {})
        self.tensor_content = tensor_content
        self.faults = Faults()
        self.metrics = ServingMetrics()
        self.seen: list[Seen] = []
        self.broken_off = 0
        """Calls of Predict that ended before their answer: cancelled by the client, or out of time."""
        self._warm_up = warm_up
        self._batching = batching
        self._credentials = credentials
        self._host = host
        self.port = port
        self.rest_port = rest_port
        self.states: dict[int, int] = {}
        self._versions: dict[int, _Version] = {}
        self._scheduler: BatchScheduler | None = None
        self._server: grpc.Server | None = None
        self._http: ThreadingHTTPServer | None = None
        self._stopping = threading.Event()
        found = sorted(int(path.name) for path in model_dir.iterdir() if path.name.isdecimal())
        for version in versions or found[-1:]:
            self.load(version)

    @property
    def target(self) -> str:
        return f"{self._host}:{self.port}"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Self:
        """Listen, as the real server does, only after the first models are loaded; twice is once."""
        if self._server is not None:
            return self
        self._stopping.clear()
        self._scheduler = BatchScheduler(self._batching, self._run, self.metrics.batching)
        server = grpc.server(
            ThreadPoolExecutor(64, thread_name_prefix="grpc"),
            options=[
                ("grpc.max_receive_message_length", -1),
                ("grpc.max_send_message_length", -1),
                ("grpc.so_reuseport", 0),  # two servers on one port would hide a mistake of a test
            ],
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_PredictionService(self), server)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_ModelService(self), server)
        address = f"{self._host}:{self.port}"
        if self._credentials is None:
            self.port = server.add_insecure_port(address)
        else:
            self.port = server.add_secure_port(address, self._credentials)
        server.start()
        self._server = server
        if self.rest_port is not None:
            self._http = ThreadingHTTPServer((self._host, self.rest_port), _rest_handler(self))
            self._http.daemon_threads = True
            self.rest_port = self._http.server_address[1]
            threading.Thread(target=self._http.serve_forever, name="rest", daemon=True).start()
        return self

    def stop(self, grace_s: float | None = None) -> None:
        """End; calls under way fail unless they end within ``grace_s``. The models stay loaded."""
        if self._server is None or self._scheduler is None:
            return
        stopped = self._server.stop(grace_s)
        if grace_s is None:
            self._stopping.set()
        stopped.wait()
        self._stopping.set()
        self._scheduler.close()
        self._server = self._scheduler = None
        if self._http:
            self._http.shutdown()
            self._http.server_close()
            self._http = None

    def load(self, version: int, directory: Path | None = None) -> None:
        """Make ``version`` available, from ``directory`` where it is not in the model's own."""
        directory = directory or self.model_dir / str(version)
        path = str(directory)
        self.states[version] = State.LOADING
        begun_s = time.monotonic()
        loaded = _Version(directory)
        took_us = (time.monotonic() - begun_s) * 1e6
        self.metrics.count(":tensorflow:cc:saved_model:load_attempt_count", path, "success")
        self.metrics.count(":tensorflow:cc:saved_model:load_latency", path, by=took_us)
        self.metrics.observe(
            ":tensorflow:cc:saved_model:load_latency_by_stage", took_us, path, "restore_graph"
        )
        if self._warm_up:
            begun_s = time.monotonic()
            for request in warmup_requests(directory):
                inputs = {name: tf.make_ndarray(tensor) for name, tensor in request.inputs.items()}
                _called(loaded, request.model_spec.signature_name, inputs)
            self.metrics.observe(
                ":tensorflow:serving:model_warmup_latency", (time.monotonic() - begun_s) * 1e6, path, "OK"
            )
        self._versions[version] = loaded
        self.states[version] = State.AVAILABLE

    def unload(self, version: int) -> None:
        self.states[version] = State.END
        del self._versions[version]
        self.labels = {label: labelled for label, labelled in self.labels.items() if labelled != version}

    def set_label(self, label: str, version: int) -> None:
        """Labels go to versions that are loaded, as the server insists."""
        assert version in self._versions, f"version {version} is not loaded"
        self.labels[label] = version

    def find(self, spec: model_pb2.ModelSpec) -> tuple[int, _Version]:
        choice = spec.WhichOneof("version_choice")
        if choice == "version_label":
            if spec.version_label not in self.labels:
                raise Aborted(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    f"Unrecognized servable version label: {spec.version_label}",
                )
            wanted, described = self.labels[spec.version_label], f"Specific({spec.name}, ...)"
        elif choice == "version":
            wanted, described = spec.version.value, f"Specific({spec.name}, {spec.version.value})"
        else:
            wanted, described = max(self._versions, default=-1), f"Latest({spec.name})"
        version = self._versions.get(wanted)
        if spec.name != self.model_name or version is None:
            raise Aborted(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {described}")
        return wanted, version

    def predict(
        self, request: predict_pb2.PredictRequest, remaining_s: float, metadata: Mapping[str, str]
    ) -> predict_pb2.PredictResponse:
        rows = next((t.tensor_shape.dim[0].size for t in request.inputs.values() if t.tensor_shape.dim), 0)
        signature = request.model_spec.signature_name or "serving_default"
        self.seen.append(Seen(signature, rows, request.ByteSize(), remaining_s, metadata))
        faults, ends_at_s = self.faults, time.monotonic() + remaining_s
        slow = random.random() < faults.slow_share
        delay_s = faults.next_delays_s.pop(0) if faults.next_delays_s else faults.delay_s * slow
        self._stopping.wait(min(delay_s, remaining_s))
        if faults.next_failures:
            raise Aborted(*faults.next_failures.pop(0))
        if random.random() < faults.unavailable_share:
            raise Aborted(grpc.StatusCode.UNAVAILABLE, "on command")
        number, version = self.find(request.model_spec)
        if signature not in version.functions:
            raise Aborted(
                grpc.StatusCode.INVALID_ARGUMENT,
                f'Serving signature name: "{signature}" not found in signature def',
            )
        inputs = _inputs(request, version, signature)
        if self._scheduler is None:
            raise Aborted(grpc.StatusCode.UNAVAILABLE, "stopping")
        try:
            outputs = self._scheduler.submit((number, signature), inputs, ends_at_s).result(
                timeout=max(0.0, ends_at_s - time.monotonic())
            )
        except QueueFull as error:
            raise Aborted(grpc.StatusCode.UNAVAILABLE, str(error)) from error
        except TaskTooLarge as error:
            raise Aborted(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        except TimeoutError as error:
            raise Aborted(grpc.StatusCode.DEADLINE_EXCEEDED, "Timed out waiting for the batch") from error
        except tf.errors.OpError as error:
            raise Aborted(grpc.StatusCode.INVALID_ARGUMENT, error.message) from error
        chosen = request.output_filter or outputs
        response = predict_pb2.PredictResponse(
            model_spec=_answered_by(self.model_name, number, signature),
            outputs={name: self._tensor(outputs[name]) for name in chosen},
        )
        if faults.alter_reply:
            faults.alter_reply(response)
        return response

    def _tensor(self, array: np.ndarray) -> Any:
        if self.tensor_content:
            return tf.make_tensor_proto(array)  # writes tensor_content for more than one element
        tensor = tf.make_tensor_proto(0.0, shape=())
        tensor.Clear()
        tensor.dtype = tf.as_dtype(array.dtype).as_datatype_enum
        tensor.tensor_shape.CopyFrom(tf.TensorShape(array.shape).as_proto())
        assert array.dtype == np.float32
        tensor.float_val.extend(array.ravel().tolist())
        return tensor

    def _run(self, key: Hashable, inputs: Arrays) -> Arrays:
        assert isinstance(key, tuple)
        number, signature = key
        version = self._versions.get(number)
        if version is None:  # unloaded while it was queued; the real server waits for it to end
            raise Aborted(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
        begun_s = time.monotonic()
        outputs = _called(version, signature, inputs)
        took_us = (time.monotonic() - begun_s) * 1e6
        self.metrics.count(":tensorflow:serving:batching_session:wrapped_run_count")
        self.metrics.count(":tensorflow:core:graph_runs")
        self.metrics.count(":tensorflow:core:graph_run_time_usecs", by=took_us)
        self.metrics.observe(
            ":tensorflow:serving:runtime_latency", took_us, self.model_name, "Predict", "TF1"
        )
        return outputs


def _called(version: _Version, signature: str, inputs: Arrays) -> Arrays:
    outputs = version.functions[signature](**{name: tf.constant(array) for name, array in inputs.items()})
    return {name: tensor.numpy() for name, tensor in outputs.items()}


def _inputs(request: predict_pb2.PredictRequest, version: _Version, signature: str) -> Arrays:
    expected = version.signature_def[signature].inputs
    if set(request.inputs) != set(expected):
        raise Aborted(
            grpc.StatusCode.INVALID_ARGUMENT,
            f"input size does not match signature: {sorted(request.inputs)} instead of {sorted(expected)}",
        )
    inputs = {}
    for name, tensor in request.inputs.items():
        if tensor.dtype != expected[name].dtype:
            raise Aborted(grpc.StatusCode.INVALID_ARGUMENT, f"Expects arg {name} to be of another type")
        inputs[name] = tf.make_ndarray(tensor)
    if len({len(array) for array in inputs.values()}) != 1:
        raise Aborted(
            grpc.StatusCode.INVALID_ARGUMENT,
            "Batching Run() input tensors must have equal 0th-dimension size",
        )
    return inputs


def _answered_by(name: str, version: int, signature: str = "") -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=name, signature_name=signature)
    spec.version.value = version
    return spec


def warmup_requests(version_dir: Path) -> list[predict_pb2.PredictRequest]:
    """The requests of the warm-up records of a version; none where it has no records."""
    path = version_dir / WARMUP_FILE
    records = tf.data.TFRecordDataset([str(path)]).as_numpy_iterator() if path.exists() else ()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


class _PredictionService(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def Predict(
        self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext
    ) -> predict_pb2.PredictResponse:
        stand_in = self._stand_in
        answered = threading.Event()

        def ended() -> None:
            stand_in.broken_off += not answered.is_set()

        context.add_callback(ended)
        status, begun_s = "OK", time.monotonic()
        remaining_s = context.time_remaining()
        try:
            # A deadline that the client did not set is years away.
            response = stand_in.predict(
                request,
                LONGEST_S if remaining_s is None else min(remaining_s, LONGEST_S),
                dict(context.invocation_metadata()),
            )
        except Aborted as error:
            status = error.code.name
            answered.set()
            _abort(context, error)
        else:
            # Of what was answered alone (prediction_service_impl.cc), so that a failure has no latency.
            stand_in.metrics.observe(
                ":tensorflow:serving:request_latency",
                (time.monotonic() - begun_s) * 1e6,
                stand_in.model_name,
                "Predict",
                "GRPC",
            )
        finally:
            stand_in.metrics.count(":tensorflow:serving:request_count", stand_in.model_name, status)
        if context.is_active():
            answered.set()
        return response

    def GetModelMetadata(
        self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: grpc.ServicerContext
    ) -> get_model_metadata_pb2.GetModelMetadataResponse:
        try:
            number, version = self._stand_in.find(request.model_spec)
        except Aborted as error:
            _abort(context, error)
        if list(request.metadata_field) != ["signature_def"]:
            _abort(context, Aborted(grpc.StatusCode.INVALID_ARGUMENT, "Metadata field is not supported"))
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, signature in version.signature_def.items():
            signatures.signature_def[name].CopyFrom(signature)
        if self._stand_in.faults.alter_signatures:
            self._stand_in.faults.alter_signatures(signatures)
        response = get_model_metadata_pb2.GetModelMetadataResponse(
            model_spec=_answered_by(self._stand_in.model_name, number)
        )
        response.metadata["signature_def"].Pack(signatures)
        return response


class _ModelService(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    def GetModelStatus(
        self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext
    ) -> get_model_status_pb2.GetModelStatusResponse:
        spec, states = request.model_spec, self._stand_in.states
        if spec.WhichOneof("version_choice") == "version":  # a label is not looked at
            states = {version: state for version, state in states.items() if version == spec.version.value}
        if spec.name != self._stand_in.model_name or not states:
            error = Aborted(grpc.StatusCode.NOT_FOUND, f"Could not find any versions of model {spec.name}")
            _abort(context, error)
        return get_model_status_pb2.GetModelStatusResponse(
            model_version_status=[
                State(version=version, state=state) for version, state in sorted(states.items(), reverse=True)
            ]
        )


def _abort(context: grpc.ServicerContext, error: Aborted) -> NoReturn:
    context.abort(error.code, error.details)
    raise AssertionError("abort raises")


def _rest_handler(stand_in: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/monitoring/prometheus/metrics":
                self._answer(200, stand_in.metrics.text())
            elif model := re.fullmatch(r"/v1/models/(\w+)(?:/versions/(\d+))?/metadata", self.path):
                self._metadata(model[1], model[2])
            else:
                self._answer(404, "")

        def _metadata(self, name: str, version: str | None) -> None:
            """What the readiness probe asks; told while the model is loaded (http_rest_api_handler.cc)."""
            spec = model_pb2.ModelSpec(name=name)
            if version is not None:
                spec.version.value = int(version)
            try:
                number, _ = stand_in.find(spec)
            except Aborted as error:
                self._answer(404, json.dumps({"error": error.details}))
            else:
                told = {"model_spec": {"name": name, "signature_name": "", "version": str(number)}}
                self._answer(200, json.dumps(told))

        def do_POST(self) -> None:
            if self.path != "/faults":
                self._answer(404, "")
                return
            wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            for name, value in wanted.items():
                if not isinstance(getattr(stand_in.faults, name, None), float):
                    self._answer(400, f"there is no number {name}\n")
                    return
                setattr(stand_in.faults, name, float(value))
            self._answer(200, "")

        def _answer(self, status: int, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def ended_by_sigint() -> threading.Event:
    """What SIGINT sets. The real server handles no SIGTERM and, as process 1 of a container, is not ended by
    it (serving#1853): Kubernetes kills it after its grace period, in which it goes on answering."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    return stop


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A stand-in for TensorFlow Serving, for tests.")
    parser.add_argument("--model-dir", type=Path, default=Path("model_repository/wbc"))
    parser.add_argument("--versions", type=int, nargs="*", help="the newest where absent")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8500)
    parser.add_argument("--rest-port", type=int, help="of metrics and commands; none where absent")
    parser.add_argument("--tensor-content", action="store_true")
    parser.add_argument("--warm-up", action="store_true")
    parser.add_argument("--threads", type=int, help="TensorFlow's; all cores where absent")
    parser.add_argument("--max-enqueued-batches", type=int, default=BatchingParameters.max_enqueued_batches)
    parser.add_argument("--num-batch-threads", type=int, default=BatchingParameters.num_batch_threads)
    parser.add_argument("--batch-timeout-micros", type=int, default=BatchingParameters.batch_timeout_micros)
    chosen = parser.parse_args(arguments)
    if chosen.threads:
        tf.config.threading.set_intra_op_parallelism_threads(chosen.threads)
        tf.config.threading.set_inter_op_parallelism_threads(chosen.threads)
    stop = ended_by_sigint()
    stand_in = StandIn(
        chosen.model_dir,
        versions=chosen.versions,
        batching=BatchingParameters(
            batch_timeout_micros=chosen.batch_timeout_micros,
            max_enqueued_batches=chosen.max_enqueued_batches,
            num_batch_threads=chosen.num_batch_threads,
        ),
        host=chosen.host,
        port=chosen.port,
        rest_port=chosen.rest_port,
        tensor_content=chosen.tensor_content,
        warm_up=chosen.warm_up,
    )
    with stand_in:
        sys.stdout.write(f"stand-in ready on {stand_in.target}, metrics on port {stand_in.rest_port}\n")
        sys.stdout.flush()
        stop.wait()


if __name__ == "__main__":
    main()
