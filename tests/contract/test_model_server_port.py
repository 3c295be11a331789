"""Every implementation of the port under one suite."""

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.embedded import EmbeddedModelServer
from orchestrator.model_server.open_inference import OpenInferenceModelServer
from orchestrator.model_server.remote import RemoteOptions
from orchestrator.model_server.tf_serving import TfServingModelServer
from tests.contract.model_server_suite import MakeServer, ModelServerSuite
from tests.export_fixture import ExportedModel
from tests.fakes.model_server import FakeModelServer
from tests.waiting import LONGEST_S

if TYPE_CHECKING:
    from tests.fakes.open_inference_server import OpenInferenceServer
    from tests.fakes.tf_serving_stand_in import StandIn


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the compiled network for the tests after the first: many start a server and ask it once."""
    return tmp_path_factory.mktemp("compiled")


class TestEmbeddedModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self, small_exported_model: ExportedModel, compiled: Path) -> MakeServer:
        def make() -> ModelServer:
            return EmbeddedModelServer(small_exported_model.model_dir, threads=2, cache_dir=compiled)

        return make


class TestFakeModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self) -> MakeServer:
        return FakeModelServer


@pytest.mark.parametrize("tensor_content", [False, True], ids=["typed fields", "tensor_content"])
class TestTfServingModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self, stand_in: "StandIn", tensor_content: bool) -> MakeServer:
        stand_in.tensor_content = tensor_content
        return lambda: TfServingModelServer(RemoteOptions(stand_in.target, timeout_s=LONGEST_S))


@pytest.mark.parametrize("raw", [False, True], ids=["typed fields", "raw contents"])
class TestOpenInferenceModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self, open_inference: "OpenInferenceServer", raw: bool) -> MakeServer:
        open_inference.raw = raw
        return lambda: OpenInferenceModelServer(RemoteOptions(open_inference.target, timeout_s=LONGEST_S))
