"""The stand-in keeps the semantics of the server that others rely on; asked by the official stubs."""

import json
import os
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2, predict_pb2
from tensorflow_serving.apis.model_service_pb2_grpc import ModelServiceStub
from tensorflow_serving.apis.prediction_service_pb2_grpc import PredictionServiceStub

from orchestrator.model_contract import SIGNATURES
from tests.contract.model_server_suite import views_of
from tests.export_fixture import ExportedModel
from tests.fakes.batch_scheduler import BatchingParameters, BatchScheduler, QueueFull
from tests.fakes.tf_serving_stand_in import StandIn, State, ended_by_sigint, main, warmup_requests
from tests.running_service import free_port
from tests.waiting import becomes_meanwhile

UNBOUNDED = [("grpc.max_receive_message_length", -1)]


@pytest.fixture
def official(stand_in: StandIn) -> Iterator[PredictionServiceStub]:
    with grpc.insecure_channel(stand_in.target, UNBOUNDED) as channel:
        yield PredictionServiceStub(channel)


def request_of(rows: int, signature: str = "classify") -> predict_pb2.PredictRequest:
    views = views_of(rows)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "wbc"
    request.model_spec.signature_name = signature
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(views.images))
    request.inputs["gain"].CopyFrom(tf.make_tensor_proto(views.gain))
    return request


class TestWarmUp:
    def test_the_shipped_records_replay_without_error(self, project_root: Path) -> None:
        shipped = project_root / "model_repository" / "wbc"
        (version,) = shipped.iterdir()
        answered = set()
        with StandIn(shipped) as server, grpc.insecure_channel(server.target, UNBOUNDED) as channel:
            for request in warmup_requests(version):
                if max(tensor.tensor_shape.dim[0].size for tensor in request.inputs.values()) > 4:
                    continue  # the same at another size, and minutes of two cores
                response = PredictionServiceStub(channel).Predict(request, timeout=60)
                rows = {tensor.tensor_shape.dim[0].size for tensor in response.outputs.values()}
                signature = request.model_spec.signature_name
                assert set(response.outputs) == {spec.name for spec in SIGNATURES[signature].outputs}
                answered |= {(signature, size) for size in rows}
        assert answered == {(name, size) for name in SIGNATURES for size in (1, 2, 3, 4)}

    def test_they_may_be_replayed_before_a_version_is_available(
        self, small_exported_model: ExportedModel
    ) -> None:
        stand_in = StandIn(small_exported_model.model_dir, warm_up=True)
        assert stand_in.states == {1: State.AVAILABLE}
        assert ":tensorflow:serving:model_warmup_latency_count" in stand_in.metrics.text()


class TestPredict:
    def test_replies_come_in_typed_fields_unless_told_otherwise(
        self, official: PredictionServiceStub, stand_in: StandIn
    ) -> None:
        typed = official.Predict(request_of(2)).outputs["main_out"]
        stand_in.tensor_content = True
        packed = official.Predict(request_of(2)).outputs["main_out"]
        assert (len(typed.float_val), typed.tensor_content) == (10, b"")
        assert (len(packed.float_val), len(packed.tensor_content)) == (0, 40)
        np.testing.assert_allclose(tf.make_ndarray(typed), tf.make_ndarray(packed), atol=1e-6)

    def test_an_output_filter_trims_the_response(self, official: PredictionServiceStub) -> None:
        request = request_of(1)
        request.output_filter.append("logits")
        assert set(official.Predict(request).outputs) == {"logits"}

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda r: setattr(r.model_spec, "name", "other"), grpc.StatusCode.NOT_FOUND),
            (lambda r: setattr(r.model_spec.version, "value", 7), grpc.StatusCode.NOT_FOUND),
            (lambda r: setattr(r.model_spec, "version_label", "none"), grpc.StatusCode.INVALID_ARGUMENT),
            (lambda r: setattr(r.model_spec, "signature_name", "x"), grpc.StatusCode.INVALID_ARGUMENT),
            (lambda r: r.inputs.pop("gain"), grpc.StatusCode.INVALID_ARGUMENT),
            (
                lambda r: r.inputs["gain"].CopyFrom(tf.make_tensor_proto(np.ones(3, np.float32))),
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
            (
                lambda r: r.inputs["gain"].CopyFrom(tf.make_tensor_proto(np.ones(1, np.float64))),
                grpc.StatusCode.INVALID_ARGUMENT,
            ),
        ],
        ids=["model", "version", "label", "signature", "no gain", "rows", "dtype"],
    )
    def test_what_is_not_there_or_does_not_fit_is_refused(
        self, official: PredictionServiceStub, change: Any, code: grpc.StatusCode
    ) -> None:
        request = request_of(1)
        change(request)
        with pytest.raises(grpc.RpcError) as refused:
            official.Predict(request)
        assert refused.value.code() is code

    def test_a_call_that_is_cancelled_is_worked_on_all_the_same(
        self, official: PredictionServiceStub, stand_in: StandIn
    ) -> None:
        """prediction_service_impl.cc looks at the deadline alone."""
        runs = ":tensorflow:serving:batching_session:wrapped_run_count"
        before = _value(stand_in, runs)
        stand_in.faults.delay_s = 0.3
        call = official.Predict.future(request_of(1), timeout=60)
        becomes_meanwhile(lambda: len(stand_in.seen) == 1)
        call.cancel()
        becomes_meanwhile(lambda: stand_in.broken_off == 1)
        becomes_meanwhile(lambda: _value(stand_in, runs) == before + 1)

    def test_what_fails_is_counted_and_has_no_latency(
        self, official: PredictionServiceStub, stand_in: StandIn
    ) -> None:
        count, latency = ":tensorflow:serving:request_count", ":tensorflow:serving:request_latency_count"
        before = _value(stand_in, count), _value(stand_in, latency)
        stand_in.faults.next_failures = [(grpc.StatusCode.INTERNAL, "on command")]
        with pytest.raises(grpc.RpcError):
            official.Predict(request_of(1))
        official.Predict(request_of(1))
        becomes_meanwhile(lambda: _value(stand_in, count) == before[0] + 2)
        assert _value(stand_in, latency) == before[1] + 1

    def test_sizes_of_batches_have_the_labels_of_the_real_one(
        self, official: PredictionServiceStub, stand_in: StandIn
    ) -> None:
        official.Predict(request_of(7))
        text = stand_in.metrics.text()
        assert ':batching_session:padding_size_bucket{execution_batch_size="8",le="1"}' in text
        assert ':batching_session:processed_batch_size_bucket{le="8"}' in text
        assert ':batching_session:input_batch_size_bucket{le="8"}' in text

    def test_the_deadline_is_kept(self, official: PredictionServiceStub, stand_in: StandIn) -> None:
        stand_in.faults.delay_s = 0.2
        with pytest.raises(grpc.RpcError) as late:
            official.Predict(request_of(1), timeout=0.05)
        assert late.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_version_of_which_nothing_is_known_is_not_found(stand_in: StandIn) -> None:
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "wbc"
    with grpc.insecure_channel(stand_in.target) as channel:
        status = ModelServiceStub(channel).GetModelStatus
        states = {one.version: one.state for one in status(request).model_version_status}
        assert states == {1: State.AVAILABLE, 2: State.AVAILABLE}
        request.model_spec.version.value = 3
        with pytest.raises(grpc.RpcError) as refused:
            status(request)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


class TestBatching:
    """The scheduler alone, over a function that shows what it was given."""

    def make(self, gate: threading.Event, batches: list[tuple[Any, int]]) -> BatchScheduler:
        def run(key: Any, inputs: Any) -> Any:
            batches.append((key, len(inputs["x"])))
            assert gate.wait(10)
            return {"y": inputs["x"] * 10}

        return BatchScheduler(
            BatchingParameters(
                max_batch_size=8, allowed_batch_sizes=(4, 8), max_enqueued_batches=2, num_batch_threads=1
            ),
            run,
            lambda _name, _value, _size: None,
        )

    def test_tasks_of_a_signature_share_batches_padded_to_an_allowed_size(self) -> None:
        gate, batches = threading.Event(), list[tuple[Any, int]]()
        scheduler = self.make(gate, batches)
        ends_at_s = time.monotonic() + 60
        busy = scheduler.submit("a", {"x": np.zeros(1)}, ends_at_s)
        while not batches:
            time.sleep(0.001)
        waiting = [
            scheduler.submit(key, {"x": np.arange(rows) + rows}, ends_at_s)
            for key, rows in (("a", 3), ("b", 2), ("a", 4), ("a", 5))
        ]
        gate.set()
        answers = [task.result(10)["y"].tolist() for task in waiting]
        assert busy.result(10)["y"].tolist() == [0]
        assert answers == [[30, 40, 50], [20, 30], [40, 50, 60, 70], [50, 60, 70, 80, 90]]
        assert batches[0] == ("a", 4)
        assert sorted(batches[1:]) == [("a", 8), ("a", 8), ("b", 4)]
        scheduler.close()

    def test_a_full_queue_refuses_and_another_does_not(self) -> None:
        gate, batches = threading.Event(), list[tuple[Any, int]]()
        scheduler = self.make(gate, batches)
        ends_at_s = time.monotonic() + 60
        scheduler.submit("a", {"x": np.zeros(8)}, ends_at_s)
        while not batches:
            time.sleep(0.001)
        for _ in range(2):
            scheduler.submit("a", {"x": np.zeros(8)}, ends_at_s)
        with pytest.raises(
            QueueFull, match="batch scheduling queue to which this task was submitted is full"
        ):
            scheduler.submit("a", {"x": np.zeros(1)}, ends_at_s)
        scheduler.submit("b", {"x": np.zeros(1)}, ends_at_s)
        gate.set()
        scheduler.close()

    def test_a_batch_is_dropped_when_all_its_tasks_have_expired(self) -> None:
        gate, batches = threading.Event(), list[tuple[Any, int]]()
        scheduler = self.make(gate, batches)
        now_s = time.monotonic()
        scheduler.submit("a", {"x": np.zeros(1)}, now_s + 60)
        while not batches:
            time.sleep(0.001)
        expired = scheduler.submit("a", {"x": np.zeros(1)}, now_s)
        gate.set()
        with pytest.raises(TimeoutError):
            expired.result(10)
        scheduler.close()
        assert len(batches) == 1


def test_many_callers_share_batches(official: PredictionServiceStub, stand_in: StandIn) -> None:
    before = _value(stand_in, ":tensorflow:serving:batching_session:wrapped_run_count")
    alone = tf.make_ndarray(official.Predict(request_of(2)).outputs["main_out"])
    with ThreadPoolExecutor(24) as pool:
        for answer in pool.map(lambda _: official.Predict(request_of(2)), range(48)):
            np.testing.assert_allclose(tf.make_ndarray(answer.outputs["main_out"]), alone, atol=1e-5)
    assert _value(stand_in, ":tensorflow:serving:batching_session:wrapped_run_count") - before < 49


class TestAsAProcess:
    def test_it_says_when_it_is_ready_serves_metrics_takes_commands_and_ends(
        self, small_exported_model: ExportedModel
    ) -> None:
        with StandIn(small_exported_model.model_dir, rest_port=0) as server:
            with grpc.insecure_channel(server.target) as channel:
                PredictionServiceStub(channel).Predict(request_of(1))
            url = f"http://127.0.0.1:{server.rest_port}"
            with urllib.request.urlopen(f"{url}/monitoring/prometheus/metrics") as answer:
                text = answer.read().decode()
            assert ':tensorflow:serving:request_count{model_name="wbc",status="OK"} 1\n' in text
            command = json.dumps({"delay_s": 0.25}).encode()
            urllib.request.urlopen(f"{url}/faults", command).close()
            assert server.faults.delay_s == 0.25
            with pytest.raises(urllib.error.HTTPError, match="400"):
                urllib.request.urlopen(f"{url}/faults", b'{"speed": 1}')

    def test_its_readiness_is_the_metadata_of_a_loaded_model(
        self, small_exported_model: ExportedModel
    ) -> None:
        with StandIn(small_exported_model.model_dir, rest_port=0) as server:
            (version,) = server.states
            models = f"http://127.0.0.1:{server.rest_port}/v1/models"

            def told(path: str) -> Any:
                with urllib.request.urlopen(f"{models}/{path}/metadata") as answer:
                    return json.load(answer)["model_spec"]

            expected = {"name": "wbc", "signature_name": "", "version": str(version)}
            assert told("wbc") == told(f"wbc/versions/{version}") == expected
            for absent in ("other", f"wbc/versions/{version + 1}"):
                with pytest.raises(urllib.error.HTTPError, match="404"):
                    told(absent)
            server.unload(version)
            with pytest.raises(urllib.error.HTTPError, match="404"):
                told("wbc")

    def test_a_model_that_does_not_load_leaves_both_ports_closed(self, tmp_path: Path) -> None:
        """server.cc opens them after ServerCore::Create; the real one tries for five minutes, then ends."""
        model_dir = tmp_path / "wbc"
        (model_dir / "1").mkdir(parents=True)
        (model_dir / "1" / "saved_model.pb").write_bytes(b"no graph")
        ports = free_port(), free_port()
        with pytest.raises(OSError, match="saved_model"):
            StandIn(model_dir, port=ports[0], rest_port=ports[1]).start()
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port), timeout=10)

    def test_sigterm_does_not_end_it(self) -> None:
        before = {kind: signal.getsignal(kind) for kind in (signal.SIGTERM, signal.SIGINT)}
        try:
            stop = ended_by_sigint()
            os.kill(os.getpid(), signal.SIGTERM)
            assert not stop.is_set()
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.is_set()
        finally:
            for kind, handler in before.items():
                signal.signal(kind, handler)

    def test_its_command_line_teaches(self, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as left:
            main(["--help"])
        assert left.value.code == 0
        assert "--rest-port" in capsys.readouterr().out


def _value(stand_in: StandIn, name: str) -> float:
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in stand_in.metrics.text().splitlines()
        if line.startswith(name)
    )
