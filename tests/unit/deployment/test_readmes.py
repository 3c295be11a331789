"""The commands of the READMEs, as far as they can be checked without an engine and a cluster."""

import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import get_args
from urllib.parse import urlsplit

import pytest
import yaml  # type: ignore[import-untyped]

from orchestrator import __version__
from orchestrator.bootstrap.services import build_services
from orchestrator.edge.access.security import Role
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http_app import create_app
from orchestrator.model_contract import MODEL_NAME
from orchestrator.settings import Settings
from tests.fakes.model_server import FakeModelServer
from tests.unit.deployment import dockerfiles
from tests.unit.deployment.custom_resources import is_custom
from tests.unit.deployment.manifests import (
    Manifest,
    containers_of,
    leaves,
    named,
    of_kind,
    pod_labels,
    pod_of,
    workloads,
)
from tests.unit.deployment.routes import http_routes, nearest
from tests.unit.deployment.settings_of import orchestrator_settings, setting_exists

SET_VERSION = "VERSION=$(make --silent version)"


def _blocks(text: str, overlay: str) -> list[list[str]]:
    """The commands, as words, of the code blocks that are marked for an overlay."""
    pattern = rf"<!-- commands:{overlay} -->\n```sh[^\n]*\n(.*?)```\n<!-- /commands:{overlay} -->"
    commands = [line for block in re.findall(pattern, text, re.DOTALL) for line in block.splitlines()]
    assert commands.pop(0) == SET_VERSION
    return [_words(command) for command in commands]


def _days(text: str) -> list[list[str]]:
    """The commands, as words, of docs/operate.md."""
    overlay = "production-gpu"
    pattern = rf"<!-- commands:{overlay} -->\n```sh[^\n]*\n(.*?)```\n<!-- /commands:{overlay} -->"
    return [
        shlex.split(line) for block in re.findall(pattern, text, re.DOTALL) for line in block.splitlines()
    ]


def _words(command: str) -> list[str]:
    """As the shell has them after SET_VERSION."""
    return shlex.split(command.replace("$VERSION", __version__))


def _options(words: list[str]) -> dict[str, str]:
    return {word.removeprefix("--"): then for word, then in pairwise(words) if word.startswith("--")}


def _images(manifests: list[Manifest]) -> set[str]:
    images = {container["image"] for w in workloads(manifests) for container in containers_of(w)}
    return images | {
        volume["image"]["reference"]
        for workload in workloads(manifests)
        for volume in pod_of(workload)["volumes"]
        if "image" in volume
    }


def _check(words: list[str], project_root: Path, manifests: list[Manifest], overlay: str) -> None:
    options = _options(words)
    if "namespace" in options:
        assert options["namespace"] == of_kind(manifests, "Namespace")[0]["metadata"]["name"]
    match words:
        case ["docker", "build", *_, "."]:
            stages = dockerfiles.read(project_root / options["file"])
            assert options.get("target", stages[-1].name) in {stage.name for stage in stages}
            assert options["tag"] in _images(manifests)
            assert options["build-arg"] == f"VERSION={options['tag'].rpartition(':')[2]}"
        case ["docker", "push", image]:
            assert image in _images(manifests)
        case ["kind", "create", "cluster", *_]:
            pass
        case ["kind", "load", "docker-image", "--name", _, *images]:
            assert set(images) <= _images(manifests)
        case ["kubectl", "apply" | "diff", "--kustomize", folder]:
            assert folder == f"k8s/overlays/{overlay}"
        case ["kubectl", "--namespace", _, "rollout", "status" | "undo", target, *_]:
            kind, name = target.split("/")
            assert kind == "deployment"
            named(manifests, "Deployment", name)
        case ["kubectl", "--namespace", _, "port-forward", target, ports]:
            service = named(manifests, "Service", target.removeprefix("service/"))
            assert int(ports.split(":")[1]) in {port["port"] for port in service["spec"]["ports"]}
        case ["kubectl", "label", "namespace", _, *labels]:
            policies = of_kind(manifests, "NetworkPolicy")
            selected = {f"{path[-1]}={leaf}" for p in policies for path, leaf in leaves(p)}
            assert set(labels) <= selected
        case ["kubectl", "get", "crd", *definitions]:
            assert set(definitions) <= _definitions(manifests)
        case ["kubectl", "get", "nodes", "--selector", label]:
            key, value = label.split("=")
            terms = dict[str, list[str]]()
            for path, leaf in leaves(pod_of(named(manifests, "Deployment", "tf-serving"))["affinity"]):
                terms.setdefault(path[-1], []).append(leaf)
            assert key in terms["key"]
            assert value in terms["values"]
        case ["kubectl", "apply", "--filename", file]:
            (told,) = yaml.safe_load_all((project_root / file).read_text())
            (namespace,) = of_kind(manifests, "Namespace")
            assert (told["kind"], told["metadata"]["name"]) == ("Namespace", namespace["metadata"]["name"])
        case ["kubectl", "--namespace", _, "wait", "--for", "condition=complete", job, "--timeout", _]:
            named(manifests, "Job", job.removeprefix("job/"))
        case ["kubectl", "--namespace", _, "wait", "--for", "delete", "pod", "--selector", label, *_]:
            assert [w for w in workloads(manifests) if label.split("=") in map(list, pod_labels(w).items())]
        case ["kubectl", "--namespace", _, "delete", "job", job, "--ignore-not-found"]:
            named(manifests, "Job", job)
        case ["kubectl", "--namespace", _, "annotate", "scaledobject", name, annotation, *_]:
            named(manifests, "ScaledObject", name)
            assert annotation in (
                "autoscaling.keda.sh/paused-replicas=0",
                "autoscaling.keda.sh/paused-replicas-",
            )
        case ["kubectl", "--namespace", _, "create", "secret", "generic", name, *given]:
            pairs = zip(given[::2], given[1::2], strict=True)
            made = {value.partition("=")[0] for flag, value in pairs if flag.startswith("--from-")}
            assert made == _keys_of_secret(manifests, name)
        case ["kubectl", "--namespace", _, "delete", "secret", name]:
            assert _keys_of_secret(manifests, name)
        case ["kubectl", "drain", _, "--ignore-daemonsets", "--delete-emptydir-data"]:
            assert of_kind(manifests, "PodDisruptionBudget")  # which it waits for
        case ["kubectl", "--namespace", _, "get", "pods", "--output", "wide"]:
            pass
        case ["wbc", "keys", "create", _, *given]:
            roles = [value for flag, value in zip(given[::2], given[1::2], strict=True) if flag == "--role"]
            assert set(roles) <= set(get_args(Role))
        case ["pg_dump" | "pg_restore" as program, *given]:
            # With the options that a backup is made and restored with in a test.
            tested = (project_root / "tests/integration/test_backup.py").read_text()
            assert f'"{program}"' in tested
            assert all(f'"{option}"' in tested for option in given if option.startswith("--"))
        case ["createdb", "--host", _, "--username", _, _]:
            pass
        case [url, key, "wbc", "audit", "verify"]:
            assert [setting_exists(word.partition("=")[0]) for word in (url, key)] == [True, True]
        case ["curl", "--fail-with-body", "--header", "Authorization: Bearer $KEY", *given, url]:
            address = urlsplit(url)
            routes = [route for route in http_routes(manifests) if route.host == address.hostname]
            assert nearest(routes, address.path) is not None
            method = "POST" if {"-F", "--json", "--request"} & set(given) else "GET"
            asked = address.path.replace("$ID", "{differential_id}").replace("$CELL", "{cell_id}")
            assert (method, asked) in _operations()
        case ["curl", "--fail-with-body", "-F", file, url]:
            assert (project_root / file.removeprefix("file=@")).is_file()
            assert url == "localhost:8000/predict"
        case _:
            pytest.fail(f"no check knows this command: {shlex.join(words)}")


def _definitions(manifests: list[Manifest]) -> set[str]:
    """The names of the definitions that its custom resources need."""
    custom = (manifest for manifest in manifests if is_custom(manifest))
    return {f"{m['kind'].lower()}s.{m['apiVersion'].partition('/')[0]}" for m in custom}


def _doors(manifests: list[Manifest]) -> set[str]:
    """The labels of namespaces from which something comes in."""
    return {
        path[-1]
        for policy in of_kind(manifests, "NetworkPolicy")
        for path, _ in leaves(policy["spec"].get("ingress", []))
        if path[-1].startswith("wbc.access/")
    }


def _keys_of_secret(manifests: list[Manifest], name: str) -> set[str]:
    """What the pods read of a Secret: keys for variables, or a file."""
    found = set()
    for workload in workloads(manifests):
        for container in containers_of(workload):
            references = [
                entry.get("valueFrom", {}).get("secretKeyRef") for entry in container.get("env", [])
            ]
            found |= {one["key"] for one in references if one and one["name"] == name}
        if any(volume.get("secret", {}).get("secretName") == name for volume in pod_of(workload)["volumes"]):
            file = orchestrator_settings(manifests).security.api_keys_file
            assert file is not None
            found.add(file.name)
    return found


@cache
def _operations() -> set[tuple[str, str]]:
    """Method and path of all that the service answers."""
    app = create_app(build_services(Settings(), model_server=FakeModelServer()))
    endpoints = [route for route in app.router.routes if isinstance(route, Endpoint)]
    return {(method, endpoint.path) for endpoint in endpoints for method in endpoint.methods or ()}


def test_the_commands_of_each_day_fit_what_is_there(
    project_root: Path, overlays: dict[str, list[Manifest]]
) -> None:
    commands = _days((project_root / "docs" / "operate.md").read_text())
    for words in commands:
        _check(words, project_root, overlays["production-gpu"], "production-gpu")
    (first,) = (number for number, words in enumerate(commands) if words[:3] == ["kubectl", "get", "nodes"])
    asked = {name for words in commands[:first] for name in words[3:]}
    assert asked == _definitions(overlays["production-gpu"])
    labels = {w.partition("=")[0] for words in commands if words[1] == "label" for w in words[4:]}
    assert _doors(overlays["production-gpu"]) <= labels
    made = [words[6] for words in commands if words[3:6] == ["create", "secret", "generic"]]
    applied = commands.index(["kubectl", "apply", "--kustomize", "k8s/overlays/production-gpu"])
    before = [words[6] for words in commands[:applied] if words[3:6] == ["create", "secret", "generic"]]
    assert set(before) == set(made) == {"orchestrator-api-keys", "orchestrator-store"}


@pytest.mark.parametrize("overlay_name", ["local-cpu", "production-gpu"])
def test_the_commands_to_a_cluster_fit_what_is_there(
    project_root: Path, overlays: dict[str, list[Manifest]], overlay_name: str
) -> None:
    text = (project_root / "k8s" / "README.md").read_text()
    commands = _blocks(text, overlay_name)
    for words in commands:
        _check(words, project_root, overlays[overlay_name], overlay_name)
    applied = ["kubectl", "apply", "--kustomize", f"k8s/overlays/{overlay_name}"]
    assert applied in commands


def test_every_image_of_ours_is_built_before_the_cluster_wants_it(
    project_root: Path, overlays: dict[str, list[Manifest]]
) -> None:
    text = (project_root / "k8s" / "README.md").read_text()
    for overlay in ("local-cpu", "production-gpu"):
        built = {_options(w)["tag"] for w in _blocks(text, overlay) if w[:2] == ["docker", "build"]}
        assert built == {image for image in _images(overlays[overlay]) if "wbc" in image}


def test_every_component_is_told_of(project_root: Path) -> None:
    text = (project_root / "k8s" / "README.md").read_text()
    told = set(re.findall(r"^\| `([\w-]+)` \|", text, re.MULTILINE))
    there = {path.name for path in (project_root / "k8s" / "components").iterdir()}
    assert told == there


def test_image_builds_of_the_docker_readme_name_stages_that_are_there(project_root: Path) -> None:
    text = (project_root / "docker" / "README.md").read_text()
    commands = [_words(line) for line in text.splitlines() if line.startswith("docker build")]
    assert len(commands) == 8
    assert f"\n{SET_VERSION}\ndocker build" in text
    versions = [path.name for path in (project_root / "model_repository" / MODEL_NAME).iterdir()]
    for words in commands:
        options = _options(words)
        stages = dockerfiles.read(project_root / options["file"])
        assert options.get("target", stages[-1].name) in {stage.name for stage in stages}
        tag = options["tag"].partition(":")[2]
        version = tag if "model.Dockerfile" in options["file"] else __version__
        assert tag in (version, f"{version}-{options.get('target')}")
        assert options["build-arg"] == f"VERSION={version}"
        if "model.Dockerfile" in options["file"]:
            assert version in versions
