"""Mutual TLS between the orchestrator and TensorFlow Serving, from what the component renders."""

import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
from tests.unit.deployment.settings_of import orchestrator_settings
from tests.unit.training.test_export import serving_message

OPENSSL = shutil.which("openssl")


@pytest.fixture
def manifests(with_component: WithComponent) -> list[Manifest]:
    return with_component("model-server-tls")


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
        usage = {"server auth": "serverAuth", "client auth": "clientAuth"}[spec["usages"][0]]
        extensions.write_text(f"subjectAltName={names}\nextendedKeyUsage={usage}\n")
        request = folder / "request"
        run("req", *curve, "-subj", "/CN=x", "-keyout", folder / "tls.key", "-out", request)
        signed = ("-CA", authority, "-CAkey", authority_key, "-CAcreateserial", "-days", 2)
        run("x509", "-req", "-in", request, *signed, "-extfile", extensions, "-out", folder / "tls.crt")
        shutil.copy(authority, folder / "ca.crt")
    return folders


def mounted(workload: Manifest, secrets: dict[str, Path], path: str) -> Path:
    """The folder that lies at ``path`` in the first container."""
    (name,) = (m["name"] for m in main_container(workload)["volumeMounts"] if m["mountPath"] == path)
    (volume,) = (volume for volume in pod_of(workload)["volumes"] if volume["name"] == name)
    return secrets[volume["secret"]["secretName"]]


async def test_what_the_pods_are_started_with_makes_one_line_that_both_ends_trust(
    manifests: list[Manifest], secrets: dict[str, Path], tmp_path: Path
) -> None:
    (server,) = workloads(manifests, MODEL_SERVER)
    bash, flags, script, program = main_container(server)["command"]
    assert program == "tensorflow_model_server"
    certificates, written = mounted(server, secrets, "/certificates"), tmp_path / "ssl"
    written.mkdir()
    script = script.replace("/certificates", str(certificates)).replace("/ssl/", f"{written}/")
    started = subprocess.run(
        [bash, flags, script, "echo", "--port=8500"], check=True, capture_output=True, text=True, timeout=60
    )
    assert started.stdout == f"--port=8500 --ssl_config_file={written}/ssl.config\n"
    config = text_format.Parse((written / "ssl.config").read_text(), serving_message("SSLConfig"))
    assert config.client_verify
    credentials = grpc.ssl_server_credentials(
        [(config.server_key.encode(), config.server_cert.encode())],
        config.custom_ca.encode(),
        require_client_auth=True,
    )
    chosen = orchestrator_settings(manifests).tf_serving
    assert chosen.tls
    assert chosen.target is not None
    asks = named(manifests, "Deployment", "orchestrator")
    files = [chosen.ca_file, chosen.client_certificate_file, chosen.client_key_file]
    here = [mounted(asks, secrets, str(file.parent)) / file.name for file in files if file is not None]
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


def test_no_probe_speaks_grpc_to_a_port_with_tls(manifests: list[Manifest]) -> None:
    (server,) = workloads(manifests, MODEL_SERVER)
    container = main_container(server)
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert "grpc" not in container[probe]
        assert {"tcpSocket", "httpGet"} & set(container[probe])
