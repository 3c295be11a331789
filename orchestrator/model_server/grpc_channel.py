"""The gRPC channel to a model server: its limits, and how the line is kept alive."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import numpy as np

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MAX_BATCH_SIZE, MAX_FEATURES, ROWS_SIGNATURE, SIGNATURES, TensorSpec

_ENVELOPE_BYTES: Final = 64 * 2**10
"""Room for what surrounds the tensors; the answer about metadata, which has none, takes 6 KiB."""

MIN_KEEPALIVE_S: Final = 300
"""A server ends a connection that pings more often, with ``too_many_pings``."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files; read once, so that a renewed certificate needs a restart.

    ``ca`` is what the server's certificate is checked by, the system's authorities where None.
    ``certificate`` and ``key`` are this client's own, for mutual TLS; both or neither.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


def open_channel(
    address: str, *, name: str | None = None, tls: TlsFiles | None = None, keepalive_s: float
) -> grpc.aio.Channel:
    """Return a channel of the running event loop to one address; nothing is connected yet.

    Args:
        address: as gRPC writes it: ``ipv4:``, ``ipv6:``, ``unix:``; see :func:`~.pods.addresses_of`.
        name: of the server, which its certificate has to name; that of the address where None.
        tls: plain text where None.
        keepalive_s: seconds between pings while calls are under way; at least 300.

    Raises:
        ConfigurationError: a file of ``tls`` cannot be read.
    """
    options: list[tuple[str, int | str]] = [
        # After a restart of the server the default would wait for up to two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        ("grpc.min_reconnect_backoff_ms", 2_000),
        ("grpc.max_reconnect_backoff_ms", 5_000),
        ("grpc.keepalive_time_ms", round(max(keepalive_s, MIN_KEEPALIVE_S) * 1000)),
        # Also how long sent bytes may stay unacknowledged (TCP_USER_TIMEOUT) before the line is given up.
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_send_message_length", message_bytes(SIGNATURES[ROWS_SIGNATURE].inputs)),
        ("grpc.max_receive_message_length", message_bytes(SIGNATURES[ROWS_SIGNATURE].outputs)),
        # Retries are ours, within a budget; and no proxy of the environment stands before the model server.
        ("grpc.enable_retries", 0),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if tls is None:
        return grpc.aio.insecure_channel(address, options)
    if name is not None:  # an address is connected to, and the certificate is of a name
        options.append(("grpc.ssl_target_name_override", name))
    return grpc.aio.secure_channel(address, _credentials(tls), options)


def message_bytes(specs: Iterable[TensorSpec]) -> int:
    """Return the bytes of the largest message with these tensors; both encodings of one take as many."""
    return _ENVELOPE_BYTES + sum(
        MAX_BATCH_SIZE
        * math.prod(MAX_FEATURES + 1 if size is None else size for size in spec.shape[1:])
        * np.dtype(spec.dtype).itemsize
        for spec in specs
    )


def _credentials(tls: TlsFiles) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=_read("WBC_TF_SERVING__CA_FILE", tls.ca),
        private_key=_read("WBC_TF_SERVING__CLIENT_KEY_FILE", tls.key),
        certificate_chain=_read("WBC_TF_SERVING__CLIENT_CERTIFICATE_FILE", tls.certificate),
    )


def _read(setting: str, path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting}: the file cannot be read ({error.strerror})") from error
