"""The server of the gRPC edge: its port, its TLS and its limits; how it begins and ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc
from grpc_health.v1 import health_pb2_grpc

from orchestrator.adaptation.service import Adaptations
from orchestrator.analyse import Services
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.grpc.calls import SERVICE, Calls, Service
from orchestrator.edge.grpc.health import HEALTH_SERVICE, Health
from orchestrator.edge.grpc.reflection import enable_reflection
from orchestrator.edge.grpc.service import GrpcService
from orchestrator.edge.grpc.stream import StreamLimits
from orchestrator.edge.orders import OrderLimits
from orchestrator.edge.readiness import require_readiness
from orchestrator.edge.request_frame import Deadlines
from orchestrator.edge.tls.grpc import server_credentials
from orchestrator.edge.tls.renewed_files import CertificateFiles
from orchestrator.errors import ConfigurationError
from orchestrator.specimens.service import Specimens

MESSAGE_OVERHEAD_BYTES: Final = 64 * 2**10
"""What a message has beside its image."""

_CONNECTIONS: Final = 500
_STREAMS_OF_A_CONNECTION: Final = 100
_UNREAD_BYTES: Final = 2**20
_HANDSHAKE_MS: Final = 10_000
_KEEPALIVE_MS: Final = 60_000
_LEAST_PING_INTERVAL_MS: Final = 20_000


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """Where the server listens, and what it bears.

    Args:
        host, port: of the address; port 0 for any that is free.
        tls: plain text where None.
        max_message_bytes: of one message; larger ones are refused with ``RESOURCE_EXHAUSTED``.
        max_calls: under way at a time, of all callers, health checks included; each may hold a message, and
            those of streams their window of them, which bounds memory.
        connection_age_s: after which a caller is asked to connect anew, which spreads callers over replicas;
            calls under way go on.
        streams: see :class:`~.grpc_stream.StreamLimits`.
        reflection: whether callers may ask for the protos.
    """

    host: str = "127.0.0.1"
    port: int = 0
    tls: CertificateFiles | None = None
    max_message_bytes: int = 10 * 2**20 + MESSAGE_OVERHEAD_BYTES
    max_calls: int = 100
    connection_age_s: float = 600.0
    streams: StreamLimits = field(default_factory=StreamLimits)
    reflection: bool = True


class GrpcServer:
    """One server on the running event loop. The port is taken at once; :meth:`start` begins to answer.

    ``others`` are services beside ``wbc.v1.Analyzer``.

    Raises:
        ConfigurationError: the address cannot be listened on, or a file of TLS is missing or wrong.
    """

    def __init__(
        self,
        options: GrpcOptions,
        services: Services,
        *,
        admission: Admission,
        deadlines: Deadlines,
        draining: Draining,
        access: AccessRules,
        specimens: Specimens | None = None,
        adaptations: Adaptations | None = None,
        order_limits: OrderLimits | None = None,
        others: Sequence[Service] = (),
    ) -> None:
        self._leaving = asyncio.Event()
        service = GrpcService(
            services,
            admission,
            deadlines,
            specimens=specimens,
            adaptations=adaptations,
            order_limits=order_limits or OrderLimits(),
            stream_limits=options.streams,
            leaving=self._leaving,
        )
        health = Health(
            lambda: require_readiness(
                services.model_server, draining, None if specimens is None else specimens.probe
            ),
            lambda: draining.begun,
            (SERVICE, *(other.name for other in others)),
            self._leaving,
        )
        self._server = grpc.aio.server(
            options=_channel_options(options), maximum_concurrent_rpcs=options.max_calls
        )
        calls = Calls(access)
        self._server.add_generic_rpc_handlers(
            (
                calls.handlers(SERVICE, service.methods()),
                *(calls.handlers(other.name, other.methods) for other in others),
            )
        )
        health_pb2_grpc.add_HealthServicer_to_server(health, self._server)
        if options.reflection:
            names = (SERVICE, *(other.name for other in others), HEALTH_SERVICE)
            enable_reflection(names, self._server)
        self.port = self._listen(options)
        self._started = False

    async def start(self) -> None:
        """Begin to answer."""
        self._started = True
        await self._server.start()

    async def stop(self, grace_s: float) -> None:
        """Take no further call, let those under way end for ``grace_s`` seconds, then break them off.

        Streams read no more at once, answer what they have read, and end. Again with less time: sooner.
        """
        self._leaving.set()
        if not self._started:  # a server of gRPC that never began would keep its port
            await self.start()
        await self._server.stop(grace_s)

    def _listen(self, options: GrpcOptions) -> int:
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{options.port}"
        try:
            if options.tls is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, server_credentials(options.tls))
        except RuntimeError as error:
            raise ConfigurationError(
                f"cannot listen on {options.host} port {options.port}; choose another with WBC_GRPC__PORT"
            ) from error
        return int(port)


def _channel_options(options: GrpcOptions) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", options.max_message_bytes),
        # What a caller may send before it is read, and so what one call gets through in a round trip. Left to
        # itself gRPC takes as much as the line holds, which is hundreds of MiB on a long one.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", _UNREAD_BYTES),
        # A result may hold a heatmap of the largest image, and is our own.
        ("grpc.max_send_message_length", -1),
        ("grpc.max_allowed_incoming_connections", _CONNECTIONS),
        ("grpc.max_concurrent_streams", _STREAMS_OF_A_CONNECTION),
        ("grpc.max_connection_age_ms", round(options.connection_age_s * 1000)),
        # Who connects and says nothing.
        ("grpc.server_handshake_timeout_ms", _HANDSHAKE_MS),
        # Notices callers whose machine is gone; their calls end then.
        ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
        ("grpc.keepalive_timeout_ms", 20_000),
        ("grpc.http2.min_ping_interval_without_data_ms", _LEAST_PING_INTERVAL_MS),
        # A second process on the same port would silently get half of the calls.
        ("grpc.so_reuseport", 0),
    ]
