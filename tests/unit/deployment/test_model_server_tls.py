"""Mutual TLS of the model server with the orchestrator and the inference probe, from what is rendered."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import text_format

from orchestrator.model_server.grpc_channel import TlsFiles, open_channel
from orchestrator.model_server.pods import name_of
from tests.unit.deployment.manifests import (
    MODEL_SERVER,
    Manifest,
    WithComponent,
    main_container,
    named,
    of_kind,
    pod_of,
    workloads,
)
from tests.unit.deployment.settings_of import settings_of
from tests.unit.training.test_export import serving_message

OPENSSL = shutil.which("openssl")


@pytest.fixture(params=["tf-serving", "triton"])
def server_name(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def manifests(with_component: WithComponent, server_name: str) -> list[Manifest]:
    before = ["triton"] if server_name == "triton" else []
    return with_component(*before, "model-server-tls", "inference-probe")


@pytest.fixture
def secrets(manifests: list[Manifest], tmp_path: Path) -> dict[str, Path]:
    """The Secrets as folders, with certificates as cert-manager makes them of the Certificates."""
    if OPENSSL is None:
        pytest.skip("openssl is not installed; it makes certificates")

    def run(*arguments: object) -> None:
        command = [OPENSSL, *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    authority, authority_key = tmp_path / "ca.crt", tmp_path / "ca.key"
    run("req", "-x509", *curve, "-days", 2, "-subj", "/CN=ca", "-keyout", authority_key, "-out", authority)
    folders = {}
    for certificate in of_kind(manifests, "Certificate"):
        spec = certificate["spec"]
        folder = folders[spec["secretName"]] = tmp_path / spec["secretName"]
        folder.mkdir()
        extensions = folder / "extensions"
        names = ",".join(f"DNS:{name}" for name in spec["dnsNames"])
        known = {"server auth": "serverAuth", "client auth": "clientAuth"}
        usage = ",".join(known[usage] for usage in spec["usages"])
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        request = folder / "request"
        run("req", *curve, "-subj", "/CN=x", "-keyout", folder / "tls.key", "-out", request)
        signed = ("-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-days", 2)
        run("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", folder / "tls.crt")
        shutil.copy(authority, folder / "ca.crt")
    return folders


def mounted(workload: Manifest, container: Manifest, secrets: dict[str, Path], path: str) -> Path:
    """The folder that lies at ``path`` in a container."""
    (name,) = (m["name"] for m in container["volumeMounts"] if m["mountPath"] == path)
    (volume,) = (volume for volume in pod_of(workload)["volumes"] if volume["name"] == name)
    return secrets[volume["secret"]["secretName"]]


def sidecar_of(server: Manifest) -> Manifest:
    (found,) = (c for c in pod_of(server)["initContainers"] if c["name"] == "inference-probe")
    return dict(found)


def tensorflow_serving_credentials(container: Manifest, folder: Path, written: Path) -> Any:
    """What the server makes of the file that its command writes."""
    bash, flags, script, program = container["command"]
    assert program == "tensorflow_model_server"
    written.mkdir()
    script = script.replace("/certificates", str(folder)).replace("/ssl/", f"{written}/")
    started = subprocess.run(
        [bash, flags, script, "echo", "--port=8500"], check=True, capture_output=True, text=True, timeout=60
    )
    assert started.stdout == f"--port=8500 --ssl_config_file={written}/ssl.config\n"
    config = text_format.Parse((written / "ssl.config").read_text(), serving_message("SSLConfig"))
    assert config.client_verify
    return grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode(),
        require_client_auth=True,
    )


def triton_credentials(container: Manifest, folder: Path) -> Any:
    """What the server makes of its flags, as its command_line_parser.cc has them."""
    flags = dict(argument.removeprefix("--").split("=") for argument in container["args"])
    assert (flags["grpc-use-ssl"], flags["grpc-use-ssl-mutual"]) == ("true", "true")
    key, certificate, authority = (
        (folder / flags[f"grpc-{name}"].removeprefix("/certificates/")).read_bytes()
        for name in ("server-key", "server-cert", "root-cert")
    )
    return grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)


@pytest.mark.parametrize("asks", ["orchestrator", "inference-probe"])
async def test_what_the_pods_are_started_with_makes_one_line_that_both_ends_trust(
    manifests: list[Manifest], secrets: dict[str, Path], tmp_path: Path, server_name: str, asks: str
) -> None:
    (server,) = workloads(manifests, MODEL_SERVER)
    container = main_container(server)
    folder = mounted(server, container, secrets, "/certificates")
    credentials = (
        triton_credentials(container, folder)
        if server_name == "triton"
        else tensorflow_serving_credentials(container, folder, tmp_path / "ssl")
    )
    if asks == "orchestrator":
        workload = named(manifests, "Deployment", "orchestrator")
        client = main_container(workload)
    else:
        workload, client = server, sidecar_of(server)
    chosen = settings_of(manifests, client).tf_serving
    assert chosen.tls
    assert chosen.target == f"{server_name}:8500"
    files = [chosen.ca_file, chosen.client_certificate_file, chosen.client_key_file]
    here = [
        mounted(workload, client, secrets, str(file.parent)) / file.name for file in files if file is not None
    ]
    assert len(here) == 3
    running = grpc.server(ThreadPoolExecutor(1))
    port = running.add_secure_port("127.0.0.1:0", credentials)
    running.start()
    try:
        channel = open_channel(
            f"ipv4:127.0.0.1:{port}", name=name_of(chosen.target), tls=TlsFiles(*here), keepalive_s=300
        )
        with pytest.raises(grpc.aio.AioRpcError) as answered:
            await channel.unary_unary("/a/b")(b"", timeout=30)
        # The line stands, and whoever is behind it has no such method.
        assert answered.value.code() is grpc.StatusCode.UNIMPLEMENTED
        await channel.close()
    finally:
        running.stop(None)


def test_the_probe_asks_its_own_pod_by_the_name_in_the_certificate(
    manifests: list[Manifest], server_name: str
) -> None:
    (server,) = workloads(manifests, MODEL_SERVER)
    assert pod_of(server)["hostAliases"] == [{"ip": "127.0.0.1", "hostnames": [server_name]}]
    chosen = settings_of(manifests, sidecar_of(server)).tf_serving
    assert chosen.protocol == ("open_inference" if server_name == "triton" else "tf_serving")
    assert main_container(server)["livenessProbe"]["httpGet"] == {"path": "/livez", "port": 8503}


def test_without_tls_the_probe_asks_plainly(with_component: WithComponent) -> None:
    manifests = with_component("inference-probe")
    (server,) = workloads(manifests, MODEL_SERVER)
    assert "hostAliases" not in pod_of(server)
    chosen = settings_of(manifests, sidecar_of(server)).tf_serving
    assert (chosen.tls, chosen.target) == (False, "127.0.0.1:8500")


def test_no_probe_speaks_grpc_to_a_port_with_tls(with_component: WithComponent) -> None:
    (server,) = workloads(with_component("model-server-tls"), MODEL_SERVER)
    container = main_container(server)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "grpc" not in container[probe]
        assert {"tcpSocket", "httpGet"} & set(container[probe])
