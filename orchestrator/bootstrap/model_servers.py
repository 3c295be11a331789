"""Assembles from the settings what answers for the network, with all that is wrapped around it."""

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MODEL_NAME
from orchestrator.model_server.base import ModelServer
from orchestrator.model_server.canary import CanaryModelServer
from orchestrator.model_server.failover import FailoverModelServer
from orchestrator.model_server.late_start import LateModelServer
from orchestrator.model_server.shadow import ShadowModelServer
from orchestrator.observability.metrics import ModelServerMetrics, TfServingMetrics
from orchestrator.observability.request_context import current_request_id
from orchestrator.settings import CanarySettings, Settings, ShadowSettings


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
    """A server elsewhere where its target is set, else the model server inside this process."""
    chosen = settings.tf_serving
    if chosen.version_label is not None and (chosen.target is None or chosen.protocol != "tf_serving"):
        raise ConfigurationError(
            "a version_label is known to TensorFlow Serving only, and no target of one is set"
        )
    if chosen.target is None:
        return embedded_model_server(settings, role)
    return remote_model_server(settings, chosen.target, role)


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


def remote_model_server(settings: Settings, target: str, role: str = "") -> ModelServer:
    """The client of the servers at ``target``, by the protocol that is set."""
    # Here and below: gRPC and OpenVINO each cost memory and time, and a process needs one of them.
    from orchestrator.model_server.grpc_channel import TlsFiles
    from orchestrator.model_server.open_inference import OpenInferenceModelServer
    from orchestrator.model_server.remote import RemoteOptions
    from orchestrator.model_server.tf_serving import TfServingModelServer

    chosen = settings.tf_serving
    version = settings.model_version if chosen.version is None else chosen.version
    files = TlsFiles(chosen.ca_file, chosen.client_certificate_file, chosen.client_key_file)
    options = RemoteOptions(
        target,
        version=version if chosen.version_label is None else None,
        version_label=chosen.version_label,
        sha256=chosen.sha256,
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
    if chosen.protocol == "open_inference":
        return OpenInferenceModelServer(options, observer=observer)
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
