"""The model as ONNX, and the configuration that Triton reads beside it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.errors import ContractViolation
from orchestrator.model_contract import ALLOWED_BATCH_SIZES, MAX_BATCH_SIZE
from tests.export_fixture import ExportedModel
from training.onnx_export import export_onnx, triton_config

READ = """
import sys
from google.protobuf import json_format, text_format
from tritonclient.grpc import model_config_pb2
config = text_format.Parse(sys.stdin.read(), model_config_pb2.ModelConfig())
print(json_format.MessageToJson(config, preserving_proto_field_name=True))
"""


def as_triton_reads(config: str) -> dict[str, Any]:
    """``tritonclient`` brings Triton's messages; they cannot be in one process with those of this project."""
    ended = subprocess.run(
        [sys.executable, "-c", READ], input=config, capture_output=True, text=True, check=True
    )
    return json.loads(ended.stdout)


def dims(tensors: list[dict[str, Any]]) -> dict[str, list[int]]:
    return {tensor["name"]: list(map(int, tensor["dims"])) for tensor in tensors}


def test_a_configuration_is_one_of_triton_with_the_tensors_of_the_contract() -> None:
    rows, views = (as_triton_reads(triton_config(name, 256)) for name in ("serving_default", "views"))

    assert (rows["name"], views["name"]) == ("wbc", "wbc_views")
    assert rows["platform"] == "onnxruntime_onnx"
    assert rows["max_batch_size"] == MAX_BATCH_SIZE
    assert dims(rows["input"]) == {"images": [224, 224, 3], "gain": [1], "morphometry": [8], "head": [257, 5]}
    assert [tensor["data_type"] for tensor in views["input"]] == [
        "TYPE_UINT8",
        "TYPE_INT32",
        "TYPE_FP32",
        "TYPE_FP32",
    ]
    assert dims(views["output"])["features"] == [8, 256]
    assert all(dims(rows["output"]).values())
    assert rows["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 4 * MAX_BATCH_SIZE


def test_triton_warms_up_each_size_with_every_input() -> None:
    config = as_triton_reads(triton_config("views", 256))

    assert tuple(sample["batch_size"] for sample in config["model_warmup"]) == ALLOWED_BATCH_SIZES
    declared = {tensor["name"]: (tensor["data_type"], tensor["dims"]) for tensor in config["input"]}
    for sample in config["model_warmup"]:
        inputs = {name: (one["data_type"], one["dims"]) for name, one in sample["inputs"].items()}
        assert inputs == declared
        assert all(one["zero_data"] for one in sample["inputs"].values())


def test_both_models_are_written_as_configured_and_a_version_once(
    small_exported_model: ExportedModel, tmp_path: Path
) -> None:
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    import onnx

    written = export_onnx(small_exported_model.version_dir, tmp_path)

    assert written == [tmp_path / "wbc/1/model.onnx", tmp_path / "wbc_views/1/model.onnx"]
    for path in written:
        config = as_triton_reads((path.parents[1] / "config.pbtxt").read_text())
        graph = onnx.load(path).graph
        for told, tensors in ((config["input"], graph.input), (config["output"], graph.output)):
            found = {tensor.name: tensor.type.tensor_type.shape.dim for tensor in tensors}
            behind = {name: [size.dim_value for size in sizes[1:]] for name, sizes in found.items()}
            assert dims(told) == behind
            assert not any(sizes[0].dim_value for sizes in found.values())  # the batch is free
    with pytest.raises(FileExistsError, match="is there already"):
        export_onnx(small_exported_model.version_dir, tmp_path)


def test_what_answers_otherwise_is_not_left_there(
    small_exported_model: ExportedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    monkeypatch.setattr("training.export_check.PROBABILITY_TOLERANCE", -1.0)

    with pytest.raises(ContractViolation, match="wbc as ONNX: "):
        export_onnx(small_exported_model.version_dir, tmp_path)

    assert not list(tmp_path.iterdir())


def test_where_the_second_model_answers_otherwise_the_first_is_not_left_alone(
    small_exported_model: ExportedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")

    def check(_saved: Any, name: str, _path: Path, _features: int) -> None:
        if name == "views":
            raise ContractViolation("the views answer otherwise")

    monkeypatch.setattr("training.onnx_export._check", check)

    with pytest.raises(ContractViolation, match="the views answer otherwise"):
        export_onnx(small_exported_model.version_dir, tmp_path)

    assert not list(tmp_path.iterdir())
