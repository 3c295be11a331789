"""Every overlay renders, and what comes out is what Kubernetes accepts."""

import copy
import json
from functools import cache
from pathlib import Path

import kubernetes_validate
import pytest
import yaml  # type: ignore[import-untyped]
from pydantic import ValidationError

from tests.unit.deployment import custom_resources
from tests.unit.deployment.manifests import COMPONENTS, Manifest, WithComponent, named, of_kind

# The oldest that these manifests are for (preStop sleep), and the newest of the schemas.
KUBERNETES_VERSIONS = ("1.31", kubernetes_validate.latest_version())
IMAGE_VOLUMES = ("1.33", "1.35")
"""The first that admits them under `restricted` (before, the gate could be on, and no pod started), and the
first that has the gate on."""


def _validate(manifest: Manifest, version: str) -> None:
    _validate_json(json.dumps(manifest), version)


@cache  # overlays share most of their objects
def _validate_json(document: str, version: str) -> None:
    manifest = json.loads(document)
    if custom_resources.is_custom(manifest):
        custom_resources.validate(manifest)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


@pytest.mark.parametrize("version", KUBERNETES_VERSIONS)
def test_every_object_is_valid(overlay: list[Manifest], version: str) -> None:
    kinds = {manifest["kind"] for manifest in overlay}
    assert {"Namespace", "Deployment", "Service", "ConfigMap", "PodDisruptionBudget"} <= kinds
    for manifest in overlay:
        _validate(manifest, version)


def test_a_misspelt_field_is_refused(overlays: dict[str, list[Manifest]]) -> None:
    wrong = copy.deepcopy(named(overlays["local-cpu"], "Deployment", "orchestrator"))
    wrong["spec"]["template"]["spec"]["containers"][0]["readinesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readinesProbe"):
        _validate(wrong, KUBERNETES_VERSIONS[0])


@pytest.mark.parametrize(
    "kind",
    [
        "ServiceMonitor",
        "PodMonitor",
        "PrometheusRule",
        "ScaledObject",
        "Certificate",
        "Gateway",
        "HTTPRoute",
        "GRPCRoute",
    ],
)
def test_a_misspelt_field_of_a_custom_resource_is_refused(
    overlays: dict[str, list[Manifest]], kind: str
) -> None:
    wrong = copy.deepcopy(of_kind(overlays["production-gpu"], kind)[0])
    wrong["spec"]["selektor"] = {}
    with pytest.raises(ValidationError, match="selektor"):
        _validate(wrong, KUBERNETES_VERSIONS[0])


def _kustomizations(k8s: Path) -> list[Path]:
    return sorted(k8s.rglob("kustomization.yaml"))


def test_every_file_is_used_and_every_file_used_is_there(project_root: Path) -> None:
    k8s = project_root / "k8s"
    used: set[Path] = set()
    for kustomization in _kustomizations(k8s):
        content = yaml.safe_load(kustomization.read_text())
        names = [
            *content.get("resources", []),
            *content.get("configurations", []),
            *content.get("components", []),
        ]
        names += [patch["path"] for patch in content.get("patches", []) if "path" in patch]
        for generator in content.get("configMapGenerator", []):
            names += [entry.partition("=")[2] or entry for entry in generator.get("files", [])]
            names += generator.get("envs", [])
        targets = {(kustomization.parent / name).resolve() for name in names}
        assert [target for target in targets if not target.exists()] == [], kustomization
        used |= targets | {kustomization}
    there = {path for path in k8s.rglob("*") if path.suffix in {".yaml", ".json", ".config", ".env"}}
    # Of the monitoring component, promtool's tests and the rule files, which Prometheus itself reads.
    monitoring = k8s / "components" / "monitoring"
    there -= {path for path in there if path.is_relative_to(monitoring / "rules")}
    assert {str(path.relative_to(k8s)) for path in there - used} == set()


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_component_can_be_chosen_alone(with_component: WithComponent, component: str) -> None:
    for manifest in with_component(component):
        _validate(manifest, KUBERNETES_VERSIONS[-1])


def test_image_volumes_are_valid_from_the_cluster_on_that_they_are_said_to_need(
    project_root: Path, with_component: WithComponent
) -> None:
    told = (project_root / "k8s" / "README.md").read_text()
    (row,) = (line for line in told.splitlines() if line.startswith("| `model-oci-volume` |"))
    manifests = with_component("model-oci-volume")
    for version in IMAGE_VOLUMES:
        assert version in row
        for manifest in manifests:
            _validate(manifest, version)


def test_every_component_is_tested(project_root: Path) -> None:
    components = project_root / "k8s" / "components"
    assert {path.parent.name for path in _kustomizations(components)} == set(COMPONENTS)


def test_the_namespace_is_everywhere_the_overlays(overlay: list[Manifest]) -> None:
    (namespace,) = of_kind(overlay, "Namespace")
    name = namespace["metadata"]["name"]
    for manifest in overlay:
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == name
    for scaled in of_kind(overlay, "ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            query = trigger["metadata"]["query"]
            assert query.count(f'namespace="{name}"') == query.count("{") > 0
