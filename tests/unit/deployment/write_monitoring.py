"""Writes the monitoring component's lists from the rules and dashboards that lie in its folders.

``python -m tests.unit.deployment.write_monitoring`` after a rule or a dashboard is added, renamed or, for
rules, changed. kustomize knows no wildcard and cannot put one file into a field of another; so names and
rules stand twice, and tests say when the two differ.
"""

from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

MONITORING: Final = Path(__file__).resolve().parents[3] / "k8s" / "components" / "monitoring"
_WRITTEN_BY: Final = "Written by `python -m tests.unit.deployment.write_monitoring`; do not edit."


def rule_files(monitoring: Path = MONITORING) -> list[Path]:
    """The files that ``docker/prometheus.yml`` names, in their order."""
    return sorted((monitoring / "rules").glob("*.yaml"))


def prometheus_rule(monitoring: Path = MONITORING) -> dict[str, Any]:
    """The groups of all rule files as one object of the Prometheus Operator."""
    documents = [yaml.safe_load(path.read_text()) for path in rule_files(monitoring)]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "wbc"},
        "spec": {"groups": [group for document in documents for group in document["groups"]]},
    }


def kustomization(monitoring: Path = MONITORING) -> dict[str, Any]:
    """The component: who is asked for metrics, the rules, and one ConfigMap a dashboard."""
    dashboards = sorted((monitoring / "dashboards").glob("*.json"))
    return {
        "apiVersion": "kustomize.config.k8s.io/v1alpha1",
        "kind": "Component",
        "resources": ["service-monitor.yaml", "pod-monitor.yaml", "prometheus-rule.yaml"],
        "configMapGenerator": [
            {
                "name": f"dashboard-{path.stem}",
                "files": [f"dashboards/{path.name}"],
                # The sidecar of Grafana finds it by the label, and follows its changes under one name.
                "options": {"disableNameSuffixHash": True, "labels": {"grafana_dashboard": "1"}},
            }
            for path in dashboards
        ],
    }


def write(monitoring: Path = MONITORING) -> None:
    """Write both files."""
    about = "# Metrics for the Prometheus Operator, alert rules, dashboards for the sidecar of Grafana.\n"
    for name, note, content in (
        ("prometheus-rule.yaml", "", prometheus_rule(monitoring)),
        ("kustomization.yaml", about, kustomization(monitoring)),
    ):
        text = yaml.safe_dump(content, sort_keys=False, width=110, allow_unicode=True)
        (monitoring / name).write_text(f"{note}# {_WRITTEN_BY}\n{text}", encoding="utf-8")


if __name__ == "__main__":
    write()
