"""TLS of the HTTP edge, with certificates that are made here."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestrator.edge.tls import ServerTls, server_context
from orchestrator.errors import ConfigurationError
from tests.integration.test_serving_process import fake_service
from tests.running_service import running_service


def made(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.pem", folder / f"{name}.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


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
    certificate, key = made(tmp_path, "service")
    own, stranger = made(tmp_path, "client"), made(tmp_path, "stranger")
    environment = {
        "WBC_SECURITY__TLS__CERTIFICATE_FILE": str(certificate),
        "WBC_SECURITY__TLS__KEY_FILE": str(key),
        "WBC_SECURITY__TLS__CLIENT_CA_FILE": str(own[0]),
        "WBC_SECURITY__TLS__LEAST_VERSION": "1.3",
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


def test_tls_1_2_is_the_least_by_default(tmp_path):
    context = server_context(ServerTls(*made(tmp_path, "service")))
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_NONE


def test_files_that_do_not_fit_are_a_configuration_error_without_their_paths(tmp_path):
    certificate, key = made(tmp_path, "service")
    _, other_key = made(tmp_path, "other")
    for tls in (
        ServerTls(certificate, other_key),
        ServerTls(tmp_path / "missing.pem", key),
        ServerTls(key, certificate),
        ServerTls(certificate, key, client_ca=key),
    ):
        with pytest.raises(ConfigurationError, match="WBC_SECURITY__TLS") as raised:
            server_context(tls)
        assert str(tmp_path) not in str(raised.value)
