"""TLS of the gRPC edge, from files; renewed ones are used without a restart."""

from functools import partial
from pathlib import Path

import grpc

from orchestrator.edge.tls.renewed_files import CertificateFiles, RenewedFiles
from orchestrator.errors import ConfigurationError


def server_credentials(tls: CertificateFiles) -> grpc.ServerCredentials:
    """What a server takes connections by: each by the files as they are then.

    Raises ``ConfigurationError`` where a file cannot be read or key and certificate do not belong together.
    """
    files = RenewedFiles("grpc", tls.all, partial(_configuration, tls))
    in_use = files.current()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Called by threads of gRPC, before each handshake; None where nothing has changed."""
        nonlocal in_use
        before, in_use = in_use, files.current()
        return None if in_use is before else in_use

    return grpc.dynamic_ssl_server_credentials(
        in_use, renewed, require_client_authentication=tls.client_ca is not None
    )


def _configuration(tls: CertificateFiles) -> grpc.ServerCertificateConfiguration:
    """Checked here: gRPC says of files that are wrong only that it cannot listen, or nothing."""
    # Here, because it takes 0.15 s, and most servers have no TLS of their own.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key, certificate = _read("KEY_FILE", tls.key), _read("CERTIFICATE_FILE", tls.certificate)
    client_ca = None if tls.client_ca is None else _read("CLIENT_CA_FILE", tls.client_ca)
    try:
        own = x509.load_pem_x509_certificates(certificate)[0].public_key()
        fits = load_pem_private_key(key, password=None).public_key() == own
        if client_ca is not None:
            x509.load_pem_x509_certificates(client_ca)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:  # TypeError: the key has a passphrase
        raise ConfigurationError(
            f"WBC_GRPC__TLS: certificate, key or client CA: expected PEM ({type(error).__name__})"
        ) from error
    if not fits:
        raise ConfigurationError("WBC_GRPC__TLS: the key is not the one of the certificate")
    return grpc.ssl_server_certificate_configuration([(key, certificate)], client_ca)


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(
            f"WBC_GRPC__TLS__{setting}: the file cannot be read ({error.strerror})"
        ) from error
