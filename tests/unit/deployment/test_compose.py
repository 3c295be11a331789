"""``docker/compose.yaml``: valid by the compose specification, locked down, and what it mounts is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]

from orchestrator.settings import Settings
from tests.unit.deployment import dockerfiles

Compose = dict[str, Any]


@pytest.fixture(scope="module")
def compose(project_root: Path) -> Compose:
    content: Compose = yaml.safe_load((project_root / "docker" / "compose.yaml").read_text())
    return content


def _check(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_it_is_valid_by_the_specification(project_root: Path) -> None:
    answer = _check(project_root / "docker" / "compose.yaml")
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_a_misspelt_field_is_refused(project_root: Path, tmp_path: Path) -> None:
    text = (project_root / "docker" / "compose.yaml").read_text()
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(text.replace("depends_on:", "depend_on:"))
    answer = _check(wrong)
    assert answer.returncode != 0
    assert "depend_on" in answer.stdout


def test_every_service_is_locked_down(compose: Compose) -> None:
    assert len(compose["services"]) == 5
    for service in compose["services"].values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not {"privileged", "network_mode", "pid"} & set(service)


def test_images_are_pinned(compose: Compose) -> None:
    for service in compose["services"].values():
        assert re.search(r":v?\d+\.\d+\.\d+(-[a-z]+)?$", service["image"]), service["image"]


def test_ports_are_open_to_this_machine_alone(compose: Compose) -> None:
    ports = {port for service in compose["services"].values() for port in service.get("ports", [])}
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)
    assert not any("850" in port for port in ports), "the model server's port can reload models"


def test_the_model_server_has_no_way_out(compose: Compose) -> None:
    assert compose["networks"]["models"]["internal"] is True
    for name in ("tf-serving-cpu", "tf-serving-gpu"):
        assert set(compose["services"][name]["networks"]) == {"models"}
        assert compose["services"][name]["networks"]["models"]["aliases"] == ["tf-serving"]


def test_what_it_mounts_and_builds_from_is_there(compose: Compose, project_root: Path) -> None:
    folder = project_root / "docker"
    named: set[str] = set(compose["volumes"])
    mounted = set()
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            if source in named:
                continue
            assert (folder / source).resolve().exists(), source
            assert mode == ["ro"], target
            mounted.add(source)
        if "build" in service:
            context = (folder / service["build"]["context"]).resolve()
            assert context == project_root
            stages = dockerfiles.read(context / service["build"]["dockerfile"])
            assert service["build"].get("target", stages[-1].name) in {stage.name for stage in stages}
    assert "./prometheus.yml" in mounted


def test_dependencies_and_networks_are_there(compose: Compose) -> None:
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])
        assert set(service["networks"]) <= set(compose["networks"])
    for name, dependency in compose["services"]["orchestrator"]["depends_on"].items():
        assert "profiles" in compose["services"][name]
        assert dependency["required"] is False, "only one of the profiles is on"


def test_the_variables_of_the_orchestrator_are_settings(
    compose: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in compose["services"]["orchestrator"]["environment"].items():
        assert name.startswith("WBC_")
        monkeypatch.setenv(name, str(value))
    settings = Settings()
    assert settings.http.host == "0.0.0.0"
    assert settings.security.allow_unauthenticated
    assert (settings.grpc.host, settings.grpc.port) == ("0.0.0.0", 9000)
    ports = compose["services"]["orchestrator"]["ports"]
    assert ports == ["127.0.0.1:8000:8000", "127.0.0.1:9000:9000"], "for this machine alone"
    assert settings.tf_serving.target == "tf-serving:8500"


def test_prometheus_scrapes_the_services_of_compose(compose: Compose, project_root: Path) -> None:
    config = yaml.safe_load((project_root / "docker" / "prometheus.yml").read_text())
    targets = {
        job["job_name"]: (job["static_configs"][0]["targets"], job.get("metrics_path", "/metrics"))
        for job in config["scrape_configs"]
    }
    monitoring = (project_root / "model_repository" / "monitoring.config").read_text()
    (path,) = re.findall(r'path: "([^"]+)"', monitoring)
    assert targets == {
        "orchestrator": ([f"orchestrator:{Settings().http.port}"], "/metrics"),
        "tf-serving": (["tf-serving:8501"], path),
    }
    assert "tf-serving" not in compose["services"], "an alias that both kinds of model server answer to"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian: prometheus)")
def test_prometheus_accepts_its_configuration(project_root: Path) -> None:
    answer = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(project_root / "docker" / "prometheus.yml")],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_grafana_finds_its_dashboards_and_its_data(compose: Compose, project_root: Path) -> None:
    folder = project_root / "docker" / "grafana"
    (provider,) = yaml.safe_load((folder / "dashboards.yaml").read_text())["providers"]
    (source,) = yaml.safe_load((folder / "datasources.yaml").read_text())["datasources"]
    volumes = [volume.split(":") for volume in compose["services"]["grafana"]["volumes"]]
    mounts = {target for _, target, *_ in volumes}
    assert provider["options"]["path"] in mounts
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in compose["services"]
