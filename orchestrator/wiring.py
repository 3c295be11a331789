"""The composition root: the one place that names adapters. Tests differ from production only in arguments."""

import asyncio
import logging
import signal
import socket
import sys
from contextlib import suppress
from types import FrameType
from typing import Final, TextIO

import cv2
import uvicorn
from fastapi import FastAPI

from orchestrator.analyse import Services
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.http_api import create_app, running
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.embedded import EmbeddedModelServer
from orchestrator.profiles import load_profiles
from orchestrator.report.base import ReportWriter
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.settings import HttpSettings, Settings
from orchestrator.telemetry import ModelServerMetrics
from orchestrator.vision.decode import DecodeLimits

_BACKLOG: Final = 512
_ANYWHERE: Final = ("0.0.0.0", "::", "127.0.0.1", "::1")


def build_services(
    settings: Settings,
    *,
    model_server: ModelServer | None = None,
    report_writer: ReportWriter | None = None,
) -> Services:
    """Assemble what an analysis needs; nothing is started yet.

    Raises :class:`~orchestrator.errors.ConfigurationError` where a setting or a profile is wrong.
    """
    # Several requests run their OpenCV steps in threads of their own at once. OpenCV's own threads within
    # each of them would fight over the cores with these, and with the network.
    cv2.setNumThreads(1)
    profiles = load_profiles(settings.profiles_dir)
    if settings.profile not in profiles:
        raise ConfigurationError(
            f"WBC_PROFILE: expected one of {', '.join(profiles)}, received {settings.profile!r}"
        )
    try:
        limits = DecodeLimits(settings.images.max_bytes, settings.images.max_pixels)
    except ValueError as error:
        raise ConfigurationError(f"WBC_IMAGES: {error}") from error
    return Services(
        model_server=model_server or _embedded_model_server(settings),
        report_writer=report_writer or RuleBasedWriter(),
        profiles=profiles,
        default_profile=settings.profile,
        default_language=settings.language,
        decode_limits=limits,
    )


def _embedded_model_server(settings: Settings) -> ModelServer:
    embedded = settings.embedded
    return EmbeddedModelServer(
        settings.model_repository / MODEL_NAME,
        version=settings.model_version,
        precision=embedded.precision,
        threads=embedded.threads,
        cache_dir=embedded.cache_dir,
        max_queue_rows=embedded.max_queue_rows,
        batch_window_s=embedded.batch_window_ms / 1000,
        observer=ModelServerMetrics(),
    )


def build_app(settings: Settings, services: Services | None = None) -> FastAPI:
    """The HTTP application, for any ASGI server."""
    return create_app(services or build_services(settings))


def serve(settings: Settings, services: Services | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then let open requests end, for at most the drain timeout.

    Raises:
        ConfigurationError: a setting is wrong.
        ModelServerError: the model cannot be loaded.
        SystemExit: with code 1, where the port cannot be listened on; the reason is one line on stderr.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    services = services or build_services(settings)
    listener = _listen(settings.http)
    with listener:
        server = _Server(
            uvicorn.Config(
                build_app(settings, services),
                loop="uvloop" if sys.platform != "win32" else "asyncio",
                http="httptools",
                ws="none",
                lifespan="off",  # run around the server below, so that its errors reach the caller
                log_config=None,
                log_level="warning",
                access_log=False,  # addresses of users, and nothing that the metrics do not tell
                server_header=False,
                timeout_graceful_shutdown=settings.http.drain_timeout_s,
            ),
            _announcement(settings.http),
            sys.stdout,
        )
        loop_factory = server.config.get_loop_factory()
        # A Ctrl-C while the model is loaded is as normal an end as one later.
        with suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(_serve(server, services, listener))


async def _serve(server: "_Server", services: Services, listener: socket.socket) -> None:
    async with running(services):
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Says when it is ready, and ends normally at a signal.

    Uvicorn raises the signal again once it has stopped, which would kill this process before the model
    server is closed.
    """

    def __init__(self, config: uvicorn.Config, announcement: str, out: TextIO) -> None:
        super().__init__(config)
        self._announcement = announcement
        self._out = out

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._out.write(self._announcement)
        self._out.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 (uvicorn's signature)
        if self.should_exit and sig == signal.SIGINT:
            self.force_exit = True  # a second Ctrl-C: do not wait for open requests
        self.should_exit = True


def _listen(http: HttpSettings) -> socket.socket:
    """Take the port before the model is loaded, so that a port in use is known at once."""
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    try:
        return socket.create_server((http.host, http.port), family=family, backlog=_BACKLOG)
    except OSError as error:
        reason = error.strerror or str(error)
        sys.stderr.write(
            f"error: cannot listen on {http.host} port {http.port} ({reason}); "
            "choose another port with WBC_HTTP__PORT or --port\n"
        )
        raise SystemExit(1) from error


def _announcement(http: HttpSettings) -> str:
    host = "localhost" if http.host in _ANYWHERE else f"[{http.host}]" if ":" in http.host else http.host
    url = f"http://{host}:{http.port}"
    return (
        f"WBC analysis service ready on {url}\n"
        f"  documentation  {url}/docs\n"
        f"  try it         curl -F file=@cell.jpg {url}/predict\n"
        f"  stop it        Ctrl-C\n"
        f"{DISCLAIMER}\n"
    )
