"""Assembles the gRPC edge from the settings; imported only where there is one."""

from orchestrator.adaptation.service import Adaptations
from orchestrator.analyse import Services
from orchestrator.bootstrap.specimens import order_limits
from orchestrator.edge.access.rules import AccessRules
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.edge.grpc.server import MESSAGE_OVERHEAD_BYTES, GrpcOptions, GrpcServer
from orchestrator.edge.grpc.stream import StreamLimits
from orchestrator.edge.inference_grpc import inference_service
from orchestrator.edge.request_frame import Deadlines
from orchestrator.edge.tls.renewed_files import CertificateFiles
from orchestrator.settings import GrpcTlsSettings, Settings
from orchestrator.specimens.service import Specimens


def build_grpc_server(
    settings: Settings,
    services: Services,
    admission: Admission,
    draining: Draining,
    access: AccessRules,
    specimens: Specimens | None = None,
    adaptations: Adaptations | None = None,
) -> GrpcServer:
    """The server, on the running event loop, with its port taken. Raises as :class:`GrpcServer`."""
    deadlines = Deadlines(settings.deadline.default_s, settings.deadline.longest_s)
    return GrpcServer(
        grpc_options(settings),
        services,
        admission=admission,
        deadlines=deadlines,
        draining=draining,
        access=access,
        specimens=specimens,
        adaptations=adaptations,
        order_limits=order_limits(settings.differential),
        others=(inference_service(services, admission, deadlines, draining),),
    )


def grpc_options(settings: Settings) -> GrpcOptions:
    """Where the server listens, and what it bears; any free port where none is set."""
    chosen = settings.grpc
    return GrpcOptions(
        host=chosen.host,
        port=chosen.port or 0,
        tls=_tls(chosen.tls),
        max_message_bytes=chosen.max_message_bytes or settings.images.max_bytes + MESSAGE_OVERHEAD_BYTES,
        max_calls=chosen.max_calls,
        connection_age_s=chosen.connection_age_s,
        streams=StreamLimits(chosen.max_streams, chosen.stream_window, chosen.stream_idle_s),
        reflection=chosen.reflection,
    )


def _tls(files: GrpcTlsSettings) -> CertificateFiles | None:
    if files.certificate_file is None or files.key_file is None:
        return None
    return CertificateFiles(files.certificate_file, files.key_file, files.client_ca_file)
