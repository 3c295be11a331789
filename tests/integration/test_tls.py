"""TLS of the HTTP edge, with certificates that are made here."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from orchestrator.edge.tls.http import ServerTls, server_context
from orchestrator.errors import ConfigurationError
from tests.certificates import issued
from tests.integration.test_serving_process import fake_service
from tests.running_service import running_service


@contextmanager
def asking(
    url: str, certificate: Path, shown: tuple[Path, Path] | None = None, newest: ssl.TLSVersion | None = None
) -> Iterator[httpx2.Client]:
    context = ssl.create_default_context(cafile=str(certificate))
    if shown:
        context.load_cert_chain(*shown)
    if newest:
        context.maximum_version = newest
    with httpx2.Client(base_url=url.replace("http:", "https:"), verify=context, timeout=10) as client:
        yield client


def test_the_service_speaks_tls_and_only_to_those_it_should(tmp_path):
    certificate, key = issued(tmp_path, "service").files
    own, stranger = issued(tmp_path, "client").files, issued(tmp_path, "stranger").files
    environment = {
        "WBC_SECURITY__TLS__CERTIFICATE_FILE": str(certificate),
        "WBC_SECURITY__TLS__KEY_FILE": str(key),
        "WBC_SECURITY__TLS__CLIENT_CA_FILE": str(own[0]),
        "WBC_SECURITY__TLS__LEAST_VERSION": "1.3",
        "WBC_SECURITY__HEADER_TIMEOUT_S": "1",
    }
    with running_service(fake_service("FakeModelServer"), environment) as service:
        assert "https://localhost" in service.announcement
        with asking(service.url, certificate, own) as client:
            answer = client.get("/livez")
        assert answer.status_code == 200
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        for shown, newest in ((None, None), (stranger, None), (own, ssl.TLSVersion.TLSv1_2)):
            with (
                asking(service.url, certificate, shown, newest) as client,
                pytest.raises(httpx2.TransportError),
            ):
                client.get("/livez")
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"{service.url}/livez")
        host, port = service.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=40) as silent:
            assert silent.recv(1) == b""  # let go of, who begins no handshake


def test_tls_1_2_is_the_least_by_default(tmp_path):
    context = server_context(ServerTls(*issued(tmp_path, "service").files))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_files_that_do_not_fit_are_a_configuration_error_without_their_paths(tmp_path):
    certificate, key = issued(tmp_path, "service").files
    _, other_key = issued(tmp_path, "other").files
    for tls in (
        ServerTls(certificate, other_key),
        ServerTls(tmp_path / "missing.pem", key),
        ServerTls(key, certificate),
        ServerTls(certificate, key, client_ca=key),
    ):
        with pytest.raises(ConfigurationError, match="WBC_SECURITY__TLS") as raised:
            server_context(tls)
        assert str(tmp_path) not in str(raised.value)
