"""Typed settings from the environment and a file ``.env``: prefix ``WBC_``, nested names joined by ``__``.

``WBC_HTTP__PORT=9000`` sets ``settings.http.port``.
"""

import json
import logging
import os
import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_origin
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, SettingsConfigDict, SettingsError

from orchestrator.domain import Language
from orchestrator.errors import ConfigurationError
from orchestrator.interop.hl7v2_text import CharacterSet
from orchestrator.interop.site import CountMethod, ProcessingId
from orchestrator.labels import SmudgeRule
from orchestrator.store.base import KeepImages

PROJECT_ROOT = Path(__file__).resolve().parents[1]

_PREFIX: Final = "WBC_"
_ENV_FILE: Final = "WBC_ENV_FILE"
"""Where the file with variables is, ``.env`` in the working directory where unset; none where empty."""

_OTHER_VARIABLES: Final = frozenset({"WBC_DATA_ROOT", "WBC_FHIR_R4_SCHEMA", "WBC_LOAD_TIMES", _ENV_FILE})
"""Of the Makefile, the tests, the load and the reading of settings; no settings of the service."""

_READ_BY_OTHERS: Final = 0o077

_LOGGER = logging.getLogger(__name__)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class HttpSettings(_Section):
    """Where the HTTP edge listens."""

    host: str = Field(
        default="127.0.0.1", description="0.0.0.0 for all addresses; others than loopback ask who is there."
    )
    port: int = Field(default=8000, ge=1, le=65535, description="Of HTTP, or of HTTPS with security.tls.")
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


class GrpcTlsSettings(_Section):
    """TLS of the gRPC edge; files in PEM, read again when they change."""

    certificate_file: Path | None = Field(default=None, description="With its chain; no TLS where unset.")
    key_file: Path | None = Field(default=None, description="Of the certificate.")
    client_ca_file: Path | None = Field(
        default=None, description="Clients must show a certificate of it: mutual TLS."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("expected both certificate_file and key_file, received one")
        if self.client_ca_file is not None and self.certificate_file is None:
            raise ValueError("expected certificate_file with client_ca_file, received none")
        return self


class GrpcSettings(_Section):
    """Where the gRPC edge listens; it drains as the HTTP edge does, with the times of that."""

    host: str = Field(default="127.0.0.1", description="As of HTTP.")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="9000 by custom; there is no gRPC edge where unset."
    )
    tls: GrpcTlsSettings = GrpcTlsSettings()
    max_message_bytes: int | None = Field(
        default=None, ge=2**16, description="images.max_bytes and 64 KiB where unset."
    )
    max_calls: int = Field(
        default=100, ge=1, description="Under way at a time, health checks included; each may hold a message."
    )
    max_streams: int = Field(default=4, ge=1, description="Calls of AnalyzeStream under way at a time.")
    stream_window: int = Field(
        default=8, ge=1, description="Images of one stream that are under way; no more are read."
    )
    stream_idle_s: float = Field(
        default=120, gt=0, description="How long a stream may say nothing, and not read its answers."
    )
    connection_age_s: float = Field(
        default=600,
        ge=1,
        description="After which callers are asked to connect anew, so that they spread over replicas.",
    )
    reflection: bool = Field(default=True, description="Whether callers may ask for the protos.")


class DeadlineSettings(_Section):
    """How long a request may take, from its first byte to its answer."""

    default_s: float = Field(default=15, gt=0, description="Of requests that name no time.")
    longest_s: float = Field(default=30, gt=0, description="Whatever a caller asks for.")


class AdmissionSettings(_Section):
    """Which requests are begun; the others are refused with the time after which to try again."""

    max_in_flight: int = Field(default=32, ge=1, description="Each may hold an upload and a decoded image.")
    max_waiting: int = Field(default=32, ge=0, description="Requests that wait for a place, unread.")
    max_wait_s: float = Field(default=2, ge=0, description="For a place.")


class ImageSettings(_Section):
    """What an uploaded image may measure; checked before its pixels are decoded."""

    max_bytes: int = Field(default=10 * 2**20, ge=1, description="Of the file: 10 MiB.")
    max_pixels: int = Field(default=25_000_000, ge=1, description="Width times height.")
    max_field_bytes: int = Field(
        default=64 * 2**20, ge=1, description="Of the file of a whole field: 64 MiB."
    )
    max_field_pixels: int = Field(default=100_000_000, ge=1, description="Of a whole field.")
    processes: int | None = Field(
        default=None,
        ge=0,
        le=64,
        description="Processes for the steps on pixels, 35 MB each; 0: threads of the service. Where unset, "
        "one for two cores, at most 8, beside an embedded model, and 0 with a TensorFlow Serving.",
    )


class EmbeddedSettings(_Section):
    """The model server inside this process."""

    precision: Literal["f32", "bf16", "f16"] = Field(
        default="f32", description="Of the network's arithmetic."
    )
    threads: int | None = Field(default=None, ge=1, description="CPU threads; all cores where unset.")
    cache_dir: Path | None = Field(
        default=None,
        description="Keeps the compiled network for faster starts; writable by this service's user alone.",
    )
    max_queue_rows: int = Field(
        default=512, ge=8, description="The eight views of each analysis that may be under way."
    )


ModelProtocol = Literal["tf_serving", "open_inference"]
"""What a model server elsewhere speaks."""


class TfServingSettings(_Section):
    """A TensorFlow Serving, or another server, to ask over gRPC in place of the one inside this process."""

    protocol: ModelProtocol = Field(
        default="tf_serving",
        description="Or open_inference: Triton, OpenVINO Model Server, MLServer; without labels.",
    )
    target: str | None = Field(
        default=None, min_length=1, description="host:port of its gRPC; the embedded one answers where unset."
    )
    version: int | None = Field(default=None, ge=1, description="WBC_MODEL_VERSION where unset.")
    version_label: str | None = Field(
        default=None, min_length=1, description="Whatever version has this label, instead of a version."
    )
    sha256: dict[int, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]] | None = Field(
        default=None,
        description="Of the files of each version that may answer, where its pods check them (`wbc model "
        "verify`); stands in the results.",
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
    client_key_file: Path | None = Field(default=None, description="Of that certificate.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.version is not None and self.version_label is not None:
            raise ValueError("expected a version or a version_label, received both")
        if self.sha256 and self.protocol != "tf_serving":
            raise ValueError("expected sha256 with protocol=tf_serving alone: it is of a SavedModel")
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

    version: int | None = Field(default=None, ge=1, description="Its number in the model repository.")
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
    timeout_s: float = Field(default=5, gt=0, description="Of one question.")


def _is_https_or_local(url: str) -> bool:
    """Whether nobody on the way can exchange what is read there."""
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and local))


class OidcSettings(_Section):
    """Tokens (JWT) of an OpenID Connect issuer as credentials; needs the extra ``oidc``."""

    issuer: str | None = Field(
        default=None, description="Its URL, exactly as tokens have it in `iss`; no tokens where unset."
    )
    audience: str | None = Field(
        default=None, min_length=1, description="What tokens for this service have in `aud`."
    )
    jwks_url: str | None = Field(default=None, description="Of its keys; found by discovery where unset.")
    algorithms: tuple[
        Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"], ...
    ] = Field(
        default=("RS256", "ES256"), min_length=1, description="Of signatures; no token with another one."
    )
    roles_claim: str = Field(
        default="roles", min_length=1, description="A claim, or a path such as realm_access.roles."
    )
    role_prefix: str = Field(default="", description="Before the names of roles, such as wbc-.")
    name_claim: str = Field(
        default="sub", min_length=1, description="Names a caller in the audit trail; must not change hands."
    )
    leeway_s: float = Field(default=30, ge=0, le=300, description="How far clocks may be apart.")
    timeout_s: float = Field(default=3, gt=0, le=30, description="Of one question to the issuer.")
    refresh_s: float = Field(default=600, gt=0, description="Age at which its keys are fetched again.")
    min_interval_s: float = Field(default=30, gt=0, description="Between two questions to the issuer.")
    max_age_s: float = Field(
        default=86_400, gt=0, description="How long its keys are good for while it is away."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.issuer is None) != (self.audience is None):
            raise ValueError("expected both issuer and audience, received one")
        for name, url in (("issuer", self.issuer), ("jwks_url", self.jwks_url)):
            if url is not None and not _is_https_or_local(url):
                raise ValueError(f"{name}: expected an address with https")
        return self


class RateLimitSettings(_Section):
    """How often one caller may ask, in each process; probes and pages do not count."""

    requests: int | None = Field(default=None, ge=1, description="In window_s; no limit where unset.")
    window_s: float = Field(default=60, gt=0, description="In which the requests of a caller are counted.")
    max_callers: int = Field(default=10_000, ge=1, description="Remembered at a time.")


class TlsSettings(GrpcTlsSettings):
    """TLS of the HTTP edge; files in PEM, read again when they change."""

    least_version: Literal["1.2", "1.3"] = Field(default="1.2", description="Of TLS.")


class SecuritySettings(_Section):
    """Who is let in, how often, and how long they may take to say what they want."""

    api_keys_file: Path | None = Field(default=None, description="Of `wbc keys`; no API keys where unset.")
    oidc: OidcSettings = OidcSettings()
    allow_unauthenticated: bool = Field(
        default=False,
        description="Serve other machines without asking who they are: for where something in front does.",
    )
    protect_metrics: bool = Field(default=False, description="/metrics for the role admin alone.")
    rate_limit: RateLimitSettings = RateLimitSettings()
    tls: TlsSettings = TlsSettings()
    cors_origins: tuple[str, ...] = Field(
        default=(), description="Pages elsewhere that may ask, such as https://lis.example.org; no page else."
    )
    trusted_proxies: tuple[str, ...] = Field(
        default=(), description="Addresses or networks whose X-Forwarded-For and -Proto are believed."
    )
    header_timeout_s: float = Field(default=10, gt=0, description="For a TLS handshake, and for headers.")
    send_timeout_s: float = Field(
        default=30, gt=0, description="For a client to read something of what is sent to them."
    )
    max_connections: int = Field(default=900, ge=1, description="Open at a time; further ones are closed.")

    @model_validator(mode="after")
    def _check_origins(self) -> Self:
        for origin in self.cors_origins:
            parts = urlsplit(origin)
            if parts.scheme not in ("http", "https") or origin != f"{parts.scheme}://{parts.netloc}":
                raise ValueError(f"cors_origins: expected scheme://host[:port], received {origin!r}")
        return self

    @model_validator(mode="after")
    def _check_metrics(self) -> Self:
        if self.protect_metrics and self.api_keys_file is None and self.oidc.issuer is None:
            raise ValueError("protect_metrics: expected api_keys_file or oidc.issuer with it")
        return self


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


class WriterSettings(_Section):
    """One language model that writes reports; needs the extra ``writers``.

    It gets the facts of a result (class, percentages, regions, reasons for a review) and nothing else: no
    image, no identifier.
    """

    provider: Literal["openai", "gemini"] = Field(
        description="openai: any server with OpenAI's API, such as Azure, vLLM or Ollama."
    )
    model: str = Field(min_length=1, max_length=128, description="As the provider calls it.")
    name: str | None = Field(
        default=None, min_length=1, max_length=64, description="In reports and metrics; provider:model."
    )
    base_url: str | None = Field(
        default=None, pattern=r"^https?://[^\s@]+$", description="The provider's own where unset."
    )
    api_key: SecretStr | None = Field(
        default=None, description="What the provider asks for; GEMINI_API_KEY for gemini where unset."
    )
    api_key_file: Path | None = Field(default=None, description="Holds the key, instead of api_key.")
    timeout_s: float = Field(default=8.0, gt=0, le=60, description="Of one answer.")
    max_output_tokens: int = Field(default=1000, ge=100, le=32_000, description="Of one answer.")
    token_limit_field: Literal["max_completion_tokens", "max_tokens"] = Field(
        default="max_completion_tokens",
        description="Of openai: under which name max_output_tokens is sent at first. A server that refuses "
        "it is asked by the other.",
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="The provider's own where unset.")
    structured_output: bool = Field(
        default=True,
        description="Ask for JSON by schema at first. A server that refuses it is asked for any JSON, then "
        "in words alone.",
    )
    reasoning_effort: Literal["minimal", "low", "medium", "high"] | None = Field(
        default="low", description="How long a model may reason; null sends none. Left out where refused."
    )
    thinking_budget: int | None = Field(
        default=None,
        ge=0,
        le=32_000,
        description="Of gemini: tokens for thoughts, in place of reasoning_effort; of 2.5 models and older.",
    )
    prompt_price: float = Field(default=0, ge=0, description="Of a million tokens, in any currency.")
    completion_price: float = Field(default=0, ge=0, description="Of a million tokens.")

    @property
    def label(self) -> str:
        """The name, or provider and model."""
        return self.name or f"{self.provider}:{self.model}"

    @model_validator(mode="after")
    def _check_key(self) -> Self:
        if self.api_key is not None and self.api_key_file is not None:
            raise ValueError("expected api_key or api_key_file, received both")
        return self


class WritersSettings(_Section):
    """Who writes reports: language models in order, then always the rule-based writer."""

    order: tuple[WriterSettings, ...] | None = Field(
        default=None,
        description="A JSON list; [] for none. Where unset, Gemini by its default name if GEMINI_API_KEY is "
        "set.",
    )
    deadline_s: float = Field(
        default=6.0, gt=0, le=60, description="Of all language models together, for one report."
    )
    reserve_s: float = Field(
        default=0.5, ge=0, description="Of a request's time, kept to answer it when no model has."
    )
    skip_s: float = Field(
        default=600,
        ge=0,
        description="How long a model is not asked after a refusal that will not pass: a wrong key, no such "
        "model, a quota that is used up; unless it says when.",
    )
    breaker_open_s: float = Field(
        default=30, gt=0, description="How long one is left alone after half of its answers failed."
    )
    max_concurrent: int = Field(default=16, ge=1, description="Reports under way; rules write further ones.")
    cache_entries: int = Field(default=1024, ge=0, description="Reports of models that are kept in memory.")
    cache_ttl_s: float = Field(default=3600, gt=0, description="For how long.")

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [writer.label for writer in self.order or ()]
        if len({*names, "rule-based"}) != len(names) + 1:
            raise ValueError(f"expected a name of its own for each writer, received {', '.join(names)}")
        return self


class InteropSettings(_Section):
    """How differentials look in the formats of other systems, FHIR and HL7 v2."""

    method: CountMethod = Field(
        default="unspecified", description="Which LOINC codes: of automated or manual counts, or of neither."
    )
    processing_id: ProcessingId = Field(
        default="T", description="MSH-11: T (training), D (debugging), or P for receivers in production."
    )
    sending_application: str = Field(
        default="WBC-ANALYZER", min_length=1, max_length=64, description="MSH-3, this service."
    )
    sending_facility: str = Field(default="", max_length=64, description="MSH-4, where it stands.")
    receiving_application: str = Field(
        default="", max_length=64, description="MSH-5, who is to take the message."
    )
    receiving_facility: str = Field(default="", max_length=64, description="MSH-6, where that stands.")
    specimen_system: str = Field(
        default="urn:wbc-analyzer:specimen", min_length=1, description="URI of the site's specimen ids."
    )
    patient_system: str = Field(
        default="urn:wbc-analyzer:patient", min_length=1, description="URI of the site's patient ids."
    )
    patient_authority: str = Field(default="", max_length=64, description="PID-3.4, who assigns them.")
    character_set: CharacterSet = Field(
        default="UTF-8", description="Of HL7 v2 messages; MSH-18 names it where a message is not ASCII."
    )
    resend_rejected: int = Field(
        default=0, ge=0, le=100, description="How often a message that a LIS rejects (AR, CR) is sent again."
    )
    snomed: dict[str, str] = Field(
        default={}, description="SNOMED CT codes of cells by label, for sites with a licence."
    )


class StoreSettings(_Section):
    """Where specimens, decisions and the audit trail are kept; without it there are no differentials."""

    url: SecretStr | None = Field(
        default=None,
        description="sqlite:///data/wbc.db, or postgresql://user:password@host/name.",
    )
    keep_images: KeepImages | None = Field(
        default=None,
        description="never: an image goes as soon as its cell is analysed; until_signed: when its specimen "
        "is signed or cancelled; always: with the retention alone. Both need encryption_key. Unset: "
        "until_signed with a key, never without.",
    )
    encryption_key: SecretStr | None = Field(
        default=None,
        description="Encrypts images, names of specimens, comments, and the features of labelled cells in "
        "heads_dir; `wbc store key` makes one. Several, with commas: the first writes, all read.",
    )
    retention_days: float | None = Field(
        default=None,
        gt=0,
        description="After which a specimen goes; its audit trail stays. Never where unset.",
    )
    anchor_file: Path | None = Field(
        default=None,
        description="Is appended the head of the audit trail at each signature; keep it on another machine.",
    )
    anchor_syslog: str | None = Field(
        default=None, description="Is sent the same: host:port (UDP), or a socket as /dev/log."
    )
    pool_size: int = Field(default=5, ge=1, description="Connections to the database.")


class DifferentialSettings(_Section):
    """How a specimen's cells are counted; they need a store."""

    min_cells: int = Field(
        default=100, ge=1, description="Counted cells below which there are no percentages."
    )
    reference_ranges: Path | None = Field(
        default=None, description="TOML file with the site's ranges and their source; examples where unset."
    )
    labels: Path | None = Field(
        default=None,
        description="TOML file with the site's own labels of cells, beside those that came with the service.",
    )
    smudge: SmudgeRule = Field(
        default="per_100_white_cells",
        description="What smudge cells count as: told per 100 white cells, among the `white_cells` in a row "
        "of their own, among the `lymphocytes`, or `none`: their number alone.",
    )
    training_prior: tuple[float, float, float, float, float] = Field(
        default=(0.2, 0.2, 0.2, 0.2, 0.2),
        description="Shares of the classes in the model's training, for the estimate of the label shift; a "
        "JSON list in the order of the class names.",
    )
    concurrency: int = Field(
        default=2, ge=1, description="Cells under way at a time; one while people's requests are."
    )
    same_cells_once: bool = Field(
        default=True,
        description="Whether a cell that lies in several fields of a specimen is counted once, and it is "
        "said how many were; else every find counts.",
    )
    lease_s: float = Field(
        default=20,
        ge=1,
        description="Seconds for which a cell stays with a process that renews its lease no more, as one "
        "that was killed.",
    )
    max_files: int = Field(default=1000, ge=2, description="Images of one order.")
    max_total_bytes: int = Field(
        default=256 * 2**20, ge=1, description="Of one order, unpacked; in a temporary file until it is kept."
    )
    max_orders: int = Field(default=2, ge=1, description="Orders that are received at a time.")
    upload_timeout_s: float = Field(default=300, gt=0, description="For the body of one order.")
    max_stream_s: float = Field(
        default=300, ge=0.1, description="Age at which a stream of progress ends; browsers ask for the next."
    )

    @model_validator(mode="after")
    def _check_prior(self) -> Self:
        if min(self.training_prior) <= 0 or abs(sum(self.training_prior) - 1) > 1e-3:
            raise ValueError("training_prior: expected five numbers over 0 that sum to 1")
        return self


class Settings(BaseSettings):
    """All settings of the service; frozen after start."""

    model_config = SettingsConfigDict(
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        dotenv_filtering="only_existing",
    )

    http: HttpSettings = HttpSettings()
    grpc: GrpcSettings = GrpcSettings()
    deadline: DeadlineSettings = DeadlineSettings()
    admission: AdmissionSettings = AdmissionSettings()
    images: ImageSettings = ImageSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    tf_serving: TfServingSettings = TfServingSettings()
    failover: FailoverSettings = FailoverSettings()
    canary: CanarySettings = CanarySettings()
    shadow: ShadowSettings = ShadowSettings()
    tracing: TracingSettings = TracingSettings()
    security: SecuritySettings = SecuritySettings()
    interop: InteropSettings = InteropSettings()
    store: StoreSettings = StoreSettings()
    differential: DifferentialSettings = DifferentialSettings()
    writers: WritersSettings = WritersSettings()
    github_token: SecretStr | None = Field(
        default=None,
        validation_alias="GITHUB_TOKEN",
        description="Of the reference system; opens no writer any more.",
    )
    gemini_api_key: SecretStr | None = Field(
        default=None,
        validation_alias="GEMINI_API_KEY",
        description="Of every gemini writer without one; see writers.order.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text", description="One JSON object a line, or text."
    )
    log_requests: bool = Field(default=False, description="A line at the end of each analysis.")
    model_repository: Path = Field(
        default=PROJECT_ROOT / "model_repository",
        description="Folder of the model's versions: wbc/<version>/.",
    )
    model_version: int | None = Field(default=None, ge=1, description="The newest where unset.")
    profiles_dir: Path | None = Field(default=None, description="A site's own device profiles.")
    audits_dir: Path | None = Field(
        default=None, description="Audits of microscopes; written to, and looked at again when they change."
    )
    heads_dir: Path | None = Field(
        default=None,
        description="A site's own heads, which `wbc adapt` learns; looked at again when they change.",
    )
    heads_key: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Signs the site's heads; where set, one without its signature counts as none.",
    )
    profile: str = Field(default="default", description="Profile of requests that name none.")
    language: Language = Field(default="en", description="Language of requests that name none.")


def read_settings() -> Settings:
    """The settings of this process's environment and of its file of variables; the environment wins.

    Raises pydantic's errors, and :class:`~orchestrator.errors.ConfigurationError` as :func:`env_file` does.
    """
    return Settings(_env_file=env_file())


def load_settings() -> Settings:
    """As :func:`read_settings`.

    Raises :class:`~orchestrator.errors.ConfigurationError`, which names every variable that is wrong and
    repeats no value: one may be a key.
    """
    try:
        return read_settings()
    except ValidationError as error:
        wrong = "; ".join(f"{variable}: {why}" for variable, why in wrong_variables(error))
        raise ConfigurationError(wrong) from error
    except SettingsError as error:
        raise ConfigurationError("; ".join(f"{name}: expected JSON" for name in no_json(error))) from error


def env_file() -> Path | None:
    """The file of variables, such as ``GEMINI_API_KEY=...``; None where there is none, or none of ours in it.

    Raises :class:`~orchestrator.errors.ConfigurationError` where others on this machine can read or write it.
    """
    path = Path(os.environ.get(_ENV_FILE, ".env"))
    if not path.is_file():
        if os.environ.get(_ENV_FILE):
            raise ConfigurationError(f"{_ENV_FILE}: {path} is no file")
        return None
    known = _variables(Settings, _PREFIX)
    if not any(name in known or name.startswith(_PREFIX) for name in _variables_in(path)):
        return None
    if sys.platform == "win32":
        _LOGGER.warning("%s: cannot tell whether others can read it, keys and all", path)
    elif path.stat().st_mode & _READ_BY_OTHERS:
        raise ConfigurationError(f"{path}: others on this machine can read it; chmod 600 {path}")
    return path


def variables() -> dict[str, str | None]:
    """All that settings may be read from: those of the file, and those of the environment, which win.

    Raises as :func:`env_file` does.
    """
    path = env_file()
    return {**(_variables_in(path) if path else {}), **os.environ}


def _variables_in(path: Path) -> dict[str, str | None]:
    try:
        read = DotEnvSettingsSource(Settings, path).env_vars
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: expected a text file in UTF-8 that can be read") from error
    return {name.upper(): value for name, value in read.items()}


def wrong_variables(error: ValidationError) -> list[tuple[str, str]]:
    """Which variables are wrong, and why."""
    return [
        (f"{_PREFIX}{'__'.join(str(part) for part in e['loc']).upper()}", e["msg"]) for e in error.errors()
    ]


def no_json(error: SettingsError) -> list[str]:
    """The variables of sections and lists whose value is no JSON; what ``error`` says where none is."""
    known = _variables(Settings, _PREFIX)
    wrong = [
        name
        for name, value in sorted(variables().items())
        if _wants_json(known.get(name.upper())) and not _is_json(value or "")
    ]
    return wrong or [str(error)]


def _wants_json(annotation: object) -> bool:
    is_section = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return is_section or get_origin(annotation) in (tuple, dict)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def unknown_variables(environment: Iterable[str]) -> dict[str, str]:
    """The names with the prefix of the settings that are none of them, and what to do about each."""
    known = _variables(Settings, _PREFIX).keys() | _OTHER_VARIABLES
    unknown: dict[str, str] = {}
    for name in sorted(environment):
        upper = name.upper()  # settings are read in any case
        if not upper.startswith(_PREFIX) or upper in known or upper.startswith("WBC_INTEROP__SNOMED__"):
            continue
        nearest = get_close_matches(upper, known, n=1, cutoff=0.8)  # 0.6 finds WBC_FAILOVER in WBC_FOO
        unknown[name] = f"no such setting; {f'did you mean {nearest[0]}?' if nearest else 'remove it'}"
    return unknown


def _variables(model: type[BaseModel], prefix: str) -> dict[str, Any]:
    """The variables that set the fields of ``model`` with their types: whole sections as JSON, and each field
    of these."""
    found: dict[str, Any] = {}
    for field, info in model.model_fields.items():
        name = info.validation_alias if isinstance(info.validation_alias, str) else prefix + field.upper()
        found[name] = info.annotation
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= _variables(info.annotation, f"{name}__")
    return found
