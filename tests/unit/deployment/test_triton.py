"""Triton in place of TensorFlow Serving: what the component leaves, adds and asks for."""

from pathlib import Path

import pytest

from orchestrator.model_contract import OPEN_MODELS, VIEWS_SIGNATURE
from tests.unit.deployment.manifests import (
    EDGE,
    MODEL_SERVER,
    Manifest,
    main_container,
    named,
    of_kind,
    pod_labels,
    pod_of,
    selects,
    workloads,
)
from tests.unit.deployment.settings_of import longest_request_s, orchestrator_settings

KNOWN_FLAGS = frozenset(
    {
        "model-repository",
        "model-control-mode",
        "disable-auto-complete-config",
        "strict-readiness",
        "exit-timeout-secs",
        "grpc-port",
        "http-port",
        "metrics-port",
    }
)
"""Those in use, as command_line_parser.cc of triton-inference-server/server spells them."""


@pytest.fixture
def manifests(overlays: dict[str, list[Manifest]]) -> list[Manifest]:
    return overlays["production-triton"]


@pytest.fixture
def server(manifests: list[Manifest]) -> Manifest:
    (found,) = workloads(manifests, MODEL_SERVER)
    return found


@pytest.fixture
def flags(server: Manifest) -> dict[str, str]:
    return dict(argument.removeprefix("--").split("=") for argument in main_container(server)["args"])


def test_nothing_of_tensorflow_serving_is_left(manifests: list[Manifest]) -> None:
    assert not [m for m in manifests if m["metadata"]["name"].startswith(("tf-serving", "serving-config"))]
    assert named(manifests, "ScaledObject", "triton")["spec"]["scaleTargetRef"]["name"] == "triton"


def test_the_orchestrator_asks_it_by_the_protocol_that_it_speaks(
    manifests: list[Manifest], server: Manifest
) -> None:
    settings = orchestrator_settings(manifests)
    chosen = settings.tf_serving
    assert chosen.protocol == "open_inference"
    assert chosen.target == "triton:8500"
    assert named(manifests, "Service", "triton")["spec"]["clusterIP"] == "None"
    probe = main_container(server)["startupProbe"]
    assert chosen.start_timeout_s >= probe["periodSeconds"] * probe["failureThreshold"]
    waits = main_container(workloads(manifests, EDGE)[0])["startupProbe"]
    assert waits["periodSeconds"] * waits["failureThreshold"] > chosen.start_timeout_s


def test_every_flag_is_known_and_no_caller_can_load_a_model(flags: dict[str, str], server: Manifest) -> None:
    assert set(flags) <= KNOWN_FLAGS
    assert flags["model-control-mode"] == "none"
    ports = {port["name"]: str(port["containerPort"]) for port in main_container(server)["ports"]}
    assert ports == {"grpc": flags["grpc-port"], "rest": flags["http-port"], "metrics": flags["metrics-port"]}


def test_a_stop_leaves_time_for_the_longest_request(
    manifests: list[Manifest], server: Manifest, flags: dict[str, str]
) -> None:
    ends = int(flags["exit-timeout-secs"])
    assert ends > longest_request_s(orchestrator_settings(manifests))
    wait = main_container(server)["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod_of(server)["terminationGracePeriodSeconds"] > wait + ends


def test_probes_ask_the_routes_of_the_open_inference_protocol(
    server: Manifest, flags: dict[str, str]
) -> None:
    container = main_container(server)
    # Of both models, as long as this holds.
    assert flags["strict-readiness"] == "true"
    assert container["startupProbe"]["httpGet"] == {"path": "/v2/health/ready", "port": "rest"}
    asked = f"/v2/models/{OPEN_MODELS[VIEWS_SIGNATURE]}/ready"
    assert container["readinessProbe"]["httpGet"] == {"path": asked, "port": "rest"}


def test_the_onnx_is_copied_to_where_it_is_read(server: Manifest, flags: dict[str, str]) -> None:
    _, copier = pod_of(server)["initContainers"]
    (mount,) = (m for m in main_container(server)["volumeMounts"] if m["name"] == "model")
    assert copier["volumeMounts"] == [{"name": "model", "mountPath": "/target"}]
    assert mount["mountPath"] == flags["model-repository"]
    assert copier["image"].rpartition("/")[2].startswith("onnx-model-copier:")


def test_only_the_orchestrator_asks_and_only_metrics_are_scraped(
    manifests: list[Manifest], server: Manifest
) -> None:
    rules = [
        rule
        for policy in of_kind(manifests, "NetworkPolicy")
        if selects(policy["spec"]["podSelector"], pod_labels(server))
        for rule in policy["spec"].get("ingress", [])
    ]
    asked, scraped = rules
    assert [port["port"] for port in asked["ports"]] == [8500]
    (peer,) = asked["from"]
    chosen = [w for w in workloads(manifests) if selects(peer["podSelector"], pod_labels(w))]
    assert chosen == workloads(manifests, EDGE)
    # Not the port of HTTP, which answers for the model, too.
    assert [port["port"] for port in scraped["ports"]] == [8502]
    (endpoint,) = named(manifests, "PodMonitor", "triton")["spec"]["podMetricsEndpoints"]
    assert (endpoint["port"], endpoint["path"]) == ("metrics", "/metrics")


def test_it_gets_a_gpu_that_its_image_has_code_for(server: Manifest) -> None:
    container, pod = main_container(server), pod_of(server)
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    (term,) = required["nodeSelectorTerms"]
    (wanted,) = term["matchExpressions"]
    assert wanted["key"] == "nvidia.com/gpu.compute.major"
    assert min(map(int, wanted["values"])) >= 8  # of 7, only 7.5


def test_the_image_of_the_onnx_holds_both_models(project_root: Path) -> None:
    text = (project_root / "docker" / "onnx-model.Dockerfile").read_text()
    for model in OPEN_MODELS.values():
        assert f"COPY --chmod=0755 {model} /models/{model}\n" in text
