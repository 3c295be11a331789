"""What the objects of an overlay say of each other: references, ports, ingress, who may talk to whom."""

import re

import pytest

from orchestrator.edge.access.security import refuse_open_address
from tests.unit.deployment import serving_flags
from tests.unit.deployment.manifests import (
    EDGE,
    GUARDED,
    MODEL_SERVER,
    SERVED,
    Manifest,
    WithComponent,
    containers_of,
    leaves,
    main_container,
    named,
    of_kind,
    pod_labels,
    selects,
    workloads,
)
from tests.unit.deployment.settings_of import orchestrator_settings, setting_exists


class TestReferences:
    def test_each_resolves(self, overlay: list[Manifest], training: list[Manifest]) -> None:
        for manifests in (overlay, training):
            there = {(m["kind"], m["metadata"]["name"]) for m in manifests}
            there |= {("Secret", m["spec"]["secretName"]) for m in of_kind(manifests, "Certificate")}
            there |= {("ServiceAccount", "default")}
            there |= {
                ("Secret", "orchestrator-api-keys"),
                ("Secret", "orchestrator-store"),
            }  # a person makes it: k8s/README.md
            wanted = {reference for m in manifests for reference in _references(m)}
            assert wanted - there == set()
        assert ("ConfigMap", "serving-config") not in wanted, "the name of a generated ConfigMap has a hash"

    def test_a_changed_configuration_starts_new_pods(self, overlay: list[Manifest]) -> None:
        names = [m["metadata"]["name"] for m in of_kind(overlay, "ConfigMap")]
        starts = ["orchestrator-settings"]
        starts += ["serving-config"] * any(
            d["metadata"]["name"] == "tf-serving" for d in of_kind(overlay, "Deployment")
        )
        for start in starts:
            assert [n for n in names if re.fullmatch(rf"{start}-[a-z0-9]{{10}}", n)]


def _sidecar_ports(workload: Manifest) -> set[int]:
    """What the commands of a pod's sidecars listen on."""
    commands = [c["command"] for c in containers_of(workload) if c.get("restartPolicy") == "Always"]
    return {int(word.removeprefix("--port=")) for words in commands for word in words if "--port=" in word}


def _references(manifest: Manifest) -> set[tuple[str, str]]:
    """(kind, name) of every object in the namespace that this one needs."""
    found = set()
    for path, value in leaves(manifest.get("spec", {})):
        match path:
            case (*_, "serviceAccountName"):
                found.add(("ServiceAccount", value))
            case (*_, "configMapRef" | "configMapKeyRef", "name") | (*_, "configMap", "name"):
                found.add(("ConfigMap", value))
            case (*_, "secretRef" | "secretKeyRef", "name") | (*_, "secret" | "tls", "secretName"):
                found.add(("Secret", value))
            case (*_, "claimName"):
                found.add(("PersistentVolumeClaim", value))
            case (*_, "backend", "service", "name"):
                found.add(("Service", value))
            case ("scaleTargetRef", "name"):
                found.add(("Deployment", value))
    return found


class TestPorts:
    def test_services_probes_and_monitors_name_ports_that_are_there(self, overlay: list[Manifest]) -> None:
        for workload in of_kind(overlay, "Deployment"):
            container = main_container(workload)
            names = {port["name"]: port["containerPort"] for port in container["ports"]}
            for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
                check = container[probe].get("httpGet") or container[probe]["grpc"]
                assert check["port"] in {*names, *names.values(), *_sidecar_ports(workload)}
        services = of_kind(overlay, "Service")
        assert {s["metadata"]["name"] for s in services} == {
            d["metadata"]["name"] for d in of_kind(overlay, "Deployment")
        }
        for service in services:
            chosen = [
                w
                for w in of_kind(overlay, "Deployment")
                if selects({"matchLabels": service["spec"]["selector"]}, pod_labels(w))
            ]
            assert chosen
            for workload in chosen:
                there = {port["name"] for port in main_container(workload)["ports"]}
                assert {port["targetPort"] for port in service["spec"]["ports"]} <= there
        for monitor in of_kind(overlay, "PodMonitor"):
            chosen = [w for w in workloads(overlay) if selects(monitor["spec"]["selector"], pod_labels(w))]
            assert chosen
            for workload in chosen:
                ports = {port["name"] for port in main_container(workload)["ports"]}
                assert {e["port"] for e in monitor["spec"]["podMetricsEndpoints"]} <= ports
        for monitor in of_kind(overlay, "ServiceMonitor"):
            (service,) = (
                s for s in services if selects(monitor["spec"]["selector"], s["metadata"]["labels"])
            )
            ports = {port["name"] for port in service["spec"]["ports"]}
            assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports

    def test_the_orchestrator_listens_where_its_pod_says(self, overlay: list[Manifest]) -> None:
        settings = orchestrator_settings(overlay)
        (port,) = (
            port["containerPort"]
            for port in main_container(named(overlay, "Deployment", "orchestrator"))["ports"]
            if port["name"] == "http"
        )
        assert settings.http.port == port
        assert settings.http.host == "0.0.0.0"

    def test_the_orchestrator_starts_where_it_listens_and_asks_who_calls(
        self, overlays: dict[str, list[Manifest]]
    ) -> None:
        for name, manifests in overlays.items():
            settings = orchestrator_settings(manifests)
            keys = settings.security.api_keys_file
            refuse_open_address(
                settings.http.host,
                "host",
                asks=keys is not None,
                allowed=settings.security.allow_unauthenticated,
            )
            assert (keys is not None) == (name in GUARDED)
            if keys:
                container = main_container(named(manifests, "Deployment", "orchestrator"))
                folders = [mount["mountPath"] for mount in container["volumeMounts"] if mount.get("readOnly")]
                assert str(keys.parent) in folders

    def test_the_grpc_edge_listens_where_its_pod_and_service_say(self, with_component: WithComponent) -> None:
        manifests = with_component("grpc")
        settings = orchestrator_settings(manifests)
        assert settings.grpc.host == "0.0.0.0"
        ports = main_container(named(manifests, "Deployment", "orchestrator"))["ports"]
        assert {port["name"]: port["containerPort"] for port in ports} == {
            "http": settings.http.port,
            "grpc": settings.grpc.port,
        }
        served = {port["name"]: port for port in named(manifests, "Service", "orchestrator")["spec"]["ports"]}
        assert served["grpc"]["targetPort"] == "grpc"
        assert served["grpc"]["port"] == settings.grpc.port
        assert served["http"]["targetPort"] == "http"

    def test_the_model_server_listens_where_its_pod_says(self, served: list[Manifest]) -> None:
        for server in workloads(served, MODEL_SERVER):
            container = main_container(server)
            ports = {port["name"]: str(port["containerPort"]) for port in container["ports"]}
            flags = serving_flags.parse(container["args"])
            assert ports == {"grpc": flags["port"], "rest": flags["rest_api_port"]}

    def test_requests_are_dealt_out_among_the_pods_of_the_model_server(self, served: list[Manifest]) -> None:
        assert named(served, "Service", "tf-serving")["spec"]["clusterIP"] == "None"


class TestNetworkPolicies:
    @pytest.mark.parametrize("name", GUARDED)
    def test_nothing_is_allowed_that_is_not_named(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        deny = named(overlays[name], "NetworkPolicy", "default-deny")["spec"]
        assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}

    @pytest.mark.parametrize("name", sorted(set(GUARDED) & set(SERVED)))
    def test_only_the_orchestrator_reaches_the_model_server(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        manifests = overlays[name]
        for server in workloads(manifests, MODEL_SERVER):
            rules = _ingress_rules(manifests, server)
            (grpc,) = (rule for rule in rules if _ports(rule) == {8500})
            (metrics,) = (rule for rule in rules if _ports(rule) == {8501})
            assert len(rules) == 2
            (peer,) = grpc["from"]
            assert set(peer) == {"podSelector"}
            allowed = [w for w in workloads(manifests) if selects(peer["podSelector"], pod_labels(w))]
            assert allowed == workloads(manifests, EDGE)
            assert all(set(peer) == {"namespaceSelector"} for peer in metrics["from"])

    @pytest.mark.parametrize("name", GUARDED)
    def test_the_orchestrator_may_go_where_its_settings_send_it(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        manifests = overlays[name]
        (orchestrator,) = workloads(manifests, EDGE)
        egress = [
            rule
            for policy in of_kind(manifests, "NetworkPolicy")
            if selects(policy["spec"]["podSelector"], pod_labels(orchestrator))
            for rule in policy["spec"].get("egress", [])
        ]
        container = main_container(orchestrator)
        stored = "WBC_STORE__URL" in {entry["name"] for entry in container.get("env", [])}
        assert stored == name.startswith("production")
        wanted = {8500, 4317, 53, 5353} | ({5432} if stored else set())
        assert {port for rule in egress for port in _ports(rule)} == wanted
        names = [peer for rule in egress if 53 in _ports(rule) for peer in rule["to"]]
        # CoreDNS in the cluster; NodeLocal DNSCache and the clouds' own have addresses of the link.
        assert {peer["ipBlock"]["cidr"] for peer in names if "ipBlock" in peer} == {
            "169.254.20.10/32",
            "169.254.169.254/32",
        }
        ingress = _ingress_rules(manifests, orchestrator)
        assert {port for rule in ingress for port in _ports(rule)} == {8000, 9000}
        assert all(peer for rule in ingress for peer in rule["from"])


class TestStore:
    @pytest.mark.parametrize("name", ["production-cpu", "production-gpu"])
    def test_the_migration_is_of_the_same_version_and_reaches_the_same_database(
        self, overlays: dict[str, list[Manifest]], name: str
    ) -> None:
        manifests = overlays[name]
        (orchestrator,), (migration,) = workloads(manifests, EDGE), workloads(manifests, "migration")
        served, migrating = main_container(orchestrator), main_container(migration)
        assert migrating["image"] == served["image"]
        assert migrating["command"] == ["wbc", "store", "migrate"]
        assert migrating["env"] == served["env"]
        assert all(setting_exists(entry["name"]) for entry in served["env"])
        for workload in (orchestrator, migration):
            ports = {
                port
                for policy in of_kind(manifests, "NetworkPolicy")
                if selects(policy["spec"]["podSelector"], pod_labels(workload))
                for rule in policy["spec"].get("egress", [])
                for port in _ports(rule)
            }
            assert {53, 5353, 5432} <= ports


def _ingress_rules(manifests: list[Manifest], workload: Manifest) -> list[Manifest]:
    return [
        rule
        for policy in of_kind(manifests, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], pod_labels(workload))
        for rule in policy["spec"].get("ingress", [])
    ]


def _ports(rule: Manifest) -> set[int]:
    return {port["port"] for port in rule["ports"]}
