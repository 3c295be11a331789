"""The commands of the READMEs, as far as they can be checked without an engine and a cluster."""

import re
import shlex
from pathlib import Path

import pytest

from orchestrator import __version__
from orchestrator.model_contract import MODEL_NAME
from tests.unit.deployment import dockerfiles
from tests.unit.deployment.manifests import (
    Manifest,
    containers_of,
    leaves,
    named,
    of_kind,
    pod_of,
    workloads,
)

SET_VERSION = "VERSION=$(make --silent version)"


def _blocks(text: str, overlay: str) -> list[list[str]]:
    """The commands, as words, of the code blocks that are marked for an overlay."""
    pattern = rf"<!-- commands:{overlay} -->\n```sh[^\n]*\n(.*?)```\n<!-- /commands:{overlay} -->"
    commands = [line for block in re.findall(pattern, text, re.DOTALL) for line in block.splitlines()]
    assert commands.pop(0) == SET_VERSION
    return [_words(command) for command in commands]


def _words(command: str) -> list[str]:
    """As the shell has them after SET_VERSION."""
    return shlex.split(command.replace("$VERSION", __version__))


def _options(words: list[str]) -> dict[str, str]:
    return {word.removeprefix("--"): words[i + 1] for i, word in enumerate(words) if word.startswith("--")}


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
        case ["kubectl", "label", "namespace", _, label]:
            key, value = label.split("=")
            policies = of_kind(manifests, "NetworkPolicy")
            assert ((key, value)) in {(path[-1], leaf) for p in policies for path, leaf in leaves(p)}
        case ["curl", "--fail-with-body", "-F", file, url]:
            assert (project_root / file.removeprefix("file=@")).is_file()
            assert url == "localhost:8000/predict"
        case _:
            pytest.fail(f"no check knows this command: {shlex.join(words)}")


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
