"""Strict schemas of the custom resources in ``k8s/``: the fields of the published definitions in use.

Their definitions are not in the schemas of Kubernetes. Taken from the CustomResourceDefinitions of
prometheus-operator (monitoring.coreos.com/v1), KEDA (keda.sh/v1alpha1, and its Prometheus scaler),
cert-manager (cert-manager.io/v1) and the Gateway API (gateway.networking.k8s.io/v1, v1.2). A field that is
not here is refused: look it up before you use it.
"""

from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

Duration = str
_UNITS: Final = "".join(rf"(([0-9]+){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms"))
_DURATION: Final = rf"^(0|{_UNITS})$"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, alias_generator=to_camel)


class _Metadata(_Strict):
    name: str
    namespace: str
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _LabelSelector(_Strict):
    match_labels: dict[str, str]


class _Endpoint(_Strict):
    port: str
    path: str = "/metrics"
    interval: Duration = Field(pattern=_DURATION)
    scrape_timeout: Duration = Field(pattern=_DURATION)
    honor_labels: bool = False


class _ServiceMonitorSpec(_Strict):
    selector: _LabelSelector
    endpoints: list[_Endpoint] = Field(min_length=1)


class _PodMonitorSpec(_Strict):
    selector: _LabelSelector
    pod_metrics_endpoints: list[_Endpoint] = Field(min_length=1)


class _AsWritten(BaseModel):
    """Rules keep the names that Prometheus itself gives their fields."""

    model_config = ConfigDict(extra="forbid", strict=True)


class _Rule(_AsWritten):
    alert: str | None = None
    record: str | None = None
    expr: str | int
    for_: Duration | None = Field(default=None, alias="for", pattern=_DURATION)
    keep_firing_for: Duration | None = Field(default=None, pattern=_DURATION)
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class _RuleGroup(_AsWritten):
    name: str
    interval: Duration | None = Field(default=None, pattern=_DURATION)
    limit: int | None = None
    labels: dict[str, str] = {}
    query_offset: Duration | None = Field(default=None, pattern=_DURATION)
    rules: list[_Rule]


class _PrometheusRuleSpec(_Strict):
    groups: list[_RuleGroup] = Field(min_length=1)


class _ScaleTargetRef(_Strict):
    name: str
    api_version: str = "apps/v1"
    kind: str = "Deployment"


class _Fallback(_Strict):
    failure_threshold: int = Field(ge=1)
    replicas: int = Field(ge=0)


class _ScalingPolicy(_Strict):
    type: Literal["Pods", "Percent"]
    value: int = Field(ge=1)
    period_seconds: int = Field(ge=1, le=1800)


class _ScalingRules(_Strict):
    stabilization_window_seconds: int = Field(ge=0, le=3600)
    policies: list[_ScalingPolicy]
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"


class _Behavior(_Strict):
    scale_up: _ScalingRules
    scale_down: _ScalingRules


class _HorizontalPodAutoscalerConfig(_Strict):
    behavior: _Behavior


class _Advanced(_Strict):
    horizontal_pod_autoscaler_config: _HorizontalPodAutoscalerConfig


class _PrometheusTrigger(_Strict):
    server_address: str
    query: str
    threshold: str = Field(pattern=r"^\d+(\.\d+)?$")
    activation_threshold: str | None = Field(default=None, pattern=r"^\d+(\.\d+)?$")
    ignore_null_values: Literal["true", "false"] = "true"


class _Trigger(_Strict):
    type: Literal["prometheus"]
    metric_type: Literal["AverageValue", "Value"]
    metadata: _PrometheusTrigger


class _ScaledObjectSpec(_Strict):
    scale_target_ref: _ScaleTargetRef
    min_replica_count: int = Field(ge=0)
    max_replica_count: int = Field(ge=1)
    polling_interval: int = Field(default=30, ge=1)
    cooldown_period: int = Field(default=300, ge=0)
    fallback: _Fallback | None = None
    advanced: _Advanced
    triggers: list[_Trigger] = Field(min_length=1)


class _IssuerRef(_Strict):
    kind: Literal["Issuer", "ClusterIssuer"]
    name: str
    group: Literal["cert-manager.io"] = "cert-manager.io"


class _PrivateKey(_Strict):
    algorithm: Literal["RSA", "ECDSA", "Ed25519"]
    size: int
    rotation_policy: Literal["Always", "Never"]


class _CertificateSpec(_Strict):
    secret_name: str
    dns_names: list[str] = Field(min_length=1)
    issuer_ref: _IssuerRef
    private_key: _PrivateKey
    usages: list[Literal["server auth", "client auth"]] = []


class _ParentRef(_Strict):
    name: str
    section_name: str


class _BackendRef(_Strict):
    name: str
    port: int = Field(ge=1, le=65535)


class _PathMatch(_Strict):
    type: Literal["Exact", "PathPrefix", "RegularExpression"]
    value: str = Field(pattern=r"^/", max_length=1024)


class _HttpMatch(_Strict):
    path: _PathMatch


class _Timeouts(_Strict):
    request: Duration = Field(pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")


class _HttpRule(_Strict):
    matches: list[_HttpMatch] = Field(min_length=1, max_length=64)
    timeouts: _Timeouts
    backend_refs: list[_BackendRef] = Field(min_length=1, max_length=16)


class _HttpRouteSpec(_Strict):
    parent_refs: list[_ParentRef] = Field(min_length=1)
    hostnames: list[str] = Field(min_length=1, max_length=16)
    rules: list[_HttpRule] = Field(min_length=1, max_length=16)


class _GrpcRule(_Strict):
    backend_refs: list[_BackendRef] = Field(min_length=1, max_length=16)


class _GrpcRouteSpec(_Strict):
    parent_refs: list[_ParentRef] = Field(min_length=1)
    hostnames: list[str] = Field(min_length=1, max_length=16)
    rules: list[_GrpcRule] = Field(min_length=1, max_length=16)


class _CertificateRef(_Strict):
    kind: Literal["Secret"]
    name: str


class _ListenerTls(_Strict):
    mode: Literal["Terminate", "Passthrough"]
    certificate_refs: list[_CertificateRef] = Field(min_length=1, max_length=64)


class _RouteNamespaces(_AsWritten):
    from_: Literal["All", "Selector", "Same"] = Field(alias="from")


class _AllowedRoutes(_Strict):
    namespaces: _RouteNamespaces


class _Listener(_Strict):
    name: str
    hostname: str
    port: int = Field(ge=1, le=65535)
    protocol: Literal["HTTP", "HTTPS", "TLS", "TCP", "UDP"]
    tls: _ListenerTls
    allowed_routes: _AllowedRoutes


class _GatewaySpec(_Strict):
    gateway_class_name: str
    listeners: list[_Listener] = Field(min_length=1, max_length=64)


_SPECS: Final[dict[tuple[str, str], type[BaseModel]]] = {
    ("monitoring.coreos.com/v1", "ServiceMonitor"): _ServiceMonitorSpec,
    ("monitoring.coreos.com/v1", "PodMonitor"): _PodMonitorSpec,
    ("monitoring.coreos.com/v1", "PrometheusRule"): _PrometheusRuleSpec,
    ("keda.sh/v1alpha1", "ScaledObject"): _ScaledObjectSpec,
    ("cert-manager.io/v1", "Certificate"): _CertificateSpec,
    ("gateway.networking.k8s.io/v1", "Gateway"): _GatewaySpec,
    ("gateway.networking.k8s.io/v1", "HTTPRoute"): _HttpRouteSpec,
    ("gateway.networking.k8s.io/v1", "GRPCRoute"): _GrpcRouteSpec,
}


class _Object(_Strict):
    api_version: str
    kind: str
    metadata: _Metadata
    spec: dict[str, Any]


def is_custom(manifest: dict[str, Any]) -> bool:
    """Whether this object is of a kind that is described here."""
    return (manifest["apiVersion"], manifest["kind"]) in _SPECS


def validate(manifest: dict[str, Any]) -> None:
    """Raise pydantic's ValidationError where a field is unknown, missing or of a wrong form."""
    document = _Object.model_validate(manifest)
    _SPECS[document.api_version, document.kind].model_validate(document.spec)
