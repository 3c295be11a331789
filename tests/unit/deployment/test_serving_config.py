"""The configuration files of TensorFlow Serving in ``k8s/`` are ones that the server can read."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2

from loadtests.capacity import GPUS, cpu_batch_ms, longest_wait_s, server_megabytes
from orchestrator.model_contract import ALLOWED_BATCH_SIZES, MODEL_NAME, SIGNATURES
from tests.unit.deployment import serving_flags
from tests.unit.deployment.manifests import MODEL_SERVER, SERVED, Manifest, main_container, workloads
from tests.unit.deployment.settings_of import orchestrator_settings
from tests.unit.training.test_export import serving_message, warmup_requests


def _model(path: Path) -> Any:
    config = text_format.Parse(path.read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def _files(project_root: Path, name: str) -> list[Path]:
    return sorted((project_root / "k8s").rglob(name))


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


@pytest.fixture
def batching(project_root: Path) -> Any:
    (path,) = _files(project_root, "batching.config")
    return text_format.Parse(path.read_text(), serving_message("BatchingParameters"))


def test_the_batch_sizes_are_those_that_the_shipped_warm_up_covers(project_root: Path, batching: Any) -> None:
    (version,) = (
        path for path in (project_root / "model_repository" / MODEL_NAME).iterdir() if path.is_dir()
    )
    warmed: dict[str, set[int]] = {}
    for request in warmup_requests(version):
        images = next(request.inputs[name] for name in ("images", "image") if name in request.inputs)
        sizes = warmed.setdefault(request.model_spec.signature_name, set())
        sizes.add(images.tensor_shape.dim[0].size)
    assert warmed == {name: set(batching.allowed_batch_sizes) for name in SIGNATURES}
    assert tuple(batching.allowed_batch_sizes) == ALLOWED_BATCH_SIZES
    # The server refuses to start where the last allowed size is not the largest batch.
    assert batching.max_batch_size.value == batching.allowed_batch_sizes[-1]


def test_no_batch_waits_for_more(batching: Any) -> None:
    assert batching.batch_timeout_micros.value == 0


@pytest.mark.parametrize("name", SERVED)
def test_what_the_queue_takes_is_answered_within_the_time_of_a_question(
    overlays: dict[str, list[Manifest]], batching: Any, name: str
) -> None:
    settings = orchestrator_settings(overlays[name])
    for server in workloads(overlays[name], MODEL_SERVER):
        resources = main_container(server)["resources"]["limits"]
        cores = int(serving_flags.parse(main_container(server)["args"])["tensorflow_intra_op_parallelism"])
        size = batching.max_batch_size.value
        slowest = GPUS["l4"].batch_ms(size) if "nvidia.com/gpu" in resources else cpu_batch_ms(size, cores)
        waits_s = longest_wait_s(
            slowest, batching.num_batch_threads.value, batching.max_enqueued_batches.value
        )
        assert waits_s < settings.tf_serving.timeout_s < settings.deadline.default_s


@pytest.mark.parametrize("name", SERVED)
def test_a_pod_has_the_memory_for_a_full_batch_of_each_thread(
    overlays: dict[str, list[Manifest]], batching: Any, name: str
) -> None:
    for server in workloads(overlays[name], MODEL_SERVER):
        limit = main_container(server)["resources"]["limits"]["memory"]
        assert limit.endswith("Gi")
        needed = server_megabytes(batching.num_batch_threads.value)
        assert needed * 1e6 < int(limit.removesuffix("Gi")) * 2**30


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(text_format.ParseError, match="max_bath_size"):
        text_format.Parse("max_bath_size { value: 32 }", serving_message("BatchingParameters"))
