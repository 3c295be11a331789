"""Dashboards as code: whole, without overlaps, and about metrics that exist."""

import json
import re
from itertools import combinations
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

import orchestrator.observability.metrics  # noqa: F401 (registers the metrics)
from tests.fakes.serving_metrics import NAMES as SERVING_NAMES
from tests.unit.monitoring.rule_files import (
    DASHBOARDS,
    OF_THE_CLUSTER,
    dashboard,
    dashboard_expressions,
    metrics_of,
    panels,
    recorded,
    rules,
)


@pytest.fixture(params=DASHBOARDS, ids=lambda path: path.stem)
def path(request) -> Path:
    found: Path = request.param
    return found


def own_metrics() -> set[str]:
    """What the orchestrator has, by the names of its samples."""
    names = set()
    for metric in REGISTRY.collect():
        suffixes = {"histogram": ("_bucket", "_sum", "_count"), "counter": ("_total",)}.get(
            metric.type, ("",)
        )
        names |= {metric.name + suffix for suffix in suffixes}
    return names


def serving_metrics() -> set[str]:
    return {name + suffix for name in SERVING_NAMES for suffix in ("", "_bucket", "_sum", "_count")}


def test_what_is_shown_and_watched_exists():
    known = own_metrics() | serving_metrics() | recorded() | OF_THE_CLUSTER | {"up"}
    expressions = [expression for _, expression in dashboard_expressions()]
    expressions += [rule["expr"] for rule in rules()]
    for expression in expressions:
        assert metrics_of(expression), expression
        assert metrics_of(expression) <= known, metrics_of(expression) - known


def test_every_metric_of_the_orchestrator_is_shown_or_watched():
    used = set()
    for expression in [e for _, e in dashboard_expressions()] + [rule["expr"] for rule in rules()]:
        used |= {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in metrics_of(expression)}
    own = {metric.name for metric in REGISTRY.collect() if metric.name.startswith("wbc_")}
    assert own - used == set()


def test_tensorflow_serving_s_metrics_are_all_shown():
    text = "".join(path.read_text() for path in DASHBOARDS)
    for name in SERVING_NAMES:
        assert name in text, name


def test_what_dashboards_have_to_show_is_there():
    titles = {panel["title"] for path in DASHBOARDS for panel in panels(path)}
    assert {
        "Percentile by stage", "Requests by outcome", "Failures of the service", "Under way and waiting",
        "Rows of requests and of batches", "Model versions", "Review rate, 6 h", "Drift of the class mix",
        "Drift of rho", "Reports by writer",
    } <= titles  # fmt: skip


def test_panels_have_their_own_places_and_numbers(path):
    every = dashboard(path)["panels"]
    assert len({panel["id"] for panel in every}) == len(every)

    def cells(panel: dict) -> set[tuple[int, int]]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        return {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}

    for one, other in combinations(every, 2):
        assert not cells(one) & cells(other), (one["title"], other["title"])


def test_panels_explain_themselves_and_ask_the_chosen_prometheus(path):
    for panel in panels(path):
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        for target in (panel, *panel["targets"]):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    names = [panel["title"] for panel in panels(path)]
    assert len(set(names)) == len(names)


def test_variables_are_declared(path):
    content = dashboard(path)
    declared = {variable["name"] for variable in content["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(content))) - {"__rate_interval", "__all"}
    assert used <= declared


def test_dashboards_say_what_they_are_not_for(path):
    content = dashboard(path)
    assert "For research use only. Not for use in diagnostic procedures." in content["description"]
    assert content["uid"] == f"wbc-{path.stem}"


def test_no_two_dashboards_have_one_name():
    assert len({dashboard(path)["uid"] for path in DASHBOARDS}) == len(DASHBOARDS) >= 4
