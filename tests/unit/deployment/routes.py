"""What comes in from outside, as an overlay's HTTPRoutes, GRPCRoutes and Ingresses say it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.unit.deployment.manifests import Manifest, named, of_kind

_ANNOTATION: Final = "nginx.ingress.kubernetes.io/"
_ENVOY: Final = "type.googleapis.com/envoy.extensions"


@dataclass(frozen=True)
class Route:
    """One path, or prefix of whole elements of one, of one host, and the container's port behind it."""

    host: str
    path: str
    exact: bool
    port: int
    timeout_s: int
    max_bytes: int | None
    """Of a body; None where the rules set no bound."""

    def matches(self, path: str) -> bool:
        """Whether a request for ``path`` goes here where no other route is nearer."""
        prefix = self.path.rstrip("/") + "/"
        return path == self.path or (not self.exact and path.startswith(prefix))


def http_routes(manifests: list[Manifest]) -> list[Route]:
    """Of HTTPRoutes and Ingresses."""
    found = []
    for route in of_kind(manifests, "HTTPRoute"):
        for rule in route["spec"]["rules"]:
            (backend,) = rule["backendRefs"]
            port = _container_port(manifests, backend["name"], backend["port"])
            timeout_s = int(rule["timeouts"]["request"].removesuffix("s"))
            for match in rule["matches"]:
                path = match["path"]
                exact = path["type"] == "Exact"
                for host in route["spec"]["hostnames"]:
                    found.append(Route(host, path["value"], exact, port, timeout_s, None))
    for ingress in of_kind(manifests, "Ingress"):
        told = ingress["metadata"]["annotations"]
        max_bytes = int(told[_ANNOTATION + "proxy-body-size"].removesuffix("m")) * 2**20
        timeout_s = int(told[_ANNOTATION + "proxy-read-timeout"])
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                service = path["backend"]["service"]
                port = _container_port(manifests, service["name"], service["port"]["name"])
                exact = path["pathType"] == "Exact"
                found.append(Route(rule["host"], path["path"], exact, port, timeout_s, max_bytes))
    return found


def grpc_routes(manifests: list[Manifest]) -> dict[str, int]:
    """The container's port by host; every method of it."""
    found = {}
    for route in of_kind(manifests, "GRPCRoute"):
        (rule,) = route["spec"]["rules"]
        (backend,) = rule["backendRefs"]
        assert set(rule) == {"backendRefs"}
        for host in route["spec"]["hostnames"]:
            found[host] = _container_port(manifests, backend["name"], backend["port"])
    return found


def nearest(routes: Iterable[Route], path: str) -> Route | None:
    """The route that a request for ``path`` takes: an exact one before prefixes, and the longest of those."""
    matching = [route for route in routes if route.matches(path)]
    return max(matching, key=lambda route: (route.exact, len(route.path)), default=None)


def _container_port(manifests: list[Manifest], service: str, port: int | str) -> int:
    ports = named(manifests, "Service", service)["spec"]["ports"]
    (target,) = (p["targetPort"] for p in ports if port in (p["port"], p["name"]))
    containers = named(manifests, "Deployment", service)["spec"]["template"]["spec"]["containers"]
    (found,) = (p["containerPort"] for p in containers[0]["ports"] if p["name"] == target)
    assert isinstance(found, int)
    return found


def nginx_servers(routes: list[Route], grpc: dict[str, int], ports: dict[int, int], listen: str) -> str:
    """The servers of a configuration of nginx that does what these routes say.

    ``ports`` are the service's own ones by those of its container; ``listen`` is address and port, for TLS.
    """
    servers = []
    for host in sorted({route.host for route in routes}):
        locations = "".join(_locations(route, ports) for route in routes if route.host == host)
        servers.append(f"server {{ listen {listen} ssl http2; server_name {host};\n{locations} }}\n")
    for host, port in grpc.items():
        passed = f"location / {{ grpc_pass grpc://127.0.0.1:{ports[port]}; }}"
        servers.append(f"server {{ listen {listen} ssl http2; server_name {host};\n{passed} }}\n")
    return "".join(servers)


def _locations(route: Route, ports: dict[int, int]) -> str:
    size = "0" if route.max_bytes is None else str(route.max_bytes)
    what = (
        f"{{ proxy_pass http://127.0.0.1:{ports[route.port]}; proxy_set_header Host $host; "
        f"client_max_body_size {size}; proxy_read_timeout {route.timeout_s}s; "
        "proxy_request_buffering off; proxy_buffering off; proxy_http_version 1.1; }\n"
    )
    exact = f"location = {route.path} {what}"
    return exact if route.exact else exact + f"location {re.sub('/*$', '/', route.path)} {what}"


def envoy_configuration(
    routes: list[Route], grpc: dict[str, int], ports: dict[int, int], listen: int, files: tuple[Path, Path]
) -> dict[str, Any]:
    """A configuration of Envoy that does what these routes say, on the port ``listen`` with a certificate and
    its key; see :func:`nginx_servers`. It bounds no body, and nor do the rules of the Gateway API."""
    assert all(route.max_bytes is None for route in routes)
    by_nearness = sorted(routes, key=lambda route: (route.exact, len(route.path)), reverse=True)
    hosts = {
        host: [_envoy_route(route) for route in by_nearness if route.host == host]
        for host in sorted({route.host for route in routes})
    }
    for host, port in grpc.items():
        hosts[host] = [{"match": {"prefix": "/"}, "route": {"cluster": str(port), "timeout": "0s"}}]
    manager = {
        "@type": f"{_ENVOY}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "outside",
        "stream_idle_timeout": "0s",
        "route_config": {
            "virtual_hosts": [
                {"name": host, "domains": [host, f"{host}:*"], "routes": found}
                for host, found in hosts.items()
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_ENVOY}.filters.http.router.v3.Router"},
            }
        ],
    }
    certificate, key = ({"filename": str(file)} for file in files)
    tls = {
        "@type": f"{_ENVOY}.transport_sockets.tls.v3.DownstreamTlsContext",
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificates": [{"certificate_chain": certificate, "private_key": key}],
        },
    }
    chain = {
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}],
    }
    listener = {"name": "outside", "address": _envoy_address(listen), "filter_chains": [chain]}
    clusters = [
        _envoy_cluster(str(port), ports[port], http2=port in grpc.values())
        for port in sorted({route.port for route in routes} | set(grpc.values()))
    ]
    return {"static_resources": {"listeners": [listener], "clusters": clusters}}


def _envoy_route(route: Route) -> dict[str, Any]:
    kind = "path" if route.exact else "prefix" if route.path == "/" else "path_separated_prefix"
    return {
        "match": {kind: route.path if route.path == "/" else route.path.rstrip("/")},
        "route": {"cluster": str(route.port), "timeout": f"{route.timeout_s}s"},
    }


def _envoy_cluster(name: str, port: int, *, http2: bool) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _envoy_address(port)}}
    cluster: dict[str, Any] = {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    if http2:
        options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        chosen = {
            "@type": f"type.googleapis.com/{options}",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
        cluster["typed_extension_protocol_options"] = {options: chosen}
    return cluster


def _envoy_address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
