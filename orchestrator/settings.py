"""Typed settings from the environment: prefix ``WBC_``, nested names joined by ``__``.

``WBC_HTTP__PORT=9000`` sets ``settings.http.port``.
"""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.domain import Language

PROJECT_ROOT = Path(__file__).resolve().parents[1]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(_Section):
    """Where the HTTP edge listens."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    drain_delay_s: float = Field(
        default=0,
        ge=0,
        description="How long requests are still taken after SIGTERM, while /readyz tells load balancers "
        "that this process leaves; then it listens no more.",
    )
    drain_timeout_s: int = Field(
        default=35,
        ge=0,
        description="Time for open requests to end after that; more than the longest deadline, or some end "
        "without an answer.",
    )


class DeadlineSettings(_Section):
    """How long a request may take, from its first byte to its answer."""

    default_s: float = Field(default=15, gt=0, description="Of requests that name no time.")
    longest_s: float = Field(default=30, gt=0, description="Whatever a caller asks for.")


class AdmissionSettings(_Section):
    """Which requests are begun; the others are refused with the time after which to try again."""

    max_in_flight: int = Field(default=32, ge=1, description="Each may hold an upload and a decoded image.")
    max_waiting: int = Field(default=32, ge=0, description="Requests that wait for a place, unread.")
    max_wait_s: float = Field(default=2, ge=0)


class ImageSettings(_Section):
    """What an uploaded image may measure; checked before its pixels are decoded."""

    max_bytes: int = Field(default=10 * 2**20, ge=1)
    max_pixels: int = Field(default=25_000_000, ge=1)


class EmbeddedSettings(_Section):
    """The model server inside this process."""

    precision: Literal["f32", "bf16", "f16"] = "f32"
    threads: int | None = Field(default=None, ge=1, description="CPU threads; all cores where unset.")
    cache_dir: Path | None = Field(
        default=None,
        description="Keeps the compiled network for faster starts; writable by this service's user alone.",
    )
    max_queue_rows: int = Field(
        default=512, ge=8, description="The eight views of each analysis that may be under way."
    )
    batch_window_ms: float = Field(default=2.0, ge=0, le=1000)


class TfServingSettings(_Section):
    """A TensorFlow Serving to ask over gRPC, in place of the model server inside this process."""

    target: str | None = Field(
        default=None, min_length=1, description="host:port of its gRPC; the embedded one answers where unset."
    )
    version: int | None = Field(default=None, ge=1, description="WBC_MODEL_VERSION where unset.")
    version_label: str | None = Field(
        default=None, min_length=1, description="Whatever version has this label, instead of a version."
    )
    timeout_s: float = Field(default=5.0, gt=0, description="Of one question, its retries included.")
    start_timeout_s: float = Field(default=30.0, gt=0, description="How long a start waits for the server.")
    keepalive_s: float = Field(default=300.0, ge=300, description="The server refuses more frequent pings.")
    max_attempts: int = Field(default=3, ge=1, description="Calls for one question; 1 never retries.")
    retry_share: float = Field(default=0.2, ge=0, le=1, description="Retries and hedges per question.")
    retry_reserve: float = Field(default=10, ge=0, description="That many at once, after a quiet time.")
    hedge_after_ms: float | None = Field(
        default=None, gt=0, description="After how long classify is asked a second time; never where unset."
    )
    breaker_min_calls: int = Field(
        default=10, ge=1, le=20, description="Calls of which half must fail for the circuit to open."
    )
    breaker_open_s: float = Field(default=2.0, gt=0, description="How long the server is then left alone.")
    tls: bool = Field(default=False, description="The server is known by its certificate; lines encrypted.")
    ca_file: Path | None = Field(default=None, description="Checks it; the system's authorities where unset.")
    client_certificate_file: Path | None = Field(default=None, description="Of this service: mutual TLS.")
    client_key_file: Path | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.version is not None and self.version_label is not None:
            raise ValueError("expected a version or a version_label, received both")
        if (self.client_certificate_file is None) != (self.client_key_file is None):
            raise ValueError("expected both client_certificate_file and client_key_file, received one")
        if not self.tls and (self.ca_file or self.client_certificate_file):
            raise ValueError("expected tls with a file of certificates, received tls=false")
        return self


class FailoverSettings(_Section):
    """Who answers while TensorFlow Serving does not."""

    enabled: bool = Field(default=False, description="The model server inside this process does.")
    primary_share: float = Field(
        default=0.5, gt=0, lt=1, description="Of a request's time that TensorFlow Serving may use before."
    )


class _OtherVersion(_Section):
    """Another model beside the one that answers; the settings of that hold where nothing else is said."""

    version: int | None = Field(default=None, ge=1)
    version_label: str | None = Field(default=None, min_length=1, description="TensorFlow Serving's.")
    target: str | None = Field(default=None, min_length=1, description="host:port of another one.")

    @property
    def is_named(self) -> bool:
        return bool(self.version or self.version_label or self.target)

    @model_validator(mode="after")
    def _check_version(self) -> Self:
        if self.version is not None and self.version_label is not None:
            raise ValueError("expected a version or a version_label, received both")
        return self


class CanarySettings(_OtherVersion):
    """A version on trial, which answers for some of the requests."""

    share: float = Field(default=0, ge=0, le=1, description="Of the requests.")

    @model_validator(mode="after")
    def _check_share(self) -> Self:
        if self.share and not self.is_named:
            raise ValueError("expected a version, a version_label or a target with a share, received none")
        return self


class ShadowSettings(_OtherVersion):
    """A version that is asked the same, and whose answers are only compared."""

    max_pending: int = Field(default=4, ge=1, description="Copies under way; more are dropped.")
    timeout_s: float = Field(default=5, gt=0)


class TracingSettings(_Section):
    """Traces of requests by OpenTelemetry; needs the extra ``tracing``."""

    endpoint: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="http://host:port of a collector's OTLP over gRPC, or https://; no traces where unset.",
    )
    sample_share: float = Field(
        default=1.0, ge=0, le=1, description="Of the requests that are part of no caller's trace."
    )


class Settings(BaseSettings):
    """All settings of the service; frozen after start."""

    model_config = SettingsConfigDict(
        env_prefix="WBC_", env_nested_delimiter="__", frozen=True, extra="forbid"
    )

    http: HttpSettings = HttpSettings()
    deadline: DeadlineSettings = DeadlineSettings()
    admission: AdmissionSettings = AdmissionSettings()
    images: ImageSettings = ImageSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    tf_serving: TfServingSettings = TfServingSettings()
    failover: FailoverSettings = FailoverSettings()
    canary: CanarySettings = CanarySettings()
    shadow: ShadowSettings = ShadowSettings()
    tracing: TracingSettings = TracingSettings()
    log_format: Literal["text", "json"] = Field(
        default="text", description="One JSON object a line, or text."
    )
    log_requests: bool = Field(default=False, description="A line at the end of each analysis.")
    model_repository: Path = PROJECT_ROOT / "model_repository"
    model_version: int | None = Field(default=None, ge=1, description="The newest where unset.")
    profiles_dir: Path | None = Field(default=None, description="A site's own device profiles.")
    profile: str = Field(default="default", description="Profile of requests that name none.")
    language: Language = Field(default="en", description="Language of requests that name none.")
