"""What kustomize makes of ``k8s/``, and ways to look into it."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

Manifest = dict[str, Any]
WithComponent = Callable[..., list[Manifest]]
"""Renders the base with components, in the order of their names here."""

OVERLAYS: Final = (
    "local-cpu",
    "staging",
    "production-cpu",
    "production-gpu",
    "production-h100",
    "production-triton",
)
COMPONENTS: Final = (
    "api-keys",
    "autoscaling",
    "canary",
    "certificate",
    "egress-database",
    "egress-dicom",
    "egress-https",
    "egress-mllp",
    "embedded",
    "failover",
    "gateway",
    "gateway-grpc",
    "gpu",
    "gpu-hopper",
    "grpc",
    "inference-probe",
    "ingress",
    "model-hash",
    "model-init-container",
    "model-oci-volume",
    "model-server-tls",
    "monitoring",
    "network-policies",
    "postgresql",
    "training-job",
    "triton",
)

GUARDED: Final = tuple(name for name in OVERLAYS if name != "local-cpu")
"""The overlays with network policies, autoscaling, TLS and API keys."""

SERVED: Final = ("local-cpu", "staging", "production-gpu", "production-h100")
"""The overlays in which TensorFlow Serving has the model."""

WORKLOADS: Final = ("Deployment", "Job")
MODEL_SERVER: Final = "model-server"
EDGE: Final = "edge"


@cache
def renderer() -> tuple[str, ...] | None:
    """The command that renders a kustomization; None where no tool on the path knows components.

    kubectl before 1.21 carries a kustomize of 2019 without them (Debian 12 has kubectl 1.20); those before
    1.24 do not tell which kustomize they carry.
    """
    if kubectl := shutil.which("kubectl"):
        answer = subprocess.run(
            [kubectl, "version", "--client", "--output=json"], capture_output=True, text=True, timeout=60
        )
        if answer.returncode == 0 and json.loads(answer.stdout).get("kustomizeVersion"):
            return (kubectl, "kustomize")
    if kustomize := shutil.which("kustomize"):
        return (kustomize, "build")
    return None


def render(folder: Path) -> list[Manifest]:
    """All objects of the kustomization in ``folder``."""
    command = renderer()
    assert command is not None
    answer = subprocess.run([*command, str(folder)], capture_output=True, text=True, timeout=60)
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == "", answer.stderr  # deprecated fields
    return [manifest for manifest in yaml.safe_load_all(answer.stdout) if manifest]


def of_kind(manifests: list[Manifest], *kinds: str) -> list[Manifest]:
    """The objects of these kinds."""
    return [manifest for manifest in manifests if manifest["kind"] in kinds]


def named(manifests: list[Manifest], kind: str, name: str) -> Manifest:
    """The one object of this kind and name."""
    (found,) = (m for m in of_kind(manifests, kind) if m["metadata"]["name"] == name)
    return found


def pod_of(workload: Manifest) -> Manifest:
    """The pod specification of a Deployment or Job."""
    pod: Manifest = workload["spec"]["template"]["spec"]
    return pod


def containers_of(workload: Manifest) -> list[Manifest]:
    """All containers of a Deployment or Job, those that run first included."""
    pod = pod_of(workload)
    return [*pod.get("initContainers", []), *pod["containers"]]


def main_container(workload: Manifest) -> Manifest:
    """The first container that is not an init container."""
    container: Manifest = pod_of(workload)["containers"][0]
    return container


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether a label selector (by ``matchLabels`` and ``In``) selects an object with ``labels``."""
    assert set(selector) <= {"matchLabels", "matchExpressions"}, selector
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "In"
        if labels.get(expression["key"]) not in expression["values"]:
            return False
    return selector.get("matchLabels", {}).items() <= labels.items()


def pod_labels(workload: Manifest) -> dict[str, str]:
    """The labels of a workload's pods."""
    labels: dict[str, str] = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def environment(manifests: list[Manifest], container: Manifest) -> dict[str, str]:
    """The variables of a container, those from ConfigMaps included and those from Secrets not."""
    variables: dict[str, str] = {}
    for source in container.get("envFrom", []):
        variables |= named(manifests, "ConfigMap", source["configMapRef"]["name"])["data"]
    own = container.get("env", [])
    return variables | {entry["name"]: entry["value"] for entry in own if "value" in entry}


def leaves(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf of a nested object with the keys that lead to it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, *path, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, *path)
    else:
        yield path, value


def workloads(manifests: list[Manifest], component: str | None = None) -> list[Manifest]:
    """The Deployments and Jobs, or those of one component; never none."""
    found = [
        workload
        for workload in of_kind(manifests, *WORKLOADS)
        if component in (None, pod_labels(workload).get("app.kubernetes.io/component"))
    ]
    assert found, component
    return found
