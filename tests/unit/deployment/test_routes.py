"""Each route of the service is reached from outside by each overlay's rules, or is here with a reason."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from orchestrator.bootstrap.services import build_services
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http_app import create_app
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer
from tests.unit.deployment.manifests import GUARDED, Manifest, WithComponent, named, of_kind
from tests.unit.deployment.routes import Route, grpc_routes, http_routes, nearest
from tests.unit.deployment.settings_of import orchestrator_settings

INTERNAL: Final = {
    "/metrics": "numbers of the whole site; Prometheus asks each pod itself",
    "/livez": "the kubelet asks each pod itself; /v2/health/live is for others",
    "/readyz": "the kubelet asks each pod itself; /v2/health/ready is for others",
}
"""Paths that nobody outside the cluster reaches, and why."""


@pytest.fixture(scope="module")
def endpoints() -> list[Endpoint]:
    """All that the service answers, whatever is turned on."""
    app = create_app(build_services(Settings(), model_server=FakeModelServer()))
    return [route for route in app.router.routes if isinstance(route, Endpoint)]


def _paths(endpoints: list[Endpoint], project_root: Path) -> Iterator[str]:
    for endpoint in endpoints:
        if endpoint.path == "/web/{name:path}":
            static = project_root / "orchestrator" / "edge" / "web" / "static"
            for file in static.rglob("*.*"):
                yield f"/web/{file.relative_to(static)}"
        else:
            yield re.sub(r"\{[^}]*\}", "x", endpoint.path)


def _check(routes: list[Route], endpoints: list[Endpoint], project_root: Path, port: int) -> None:
    paths = set(_paths(endpoints, project_root))
    assert len(paths) > 60
    unreached = {path for path in paths if nearest(routes, path) is None}
    assert unreached == set(INTERNAL)
    assert {route.port for route in routes} == {port}
    # Nothing but what the service answers: a prefix of the routes leads to one of its paths at least.
    assert all(any(route.matches(path) for path in paths) for route in routes)


@pytest.mark.parametrize("name", GUARDED)
def test_every_route_and_every_file_of_the_page_is_reached_or_is_internal_for_a_reason(
    overlays: dict[str, list[Manifest]], endpoints: list[Endpoint], project_root: Path, name: str
) -> None:
    settings = orchestrator_settings(overlays[name])
    _check(http_routes(overlays[name]), endpoints, project_root, settings.http.port)


def test_they_are_through_an_ingress_too(
    with_component: WithComponent, endpoints: list[Endpoint], project_root: Path
) -> None:
    _check(http_routes(with_component("ingress")), endpoints, project_root, 8000)


@pytest.mark.parametrize("name", GUARDED)
def test_grpc_has_a_host_of_its_own_since_two_kinds_of_route_exclude_each_other_on_one(
    overlays: dict[str, list[Manifest]], name: str
) -> None:
    manifests = overlays[name]
    grpc = grpc_routes(manifests)
    assert set(grpc.values()) == {orchestrator_settings(manifests).grpc.port}
    assert not set(grpc) & {route.host for route in http_routes(manifests)}


@pytest.mark.parametrize("name", GUARDED)
def test_each_route_has_a_listener_with_a_certificate_of_its_name(
    overlays: dict[str, list[Manifest]], name: str
) -> None:
    manifests = overlays[name]
    (gateway,) = of_kind(manifests, "Gateway")
    (certificate,) = of_kind(manifests, "Certificate")
    listeners = {listener["name"]: listener for listener in gateway["spec"]["listeners"]}
    for listener in listeners.values():
        assert listener["protocol"] == "HTTPS"
        (reference,) = listener["tls"]["certificateRefs"]
        assert reference["name"] == certificate["spec"]["secretName"]
        assert listener["hostname"] in certificate["spec"]["dnsNames"]
    routes = of_kind(manifests, "HTTPRoute", "GRPCRoute")
    assert len(routes) == len(listeners)
    for route in routes:
        (parent,) = route["spec"]["parentRefs"]
        named(manifests, "Gateway", parent["name"])
        assert route["spec"]["hostnames"] == [listeners[parent["sectionName"]]["hostname"]]


@pytest.mark.parametrize("way", ["gateway", "ingress"])
def test_limits_follow_the_route(with_component: WithComponent, way: str) -> None:
    routes, settings = http_routes(with_component(way)), Settings()
    order, image = nearest(routes, "/v1/differentials"), nearest(routes, "/v1/analyses")
    events = nearest(routes, "/v1/differentials/x/events")
    assert order is not None
    assert image is not None
    assert events is order or (events and events.timeout_s == order.timeout_s)
    assert order.timeout_s >= 3600
    assert settings.deadline.longest_s < image.timeout_s <= 120
    if way == "ingress":  # the Gateway API knows no bound of a body; the service has its own
        assert order.max_bytes is not None
        assert image.max_bytes is not None
        assert order.max_bytes > settings.differential.max_total_bytes
        assert settings.images.max_bytes < image.max_bytes < 2 * settings.images.max_bytes


def test_an_ingress_speaks_tls_only(with_component: WithComponent) -> None:
    manifests = with_component("ingress")
    (certificate,) = of_kind(manifests, "Certificate")
    for ingress in of_kind(manifests, "Ingress"):
        (rule,) = ingress["spec"]["rules"]
        (tls,) = ingress["spec"]["tls"]
        assert tls["hosts"] == [rule["host"]] == certificate["spec"]["dnsNames"]
        assert tls["secretName"] == certificate["spec"]["secretName"]
