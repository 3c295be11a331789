"""The composition root: the one place that names adapters. Tests differ from production only in arguments."""

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
from typing import TYPE_CHECKING, Any, Final, TextIO

import cv2
import uvicorn
from fastapi import FastAPI

from orchestrator import __version__
from orchestrator.allocator import keep_image_memory
from orchestrator.analyse import Services
from orchestrator.cores import available_cores
from orchestrator.device_audit_registry import AuditRegistry
from orchestrator.device_state import NO_AUDITS, DeviceAudits
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access_rules import AccessRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.http_api import create_app, running
from orchestrator.edge.http_protocol import bounded_protocol
from orchestrator.edge.request_frame import Deadlines
from orchestrator.edge.tls_handshakes import loops_with_handshakes_of
from orchestrator.errors import ConfigurationError, UnknownProfile
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.image_workers.processes import ImageProcesses
from orchestrator.image_workers.threads import ImageThreads
from orchestrator.interop_wiring import site_of
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.canary import CanaryModelServer
from orchestrator.model_server.failover import FailoverModelServer
from orchestrator.model_server.late_start import LateModelServer
from orchestrator.model_server.shadow import ShadowModelServer
from orchestrator.profiles import Profile, load_profiles
from orchestrator.report.base import ReportWriter
from orchestrator.report_wiring import build_report_writers
from orchestrator.request_context import current_request_id
from orchestrator.security_wiring import build_access, check_address, tls_context
from orchestrator.settings import PROJECT_ROOT, CanarySettings, Settings, ShadowSettings, unknown_variables
from orchestrator.specimen_wiring import build_specimens, order_limits
from orchestrator.specimens import Specimens
from orchestrator.store.base import Store
from orchestrator.store_wiring import build_store
from orchestrator.structured_logging import configure_logging
from orchestrator.telemetry import ModelServerMetrics, TfServingMetrics
from orchestrator.tracing import exported_traces
from orchestrator.vision.decode import DecodeLimits

if TYPE_CHECKING:
    from orchestrator.edge.grpc_server import GrpcServer

_LOGGER = logging.getLogger(__name__)

_BACKLOG: Final = 512
MOST_PROCESSES: Final = 8
"""For images, where nobody says how many: as many as the embedded network has streams at most."""

_EXAMPLE: Final = PROJECT_ROOT / "tests" / "golden" / "example.png"
"""An image that every clone has, and an installed package has not."""


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
    keep_image_memory()
    profiles = load_profiles(settings.profiles_dir)
    if settings.profile not in profiles:
        raise ConfigurationError(
            f"WBC_PROFILE: expected one of {', '.join(profiles)}, received {settings.profile!r}"
        )
    try:
        limits = DecodeLimits(settings.images.max_bytes, settings.images.max_pixels)
    except ValueError as error:
        raise ConfigurationError(f"WBC_IMAGES: {error}") from error
    writers = build_report_writers(settings)
    return Services(
        model_server=model_server or build_model_server(settings),
        report_writer=report_writer or writers.writer,
        profiles=profiles,
        default_profile=settings.profile,
        default_language=settings.language,
        decode_limits=limits,
        images=build_image_workers(settings),
        writers=writers.identities,
        local_writer=writers.single[-1],
        audits=audits_of(settings),
    )


def audits_of(settings: Settings) -> DeviceAudits:
    """The audits of the site's microscopes; none where no folder of them is named.

    Raises :class:`~orchestrator.errors.ConfigurationError` where it is no folder.
    """
    if settings.audits_dir is None:
        return NO_AUDITS
    try:
        return AuditRegistry(settings.audits_dir, settings.embedded.precision)
    except ConfigurationError as error:
        raise ConfigurationError(f"WBC_AUDITS_DIR: {error}") from error


def profile_of(services: Services, name: str | None) -> Profile:
    """The profile that a command was given; the default one where None.

    Raises :class:`~orchestrator.errors.ConfigurationError` where there is no such profile.
    """
    try:
        return services.profile(name)
    except UnknownProfile as error:
        raise ConfigurationError(f"no profile {name!r}; there are {', '.join(error.known)}") from error


def build_image_workers(settings: Settings) -> ImageWorkers:
    """Where the steps on pixels run.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the settings ask for what is not there.
    """
    processes = settings.images.processes
    if not hasattr(os, "memfd_create"):  # anything but Linux
        if processes:
            raise ConfigurationError("WBC_IMAGES__PROCESSES: expected 0 on this operating system")
        return ImageThreads()
    if processes is None:
        # Beside a TensorFlow Serving many small orchestrators share the work instead.
        processes = min(available_cores() // 2, MOST_PROCESSES) if settings.tf_serving.target is None else 0
    return ImageProcesses(processes) if processes else ImageThreads()


def build_model_server(settings: Settings) -> ModelServer:
    """What answers, with all that is wrapped around it.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the settings do not go together.
    """
    single = single_model_servers(settings)
    server = single["model"]
    if "failover" in single:
        server = FailoverModelServer(
            LateModelServer(server), single["failover"], primary_share=settings.failover.primary_share
        )
    if "canary" in single:
        server = CanaryModelServer(
            server,
            LateModelServer(single["canary"]),
            share=settings.canary.share,
            request_name=current_request_id,
        )
    if "shadow" in single:
        server = ShadowModelServer(
            server,
            LateModelServer(single["shadow"]),
            max_pending=settings.shadow.max_pending,
            timeout_s=settings.shadow.timeout_s,
        )
    return server


def single_model_servers(settings: Settings) -> dict[str, ModelServer]:
    """Every model server that the settings name, by its part, with nothing wrapped around it.

    Raises :class:`~orchestrator.errors.ConfigurationError` where the settings do not go together.
    """
    servers = {"model": one_model_server(settings)}
    if settings.failover.enabled:
        if settings.tf_serving.target is None:
            raise ConfigurationError("WBC_FAILOVER__ENABLED: expected WBC_TF_SERVING__TARGET with it")
        servers["failover"] = embedded_model_server(settings)
    if settings.canary.share:
        servers["canary"] = one_model_server(_with_version(settings, settings.canary), "canary")
    if settings.shadow.is_named:
        servers["shadow"] = one_model_server(_with_version(settings, settings.shadow), "shadow")
    return servers


def one_model_server(settings: Settings, role: str = "") -> ModelServer:
    """TensorFlow Serving where its target is set, else the model server inside this process."""
    if settings.tf_serving.target is None:
        if settings.tf_serving.version_label is not None:
            raise ConfigurationError(
                "a version_label is known to TensorFlow Serving only, and no target is set"
            )
        return embedded_model_server(settings, role)
    return tf_serving_model_server(settings, settings.tf_serving.target, role)


def _with_version(settings: Settings, other: CanarySettings | ShadowSettings) -> Settings:
    named = other.version is not None or other.version_label is not None
    tf_serving = settings.tf_serving.model_copy(
        update={
            "target": other.target or settings.tf_serving.target,
            "version": other.version if named else settings.tf_serving.version,
            "version_label": other.version_label if named else settings.tf_serving.version_label,
        }
    )
    version = other.version or settings.model_version
    return settings.model_copy(update={"tf_serving": tf_serving, "model_version": version})


def tf_serving_model_server(settings: Settings, target: str, role: str = "") -> ModelServer:
    """The client of the TensorFlow Serving at ``target``."""
    # Here and below: gRPC and OpenVINO each cost memory and time, and a process needs one of them.
    from orchestrator.model_server.grpc_channel import TlsFiles
    from orchestrator.model_server.tf_serving import TfServingModelServer, TfServingOptions

    chosen = settings.tf_serving
    version = settings.model_version if chosen.version is None else chosen.version
    files = TlsFiles(chosen.ca_file, chosen.client_certificate_file, chosen.client_key_file)
    options = TfServingOptions(
        target,
        version=version if chosen.version_label is None else None,
        version_label=chosen.version_label,
        tls=files if chosen.tls else None,
        timeout_s=chosen.timeout_s,
        start_timeout_s=chosen.start_timeout_s,
        keepalive_s=chosen.keepalive_s,
        max_attempts=chosen.max_attempts,
        retry_share=chosen.retry_share,
        retry_reserve=chosen.retry_reserve,
        hedge_after_s=None if chosen.hedge_after_ms is None else chosen.hedge_after_ms / 1000,
        breaker_min_calls=chosen.breaker_min_calls,
        breaker_open_s=chosen.breaker_open_s,
    )
    observer = TfServingMetrics(f"tf_serving_{role}" if role else "tf_serving", answers=role != "shadow")
    return TfServingModelServer(options, observer=observer)


def embedded_model_server(settings: Settings, role: str = "") -> ModelServer:
    """The model server inside this process."""
    from orchestrator.model_server.embedded import EmbeddedModelServer

    embedded = settings.embedded
    return EmbeddedModelServer(
        settings.model_repository / MODEL_NAME,
        version=settings.model_version,
        precision=embedded.precision,
        threads=embedded.threads,
        cache_dir=embedded.cache_dir,
        max_queue_rows=embedded.max_queue_rows,
        observer=None if role else ModelServerMetrics(),  # one queue has one length
    )


def build_admission(settings: Settings) -> Admission:
    """The places of requests under way, which all edges share."""
    places = settings.admission
    return Admission(places.max_in_flight, places.max_waiting, places.max_wait_s)


def build_app(
    settings: Settings,
    services: Services | None = None,
    draining: Draining | None = None,
    *,
    admission: Admission | None = None,
    store: Store | None = None,
    specimens: Specimens | None = None,
    access: AccessRules | None = None,
) -> FastAPI:
    """The HTTP application, for any ASGI server; ``specimens`` are those over ``store`` where not given."""
    services = services or build_services(settings)
    draining = draining or Draining()
    admission = admission or build_admission(settings)
    if specimens is None and store is not None:
        specimens = build_specimens(settings.differential, services, store, admission, draining)
    return create_app(
        services,
        admission=admission,
        deadlines=Deadlines(settings.deadline.default_s, settings.deadline.longest_s),
        draining=draining,
        access=access or build_access(settings),
        specimens=specimens,
        order_limits=order_limits(settings.differential),
        site=site_of(settings.interop),
        audits_folder=settings.audits_dir,
    )


def serve(settings: Settings, services: Services | None = None, store: Store | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then let open requests end, for at most the drain timeout.

    After SIGTERM requests are still taken for the drain delay, while readiness is denied.

    Raises:
        ConfigurationError: a setting is wrong.
        ModelServerError: the model cannot be loaded.
        SystemExit: with code 1, where the port cannot be listened on; the reason is one line on stderr.
    """
    configure_logging(settings.log_format, requests=settings.log_requests)
    for variable, advice in unknown_variables(os.environ).items():
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
                    settings, services, draining, admission=admission, specimens=specimens, access=access
                ),
                http=bounded_protocol(
                    header_timeout_s=security.header_timeout_s,
                    send_timeout_s=security.send_timeout_s,
                    max_connections=security.max_connections,
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
            from orchestrator.grpc_wiring import build_grpc_server  # imports gRPC: time and memory

            build_grpc = partial(
                build_grpc_server, settings, services, admission, draining, access, specimens
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
