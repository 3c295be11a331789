"""The monitoring component's files, read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

MONITORING: Final = Path(__file__).resolve().parents[3] / "k8s" / "components" / "monitoring"
RULES: Final = sorted((MONITORING / "rules").glob("*.yaml"))
DASHBOARDS: Final = sorted((MONITORING / "dashboards").glob("*.json"))
RUNBOOKS: Final = sorted((MONITORING / "runbooks").glob("*.md"))

OF_THE_CLUSTER: Final = {
    "kube_deployment_spec_replicas",
    "kube_deployment_status_condition",
    "kube_deployment_status_replicas_available",
    "kube_pod_container_status_restarts_total",
    "kube_pod_status_phase",
    "DCGM_FI_DEV_XID_ERRORS",
}
"""Metrics of kube-state-metrics (2.x, docs/metrics/workload) and of dcgm-exporter (default-counters.csv)."""

_METRIC: Final = re.compile(r"(?<![\w:.\"])((?:wbc|:tensorflow|process|kube_|DCGM_|up\b)[\w:]*)")


def rules() -> list[dict[str, Any]]:
    """Every rule of every file."""
    return [
        rule
        for path in RULES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """The names that the rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def dashboard(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels that show something."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    """Where it stands, and the expression, its variables included."""
    for path in DASHBOARDS:
        for panel in panels(path):
            for target in panel["targets"]:
                yield f"{path.stem}: {panel['title']} {target['refId']}", target["expr"]


def metrics_of(expression: str) -> set[str]:
    """The names of the metrics in an expression."""
    return set(_METRIC.findall(re.sub(r"\{[^}]*\}", "", expression)))
