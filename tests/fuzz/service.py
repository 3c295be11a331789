"""The whole service over a model server that needs no model, as a process: what the fuzzers speak to.

``python -m tests.fuzz.service``, with the settings of the service in the environment.
"""

from orchestrator.settings import Settings
from orchestrator.wiring import build_services, serve
from tests.fakes.model_server import FakeModelServer

if __name__ == "__main__":
    settings = Settings()
    serve(settings, build_services(settings, model_server=FakeModelServer()))
