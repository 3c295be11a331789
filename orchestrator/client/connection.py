"""How a service is reached: its address, TLS, the credential, and which calls are repeated."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

MAX_MESSAGE_BYTES = 128 * 2**20
"""Of one answer: a heatmap has the size of its image."""

_SERVICE = "wbc.v1.Analyzer"
_REPEATED = ("Analyze", "GetDifferential", "GetModel")
"""By gRPC itself; the calls that send many messages are repeated by the clients."""


_LOST = "Internal error from Core"
"""What grpc.aio says, with ``INTERNAL``, of a call whose end overtook a message that was being sent: the
status that the service gave, or the end of the connection, is lost."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files. The system's authorities check the server where ``ca`` is None; ``certificate`` and ``key``
    are this client's own, for mutual TLS."""

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """For a channel. Raises ``OSError`` where a file cannot be read."""
        return grpc.ssl_channel_credentials(
            root_certificates=self.ca and self.ca.read_bytes(),
            private_key=self.key and self.key.read_bytes(),
            certificate_chain=self.certificate and self.certificate.read_bytes(),
        )


@dataclass(frozen=True, slots=True)
class Connection:
    """Where the service is.

    Args:
        target: ``host:port``.
        tls: None for plain text.
        credential: an API key or a token, sent as ``authorization: Bearer``.
        max_attempts: how often a call is made that ends with ``UNAVAILABLE``, 1 to 5; no other is repeated.
    """

    target: str
    tls: TlsFiles | None = None
    credential: str | None = field(default=None, repr=False)
    max_attempts: int = 3

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts <= 5:
            raise ValueError(f"max_attempts: expected 1 to 5, received {self.max_attempts}")

    def options(self) -> list[tuple[str, Any]]:
        """Of a channel."""
        options: list[tuple[str, Any]] = [
            ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
            # An image larger than that is not sent a second time.
            ("grpc.per_rpc_retry_buffer_size", 32 * 2**20),
        ]
        if self.max_attempts > 1:
            options.append(("grpc.service_config", json.dumps(self._service_config())))
        return options

    def metadata(self, request_id: str | None = None) -> tuple[tuple[str, str], ...]:
        """Of a call."""
        named = () if request_id is None else (("x-request-id", request_id),)
        return named if self.credential is None else (*named, ("authorization", f"Bearer {self.credential}"))

    def repeats(self, error: Any, attempts: int) -> bool:
        """Whether a stream or an order that ended with this ``grpc.RpcError`` is sent again after so many
        attempts; both may be without harm, as images are analysed the same and orders have keys."""
        code = error.code()
        lost = code is grpc.StatusCode.INTERNAL and error.details() == _LOST
        return (lost or code is grpc.StatusCode.UNAVAILABLE) and attempts < self.max_attempts

    def _service_config(self) -> Any:
        policy = {
            "maxAttempts": self.max_attempts,
            "initialBackoff": "0.2s",
            "maxBackoff": "3s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        names = [{"service": _SERVICE, "method": method} for method in _REPEATED]
        return {"methodConfig": [{"name": names, "retryPolicy": policy}]}


def pause_s(attempt: int) -> float:
    """Before the ``attempt``-th repetition of a stream, counted from 1."""
    return float(min(3.0, 0.2 * 2 ** (attempt - 1)))
