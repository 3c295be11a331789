"""What is made of several model servers is one, and does what every one must do."""

import pytest

from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.canary import CanaryModelServer
from orchestrator.model_server.failover import FailoverModelServer
from orchestrator.model_server.late_start import LateModelServer
from orchestrator.model_server.shadow import ShadowModelServer
from tests.contract.model_server_suite import MakeServer, ModelServerSuite
from tests.fakes.model_server import FakeModelServer


class TestFailoverModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self) -> MakeServer:
        return lambda: FailoverModelServer(FakeModelServer(), FakeModelServer())


class Gone(FakeModelServer):
    """Starts, and is not there when it is asked."""

    def _require_open(self) -> None:
        self._open = False
        super()._require_open()


class TestFailoverModelServerWithoutItsPrimary(ModelServerSuite):
    @pytest.fixture
    def make_server(self) -> MakeServer:
        return lambda: FailoverModelServer(Gone(), FakeModelServer())


@pytest.mark.parametrize("name", ["", "lab-42"], ids=["stable", "canary"])
class TestCanaryModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self, name: str) -> MakeServer:
        def make() -> ModelServer:
            return CanaryModelServer(
                FakeModelServer(), FakeModelServer(), share=1.0, request_name=lambda: name
            )

        return make


class TestShadowModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self) -> MakeServer:
        return lambda: ShadowModelServer(FakeModelServer(), FakeModelServer())


class TestLateModelServer(ModelServerSuite):
    @pytest.fixture
    def make_server(self) -> MakeServer:
        return lambda: LateModelServer(FakeModelServer())
