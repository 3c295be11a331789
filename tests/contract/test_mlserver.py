"""The port's suite with MLServer (Apache License 2.0) as the peer, which others wrote: its own process, in an
environment of its own, runs the ONNX of ``wbc-train onnx``.

Needed: the extra ``onnx``, and a ``mlserver`` with onnxruntime on the PATH or named by ``WBC_TEST_MLSERVER``.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from orchestrator.model_contract import OPEN_MODELS, TensorSpec, open_signature
from orchestrator.model_server.open_inference import OpenInferenceModelServer
from orchestrator.model_server.remote import RemoteOptions
from tests.contract.model_server_suite import MakeServer, ModelServerSuite
from tests.export_fixture import ExportedModel
from tests.running_service import free_port

MLSERVER = os.environ.get("WBC_TEST_MLSERVER") or shutil.which("mlserver")

pytestmark = pytest.mark.skipif(
    MLSERVER is None, reason="needs MLServer, on the PATH or in WBC_TEST_MLSERVER"
)

FEATURES = 256
DATA_TYPES = {"uint8": "UINT8", "int32": "INT32", "float32": "FP32"}


def told(spec: TensorSpec) -> dict[str, object]:
    free = FEATURES + 1 if spec.name == "head" else FEATURES
    sizes = [-1, *(free if size is None else size for size in spec.shape[1:])]
    return {"name": spec.name, "datatype": DATA_TYPES[spec.dtype], "shape": sizes}


@pytest.fixture(scope="module")
def target(
    small_exported_model: ExportedModel, tmp_path_factory: pytest.TempPathFactory, project_root: Path
) -> Iterator[str]:
    pytest.importorskip("tf2onnx", reason="needs the extra onnx")
    from training.onnx_export import export_onnx

    folder = tmp_path_factory.mktemp("mlserver")
    files = export_onnx(small_exported_model.version_dir, folder)
    for (signature, model), file in zip(OPEN_MODELS.items(), files, strict=True):
        specs = open_signature(signature)
        settings = {
            "name": model,
            "versions": ["1"],
            "implementation": "tests.fakes.mlserver_onnx.OnnxModel",
            "parameters": {"uri": str(file), "version": "1"},
            "inputs": [told(spec) for spec in specs.inputs],
            "outputs": [told(spec) for spec in specs.outputs],
        }
        (folder / model / "model-settings.json").write_text(json.dumps(settings))
    ports = {f"{kind}_port": free_port() for kind in ("http", "grpc", "metrics")}
    served: dict[str, object] = {
        "host": "127.0.0.1",
        "parallel_workers": 0,
        "grpc_max_message_length": 64 * 2**20,
        **ports,
    }
    (folder / "settings.json").write_text(json.dumps(served))
    environment = {**os.environ, "PYTHONPATH": str(project_root)}
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            [str(MLSERVER), "start", str(folder)], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        target = f"127.0.0.1:{ports['grpc_port']}"
        with grpc.insecure_channel(target) as channel:
            grpc.channel_ready_future(channel).result(timeout=120)
        yield target
    finally:
        server.terminate()
        server.wait(60)


class TestMlServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self, target: str) -> MakeServer:
        return lambda: OpenInferenceModelServer(RemoteOptions(target, start_timeout_s=60.0, timeout_s=60.0))
