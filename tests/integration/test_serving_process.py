"""How the service starts and stops as a process, with a model server that needs no model."""

import asyncio
import os
import re
import signal
import subprocess
import sys

import httpx2
import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.edge.http.uploads import FORM_OVERHEAD_BYTES
from tests.multipart_forms import CONTENT_TYPE, part
from tests.running_service import PROJECT_ROOT, RunningService, free_port, running_service

SERVE_A_FAKE = """
import asyncio
from orchestrator.errors import ContractViolation
from orchestrator.settings import Settings
from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.process import serve
from tests.fakes.model_server import FakeModelServer

class Slow(FakeModelServer):
    async def explain(self, views):
        print("explaining", flush=True)
        await asyncio.sleep(1.0)
        return await super().explain(views)

    async def close(self):
        await super().close()
        print("closed", flush=True)

class Broken(FakeModelServer):
    async def start(self):
        raise ContractViolation("expected other outputs")

settings = Settings()
serve(settings, build_services(settings, model_server={model_server}()))
"""


def fake_service(model_server: str) -> tuple[str, str]:
    return "-c", SERVE_A_FAKE.format(model_server=model_server)


def test_it_says_where_to_look_once_it_is_ready():
    with running_service(fake_service("FakeModelServer")) as service:
        port = service.url.rpartition(":")[2]
        assert f"ready on http://localhost:{port}\n" in service.announcement
        assert f"listens on     127.0.0.1:{port}\n" in service.announcement
        assert httpx2.get(f"{service.url}/readyz").status_code == 200
        assert "/docs" in service.announcement
        assert DISCLAIMER in service.announcement
        code, _, err = service.stop()
    assert (code, err) == (0, "")


def test_python_m_orchestrator_takes_the_options_of_wbc_serve_and_says_where_it_is():
    port = free_port()
    with running_service(("-m", "orchestrator", "--host", "127.0.0.2", "--port", str(port))) as service:
        url = f"http://127.0.0.2:{port}"
        assert f"ready on {url}\n" in service.announcement
        (command,) = re.findall(r"(curl --fail-with-body -F .*)\n", service.announcement)
        assert command.endswith(f" {url}/predict")
        image = PROJECT_ROOT / command.split()[3].removeprefix("file=@")
        answer = httpx2.post(f"{url}/predict", files={"file": image.read_bytes()}, timeout=30)
        assert answer.status_code == 200


def test_an_unknown_variable_is_a_warning_at_the_start():
    with running_service(fake_service("FakeModelServer"), {"WBC_LANGAUGE": "tr"}) as service:
        _, _, err = service.stop()
    (line,) = err.splitlines()
    assert "WARNING" in line
    assert line.endswith("WBC_LANGAUGE: no such setting; did you mean WBC_LANGUAGE?")


def test_a_section_that_is_no_json_is_one_line_and_exit_code_2():
    ended = subprocess.run(
        [sys.executable, "-m", "orchestrator"],
        cwd=PROJECT_ROOT,
        env={**os.environ, "WBC_HTTP": "9000;"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "WBC_HTTP" in line
    assert "JSON" in line


async def wait_for_line(service: RunningService, text: str) -> None:
    assert service.process.stdout is not None
    while text not in await asyncio.to_thread(service.process.stdout.readline):
        pass


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_open_requests_end_and_closes_the_model_server(cell, how):
    with running_service(fake_service("Slow")) as service:
        async with httpx2.AsyncClient(base_url=service.url, timeout=30) as client:
            request = asyncio.create_task(client.post("/predict", files={"file": cell}))
            await wait_for_line(service, "explaining")
            stopping = asyncio.create_task(asyncio.to_thread(service.stop, how))
            assert (await request).status_code == 200
        code, out, err = await stopping
    assert "closed" in out
    assert (code, err) == (0, "")


async def test_a_stop_waits_no_longer_than_the_drain_timeout(cell):
    with running_service(fake_service("Slow"), {"WBC_HTTP__DRAIN_TIMEOUT_S": "0"}) as service:
        async with httpx2.AsyncClient(base_url=service.url, timeout=30) as client:
            request = asyncio.create_task(client.post("/predict", files={"file": cell}))
            await wait_for_line(service, "explaining")
            code, out, _ = await asyncio.to_thread(service.stop)
            with pytest.raises(httpx2.HTTPError):
                (await request).raise_for_status()
    assert "closed" in out
    assert code == 0


def test_a_model_that_cannot_be_loaded_ends_it_with_the_reason():
    with (
        pytest.raises(RuntimeError, match="ContractViolation: expected other outputs"),
        running_service(fake_service("Broken")),
    ):
        pytest.fail("it became ready")


def test_an_oversize_upload_over_a_real_connection_is_answered_413():
    def body():
        yield part("file", b"", "cell.tif")
        for _ in range(300):
            yield b"x" * 100_000

    with (
        running_service(fake_service("FakeModelServer")) as service,
        httpx2.Client(base_url=service.url, timeout=30) as client,
    ):
        streamed = client.post("/predict", content=body(), headers={"Content-Type": CONTENT_TYPE})
        assert (streamed.status_code, streamed.json()["status"]) == (413, 413)
        declared = client.post("/predict", files={"file": b"x" * (10 * 2**20 + FORM_OVERHEAD_BYTES)})
        assert (declared.status_code, declared.json()["status"]) == (413, 413)
        assert client.get("/livez").status_code == 200


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"WBC_HTTP__PORT": "none"}, "WBC_HTTP__PORT"),
        ({"WBC_PROFILE": "leica"}, "received 'leica'"),
    ],
)
def test_a_wrong_setting_is_one_line_and_exit_code_2(environment, told):
    ended = subprocess.run(
        [sys.executable, "-m", "orchestrator"],
        cwd=PROJECT_ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: ")
    assert told in line
