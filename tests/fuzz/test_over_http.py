"""Every operation of the OpenAPI document, asked rightly and wrongly, against a real process."""

from pathlib import Path

import pytest

from tests.fuzz.over_http import fuzz_over_http
from tests.running_service import running_service


@pytest.mark.filterwarnings("default")  # Schemathesis is not this project
def test_every_operation_answers_as_it_is_documented(tmp_path: Path):
    environment = {"WBC_STORE__URL": f"sqlite+aiosqlite:///{tmp_path}/store.db"}
    log = tmp_path / "log"
    with running_service(("-m", "tests.fuzz.service", str(log)), environment) as service:
        # One worker: Hypothesis compiles, which Python 3.11 cannot in two threads at once (its issue 106905).
        figures = fuzz_over_http(service.url, seed=20, max_examples=4, phases=("examples", "fuzzing"))
        assert service.process.poll() is None
        service.stop()
    assert figures.failures == {}
    assert len(figures.operations) >= 25
    assert {200, 400, 404, 422} <= set(figures.statuses)
    assert 500 not in figures.statuses
    assert "unexpected" not in log.read_text()
