"""Every implementation of the port under one suite."""

import pytest

from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.embedded import EmbeddedModelServer
from tests.contract.model_server_suite import MakeServer, ModelServerSuite
from tests.export_fixture import ExportedModel
from tests.fakes.model_server import FakeModelServer


class TestEmbeddedModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self, small_exported_model: ExportedModel) -> MakeServer:
        def make() -> ModelServer:
            return EmbeddedModelServer(small_exported_model.model_dir, threads=2)

        return make


class TestFakeModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self) -> MakeServer:
        return FakeModelServer
