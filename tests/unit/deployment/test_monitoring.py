"""The monitoring component brings every dashboard and every rule to the cluster."""

import json
import re
from pathlib import Path

from tests.unit.deployment.manifests import GUARDED, Manifest, of_kind
from tests.unit.deployment.write_monitoring import prometheus_rule, rule_files


def _monitoring(project_root: Path) -> Path:
    return project_root / "k8s" / "components" / "monitoring"


def test_the_rules_of_the_cluster_are_those_of_the_files(
    project_root: Path, overlays: dict[str, list[Manifest]]
) -> None:
    assert rule_files(_monitoring(project_root))
    for name in GUARDED:
        rules = of_kind(overlays[name], "PrometheusRule")
        groups = [group for rule in rules for group in rule["spec"]["groups"]]
        assert groups == prometheus_rule(_monitoring(project_root))["spec"]["groups"], (
            "python -m tests.unit.deployment.write_monitoring"
        )


def test_every_dashboard_is_there_for_the_sidecar_of_grafana(
    project_root: Path, overlays: dict[str, list[Manifest]]
) -> None:
    files = {
        path.name: path.read_text() for path in (_monitoring(project_root) / "dashboards").glob("*.json")
    }
    assert files
    for name in GUARDED:
        configs = of_kind(overlays[name], "ConfigMap")
        maps = [c for c in configs if "grafana_dashboard" in c["metadata"].get("labels", {})]
        shown = {key: value for config in maps for key, value in config["data"].items()}
        assert {key: json.loads(value) for key, value in shown.items()} == {
            key: json.loads(value) for key, value in files.items()
        }
        for config in maps:
            # The API server takes no object over 1 MiB.
            assert len(json.dumps(config)) < 900_000


def test_prometheus_of_compose_reads_the_same_files(project_root: Path) -> None:
    config = (project_root / "docker" / "prometheus.yml").read_text()
    (pattern,) = re.findall(r"/etc/prometheus/rules/(\S+)", config)
    assert sorted((_monitoring(project_root) / "rules").glob(pattern)) == rule_files(
        _monitoring(project_root)
    )
