"""TLS of the HTTP edge, from files; renewed ones are used without a restart."""

import ssl
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

from orchestrator.edge.tls.renewed_files import CertificateFiles, RenewedFiles
from orchestrator.errors import ConfigurationError

TlsVersion = Literal["1.2", "1.3"]

_VERSIONS: Final = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@dataclass(frozen=True, slots=True)
class ServerTls(CertificateFiles):
    """The files, and the least version that is spoken."""

    least_version: TlsVersion = "1.2"


def renewed_context(tls: ServerTls) -> ssl.SSLContext:
    """As :func:`server_context`, for as long as a server runs: connections are taken by the files as they are
    then. Sessions that a client resumes go on by those of their beginning.

    Each change makes a new context, which replaces the one before as a whole: ``load_cert_chain`` would leave
    one that is in use without a key where certificate and key do not belong together.
    """
    files = RenewedFiles("http", tls.all, partial(server_context, tls))
    in_use = server_context(tls)

    def choose(connection: ssl.SSLObject | ssl.SSLSocket, _name: str | None, _: ssl.SSLContext) -> None:
        connection.context = files.current()

    in_use.sni_callback = choose  # called for clients who name no server, too
    return in_use


def server_context(tls: ServerTls) -> ssl.SSLContext:
    """What a server takes connections by.

    Raises ``ConfigurationError`` where a file cannot be read or key and certificate do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.least_version]
    context.options |= ssl.OP_NO_RENEGOTIATION  # which costs the server more than the client
    context.set_alpn_protocols(["http/1.1"])
    try:
        # Where the key has a passphrase there is nobody to type it in: without a function OpenSSL would ask.
        context.load_cert_chain(tls.certificate, tls.key, lambda: "")
        if tls.client_ca is not None:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__
        raise ConfigurationError(f"WBC_SECURITY__TLS: certificate, key or client CA: {reason}") from error
    return context
