"""The whole service over a model server that needs no model, as a process: what the fuzzers speak to.

``python -m tests.fuzz.service LOG``, with the settings of the service in the environment. What it logs goes
to the file: nobody reads its stderr while it runs, and a full pipe would stop it.
"""

import os
import sys

from orchestrator.bootstrap.process import serve
from orchestrator.bootstrap.services import build_services
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer

if __name__ == "__main__":
    os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), sys.stderr.fileno())
    settings = Settings()
    serve(settings, build_services(settings, model_server=FakeModelServer()))
