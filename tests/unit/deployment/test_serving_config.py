"""The configuration files of TensorFlow Serving in ``k8s/`` are ones that the server can read."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from orchestrator.model_contract import ALLOWED_BATCH_SIZES, MODEL_NAME
from tests.unit.training.test_export import serving_message


def _model(path: Path) -> Any:
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def _files(project_root: Path, name: str) -> list[Path]:
    found = sorted((project_root / "k8s").rglob(name))
    assert len(found) == 2, "that of the base and that of one component"
    return found


def test_every_file_names_the_model_of_the_contract(project_root: Path) -> None:
    for path in _files(project_root, "models.config"):
        model = _model(path)
        assert (model.name, model.base_path) == (MODEL_NAME, f"/models/{MODEL_NAME}")


def test_the_canary_serves_every_version_that_it_labels(project_root: Path) -> None:
    model = _model(project_root / "k8s" / "components" / "canary" / "models.config")
    assert set(model.version_labels) == {"stable", "canary"}
    # A label of a version that is not loaded keeps the server from starting.
    assert set(model.version_labels.values()) == set(model.model_version_policy.specific.versions)
    assert model.version_labels["stable"] <= model.version_labels["canary"]


def test_every_batch_size_is_one_that_the_warm_up_covers(project_root: Path) -> None:
    for path in _files(project_root, "batching.config"):
        batching = text_format.Parse(path.read_text(), serving_message("BatchingParameters"))
        assert set(batching.allowed_batch_sizes) <= set(ALLOWED_BATCH_SIZES)
        # The server refuses to start where the last allowed size is not the largest batch.
        assert batching.max_batch_size.value == batching.allowed_batch_sizes[-1]
        assert batching.max_enqueued_batches.value == batching.num_batch_threads.value
        assert 0 <= batching.batch_timeout_micros.value <= 5000


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(text_format.ParseError, match="max_bath_size"):
        text_format.Parse("max_bath_size { value: 32 }", serving_message("BatchingParameters"))
