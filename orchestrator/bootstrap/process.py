"""The life of the serving process: its ports, its signals, and its normal end."""

import asyncio
import errno
import json
import logging
import math
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import uvicorn

from orchestrator import __version__
from orchestrator.analyse import Services
from orchestrator.bootstrap.security import build_access, check_address, tls_context
from orchestrator.bootstrap.services import build_adaptations, build_admission, build_app, build_services
from orchestrator.bootstrap.specimens import build_specimens
from orchestrator.bootstrap.store import build_store
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.draining import Draining
from orchestrator.edge.http.protocol import BoundedHttpProtocol
from orchestrator.edge.http_app import running
from orchestrator.edge.tls.handshakes import loops_with_handshakes_of
from orchestrator.errors import ConfigurationError
from orchestrator.observability.structured_logging import configure_logging
from orchestrator.observability.tracing import exported_traces
from orchestrator.settings import PROJECT_ROOT, Settings, unknown_variables, variables
from orchestrator.specimens.service import Specimens
from orchestrator.store.base import Store

if TYPE_CHECKING:
    from orchestrator.edge.grpc.server import GrpcServer

_LOGGER = logging.getLogger(__name__)

_BACKLOG: Final = 512

_EXAMPLE: Final = PROJECT_ROOT / "tests" / "golden" / "example.png"
"""An image that every clone has, and an installed package has not."""


def serve(settings: Settings, services: Services | None = None, store: Store | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then let open requests end, for at most the drain timeout.

    After SIGTERM requests are still taken for the drain delay, while readiness is denied.

    Raises:
        ConfigurationError: a setting is wrong.
        ModelServerError: the model cannot be loaded.
        SystemExit: with code 1, where the port cannot be listened on; the reason is one line on stderr.
    """
    configure_logging(settings.log_format, requests=settings.log_requests)
    for variable, advice in unknown_variables(variables()).items():
        _LOGGER.warning("%s: %s", variable, advice)
    services = services or build_services(settings)
    draining = Draining()
    access, security = build_access(settings), settings.security
    check_address(settings, settings.http.host, "WBC_HTTP__HOST", access)
    if settings.grpc.port is not None:
        check_address(settings, settings.grpc.host, "WBC_GRPC__HOST", access)
    tls = tls_context(settings)
    admission = build_admission(settings)
    specimens = None
    store = store or build_store(settings.store)
    if store is not None:
        specimens = build_specimens(settings.differential, services, store, admission, draining)
    listener = _listener(settings)
    with listener:
        server = _Server(
            uvicorn.Config(
                build_app(
                    settings,
                    services,
                    draining,
                    admission=admission,
                    store=store,
                    specimens=specimens,
                    access=access,
                ),
                http=cast(
                    type[asyncio.Protocol],
                    partial(
                        BoundedHttpProtocol,
                        header_timeout_s=security.header_timeout_s,
                        send_timeout_s=security.send_timeout_s,
                        max_connections=security.max_connections,
                    ),
                ),
                ssl_context_factory=None if tls is None else lambda *_: tls,
                proxy_headers=bool(security.trusted_proxies),
                forwarded_allow_ips=list(security.trusted_proxies),
                ws="none",
                lifespan="off",  # run around the server below, so that its errors reach the caller
                log_config=None,
                log_level="warning",
                access_log=False,  # addresses of users, and nothing that the metrics do not tell
                server_header=False,
                timeout_graceful_shutdown=settings.http.drain_timeout_s,
            ),
            announcement(settings, listener.getsockname()),
            sys.stdout,
            draining,
            settings.http.drain_delay_s,
        )
        build_grpc = None
        if settings.grpc.port is not None:
            from orchestrator.bootstrap.grpc_edge import build_grpc_server  # imports gRPC: time and memory

            build_grpc = partial(
                build_grpc_server,
                settings,
                services,
                admission,
                draining,
                access,
                specimens,
                build_adaptations(settings, services, store),
            )
        loop_factory = loops_with_handshakes_of(security.header_timeout_s)
        # A Ctrl-C while the model is loaded is as normal an end as one later.
        with (
            exported_traces(
                settings.tracing.endpoint,
                service_version=__version__,
                sample_share=settings.tracing.sample_share,
            ),
            suppress(KeyboardInterrupt),
            asyncio.Runner(loop_factory=loop_factory) as runner,
        ):
            runner.run(_serve(server, services, listener, specimens, build_grpc))


async def _serve(
    server: "_Server",
    services: Services,
    listener: socket.socket,
    specimens: Specimens | None,
    build_grpc: "Callable[[], GrpcServer] | None",
) -> None:
    grpc_server = build_grpc() if build_grpc else None  # its port, too, is taken before the model is loaded
    try:
        async with running(services, specimens):
            if grpc_server:
                await grpc_server.start()
                server.stops_with.append(grpc_server.stop)
            await server.serve(sockets=[listener])
    finally:
        if grpc_server:
            await grpc_server.stop(0)


class _Server(uvicorn.Server):
    """Says when it is ready, goes on for a while after SIGTERM, and ends normally.

    Uvicorn stops listening at once, while load balancers still send; and raises the signal again once it has
    stopped, which would kill this process before the model server is closed.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        announcement: str,
        out: TextIO,
        draining: Draining,
        drain_delay_s: float,
    ) -> None:
        super().__init__(config)
        self._announcement = announcement
        self._out = out
        self._draining = draining
        self._drain_delay_s = drain_delay_s
        self._leaves_at_s = math.inf
        self.stops_with: list[Callable[[float], Awaitable[None]]] = []
        """Other edges: told to end, with the seconds that their calls have, when this one ends."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._out.write(self._announcement)
        self._out.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's signature)
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True  # a second Ctrl-C: do not wait for open requests
        if sig == signal.SIGTERM and not self._draining.begun:
            self._leaves_at_s = time.monotonic() + self._drain_delay_s
        else:  # a person at a terminal, or somebody who asks twice
            self.should_exit = True
        self._draining.begin()

    async def on_tick(self, counter: int) -> bool:
        self.should_exit |= time.monotonic() >= self._leaves_at_s
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        grace_s = self.config.timeout_graceful_shutdown or 0
        others = [asyncio.ensure_future(stop(grace_s)) for stop in self.stops_with]
        await super().shutdown(sockets)
        if self.force_exit:
            await asyncio.gather(*(stop(0) for stop in self.stops_with))
        await asyncio.gather(*others)


def listen(host: str, port: int, variable: str) -> socket.socket:
    """Take a port of an edge.

    Raises :class:`~orchestrator.errors.ConfigurationError`, with what to do about it, where it cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).partition(" (while")[0]
        advice = f"choose another port with {variable}"
        if getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
            its_own = variable.replace("PORT", "HOST").replace("port", "host")
            advice = f"name an address of this machine with {its_own}"
        raise ConfigurationError(f"cannot listen on {host} port {port} ({reason}); {advice}") from error


def _listener(settings: Settings) -> socket.socket:
    """The port of the HTTP edge, taken before the model is loaded, so that a port in use is known at once."""
    try:
        return listen(settings.http.host, settings.http.port, "WBC_HTTP__PORT or --port")
    except ConfigurationError as error:
        sys.stderr.write(f"error: {error}\n")
        raise SystemExit(1) from error


def announcement(settings: Settings, listens_on: tuple[Any, ...], example: Path = _EXAMPLE) -> str:
    """What is printed once the service is ready: where it is, and how to try it.

    Args:
        settings: of the service.
        listens_on: address and port, as the socket has them.
        example: an image to try it with, where there is one.
    """
    address, port = listens_on[:2]
    where = f"{_in_url(address)}:{port}"
    host = settings.http.host
    # The name that a machine's own certificate has; and 0.0.0.0 is no address to ask.
    name = "localhost" if address in ("0.0.0.0", "::", "127.0.0.1") else _in_url(host)
    url = f"{'http' if settings.security.tls.certificate_file is None else 'https'}://{name}:{port}"
    if settings.log_format == "json":  # whoever reads the log often reads both streams as one
        told = {"message": f"ready on {url}", "listens_on": where, "disclaimer": DISCLAIMER}
        return json.dumps(told) + "\n"
    everywhere = " (every address of this machine)" if address in ("0.0.0.0", "::") else ""
    image, note = "cell.jpg", "   (cell.jpg: an image of yours)"
    if example.is_file():
        image, note = shlex.quote(os.path.relpath(example)), ""
    return (
        f"WBC analysis service ready on {url}\n"
        f"  listens on     {where}{everywhere}\n"
        f"  documentation  {url}/docs\n"
        f"  try it         curl --fail-with-body -F file=@{image} {url}/predict{note}\n"
        f"{_grpc_line(settings)}"
        f"  stop it        Ctrl-C\n"
        f"{DISCLAIMER}\n"
    )


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _grpc_line(settings: Settings) -> str:
    grpc = settings.grpc
    where = f"{_in_url(grpc.host)}:{grpc.port}"
    return "" if grpc.port is None else f"  gRPC           {where} (wbc.v1.Analyzer)\n"
