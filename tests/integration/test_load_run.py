"""`make load` against a running service, for a few seconds: what it writes, and how it ends."""

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from loadtests.load import main
from loadtests.objective import is_met, judge, read_objective, read_statistics
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer
from tests.running_service import free_port

LENIENT = """\
[all]
least_requests = 3
answered_share = 0.99
[single]
p95_ms = 20000
p99_ms = 20000
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A service in a thread of this process, with a model server that needs no model."""
    settings = Settings()
    app = build_app(settings, build_services(settings, model_server=FakeModelServer()))
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error", access_log=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(timeout=20)


def test_a_run_writes_csv_report_and_verdict_and_ends_by_the_objective(url, tmp_path, capfd):
    lenient, strict = tmp_path / "lenient.toml", tmp_path / "strict.toml"
    lenient.write_text(LENIENT, encoding="utf-8")
    strict.write_text(LENIENT.replace("p95_ms = 20000", "p95_ms = 0.01"), encoding="utf-8")
    run = ["--url", url, "--users", "6", "--spawn-rate", "10", "--run-time", "5s"]

    code = main([*run, "--slo", str(strict), "--output-dir", str(tmp_path / "load")])

    shown = capfd.readouterr()
    verdict = (tmp_path / "load/verdict.md").read_text(encoding="utf-8")
    assert code == 1, shown.out + shown.err
    assert verdict.count("missed") == 1
    assert "For research use only" in verdict
    assert "<html" in (tmp_path / "load/report.html").read_text(encoding="utf-8")
    statistics = read_statistics(tmp_path / "load/load_times.csv")
    assert is_met(judge(read_objective(lenient), statistics))
    assert {"single", "burst", "field", "batch", "bad file"} <= set(statistics)


def test_a_named_service_that_is_not_there_is_said_at_once(tmp_path):
    with pytest.raises(SystemExit, match="no service is ready"):
        main(["--url", f"http://127.0.0.1:{free_port()}", "--output-dir", str(tmp_path)])
