"""A real Prometheus scrapes running services and answers everything that dashboards, alerts and KEDA ask."""

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml  # type: ignore[import-untyped]

from tests.export_fixture import ExportedModel
from tests.running_service import PROJECT_ROOT, free_port, running_service
from tests.synthetic_cells import cell_file
from tests.unit.monitoring.rule_files import (
    MONITORING,
    OF_THE_CLUSTER,
    RULES,
    alerts,
    dashboard_expressions,
    metrics_of,
    rules,
)

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(
    PROMETHEUS is None, reason="no prometheus (Debian: apt-get install prometheus; its service may stay off)"
)

QUIET = {
    alert["alert"]: "there is no cluster, and no GPU, and fewer than 20 cells were asked about"
    for alert in alerts()
    if metrics_of(alert["expr"]) <= {*OF_THE_CLUSTER, "wbc_profile_fit"}
}
"""What has no data while all is well, and why."""

OF_LANGUAGE_MODELS = re.compile(r"wbc_report_(fallbacks|writer_breaker|tokens|cost|cache)_")
"""Metrics that a service which writes its reports by rules alone does not have."""

OF_PROFILES = re.compile(r"wbc_(profile_fit|head_(shadow_comparisons|canary_answers))")
"""Metrics of a microscope's profile: its fit from 20 cells on, and what heads in its shadow and its canary
say."""

VARIABLES = {"$__rate_interval": "1m", "$namespace": ".*", "$profile": ".*", "$quantile": "0.95"}
REQUESTS = 6
DATA_TIMEOUT_S = 25.0
ANSWERED = 'sum by (instance) (wbc_requests_total{outcome="ok"})'


class Prometheus:
    def __init__(self, url: str) -> None:
        self._url = url

    def get(self, path: str, **parameters: str) -> Any:
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self._url}/api/v1/{path}?{query}", timeout=20) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode()}")

    def values(self, expression: str) -> list[float]:
        """Of an instant query; those that are numbers."""
        data = self.get("query", query=expression)
        samples = [data] if data["resultType"] == "scalar" else data["result"]
        found = [float(sample["value"][1]) for sample in samples]
        return [value for value in found if value == value]


@contextmanager
def running_prometheus(folder: Path, targets: dict[str, list[str]]) -> Iterator[Prometheus]:
    """With the configuration of compose, but other addresses and shorter intervals."""
    config = yaml.safe_load((PROJECT_ROOT / "docker" / "prometheus.yml").read_text())
    config["global"] |= {
        "scrape_interval": "500ms",
        "scrape_timeout": "500ms",
        "evaluation_interval": "500ms",
    }
    for job in config["scrape_configs"]:
        # The label that Prometheus Operator adds.
        job["static_configs"] = [{"targets": targets.pop(job["job_name"]), "labels": {"namespace": "wbc"}}]
    assert not targets
    config["rule_files"] = []
    for path in RULES:
        content = yaml.safe_load(path.read_text())
        for group in content["groups"]:
            group.pop("interval", None)
        (folder / path.name).write_text(yaml.safe_dump(content))
        config["rule_files"].append(str(folder / path.name))
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    assert PROMETHEUS
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--enable-feature=exemplar-storage",
            ],
            stdout=log,
            stderr=log,
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/-/ready", process, folder / "log")
        yield Prometheus(f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_ready(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if process.poll() is not None:
                break
            time.sleep(0.1)
    pytest.fail(log.read_text())


@pytest.fixture(scope="module")
def prometheus(
    small_exported_model: ExportedModel, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """Two orchestrators, one embedded and one that asks a stand-in of TensorFlow Serving; both were asked."""
    from tests.fakes.tf_serving_stand_in import StandIn  # not before a test asks: it imports TensorFlow

    folder = tmp_path_factory.mktemp("prometheus")
    model_dir = folder / "model_repository" / "wbc"
    model_dir.mkdir(parents=True)
    for version in ("1", "2"):
        (model_dir / version).symlink_to(small_exported_model.version_dir)
    repository = {"WBC_MODEL_REPOSITORY": str(model_dir.parent), "WBC_EMBEDDED__THREADS": "1"}
    with ExitStack() as stack:
        stand_in = stack.enter_context(StandIn(model_dir, versions=(1, 2), rest_port=0, warm_up=True))
        everything = {
            "WBC_TF_SERVING__TARGET": stand_in.target,
            "WBC_TF_SERVING__VERSION": "1",
            "WBC_MODEL_VERSION": "1",
            "WBC_FAILOVER__ENABLED": "true",
            "WBC_CANARY__SHARE": "0.5",
            "WBC_CANARY__VERSION": "2",
            "WBC_SHADOW__VERSION": "2",
        }
        # Both at once: each takes seconds to start.
        with ThreadPoolExecutor(2) as pool:
            services = [
                stack.enter_context(service)
                for service in pool.map(started, [repository, repository | everything])
            ]
        started_prometheus = running_prometheus(
            folder,
            {
                "orchestrator": [service.url.removeprefix("http://") for service in services],
                "tf-serving": [f"127.0.0.1:{stand_in.rest_port}"],
            },
        )
        found = stack.enter_context(started_prometheus)
        wait_for(found, "count(wbc_draining) == 2 and count(:tensorflow:cc:saved_model:load_latency) > 0")
        # A series that begins with its first event, as TensorFlow Serving's do, has a rate from the next on.
        for times in (1, 2):
            for service in services:
                ask(service.url)
            wait_for(found, f"count({ANSWERED} >= {times * REQUESTS}) == 2")
            wait_for(found, f"sum(:tensorflow:serving:request_count) >= {times * REQUESTS}")
        yield found


def started(environment: dict[str, str]) -> Any:
    """A service that runs already, as a context that ends it."""
    stack = ExitStack()
    service = stack.enter_context(running_service(environment=environment))

    @contextmanager
    def running() -> Iterator[Any]:
        with stack:
            yield service

    return running()


def ask(url: str) -> None:
    cell = cell_file(size=96)
    with httpx2.Client(base_url=url, timeout=30) as client:
        for number in range(REQUESTS):
            headers = {"X-Request-ID": f"asked-{number}"}
            path = ("/predict", "/v1/analyses")[number % 2]
            assert client.post(path, files={"file": cell}, headers=headers).status_code == 200
        assert client.post("/v1/fields", files={"file": cell}, headers=headers).status_code == 200
        assert client.post("/predict", files={"file": b"no image"}).status_code == 415


def wait_for(prometheus: Prometheus, expression: str) -> None:
    ends_s = time.monotonic() + DATA_TIMEOUT_S
    while not prometheus.values(expression):
        if time.monotonic() > ends_s:
            pytest.fail(f"no data in {DATA_TIMEOUT_S:.0f} s: {expression}")
        time.sleep(0.2)


def filled_in(expression: str) -> str:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def always_answered(expression: str) -> str:
    """With comparisons that answer 0 or 1 instead of leaving out what is not so: an alert that does not fire
    has no data, which is not to be told from an alert that never can."""
    parts = re.split(r'(\{[^}]*\}|"[^"]*")', expression)
    parts[::2] = [re.sub(r"(==|!=|>=|<=|>|<)", r"\1 bool", part) for part in parts[::2]]
    return "".join(parts)


def without_data(prometheus: Prometheus, expressions: list[tuple[str, str]]) -> list[str]:
    """Which have none; those that do not parse fail the test."""
    ends_s = time.monotonic() + DATA_TIMEOUT_S
    while True:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda pair: prometheus.values(pair[1]), expressions))
        missing = [pair for pair, values in zip(expressions, answers, strict=True) if not values]
        # Rules build on rules, each an evaluation later.
        if not missing or time.monotonic() > ends_s or all(name in QUIET for name, _ in missing):
            return [name for name, _ in missing]
        expressions = missing
        time.sleep(0.5)


def test_every_expression_of_every_dashboard_returns_data(prometheus):
    expressions = [(where, filled_in(expression)) for where, expression in dashboard_expressions()]
    assert len(expressions) > 60
    always = [
        (where, expression)
        for where, expression in expressions
        if not (OF_LANGUAGE_MODELS.search(expression) or OF_PROFILES.search(expression))
    ]
    assert len(expressions) - len(always) == 9
    assert without_data(prometheus, always) == []


def test_every_alert_has_data_to_judge_by(prometheus):
    expressions = [(alert["alert"], always_answered(alert["expr"])) for alert in alerts()]
    assert without_data(prometheus, expressions) == list(QUIET)


def test_every_rule_is_evaluated_without_error_and_recorded(prometheus):
    groups = prometheus.get("rules")["groups"]
    evaluated = [rule for group in groups for rule in group["rules"]]
    assert len(evaluated) == len(rules())
    assert [rule for rule in evaluated if rule["health"] != "ok"] == []
    recorded = [(rule["record"], rule["record"]) for rule in rules() if "record" in rule]
    assert without_data(prometheus, recorded) == []


def test_a_service_that_works_fires_no_alert(prometheus):
    assert prometheus.values('ALERTS{alertstate="firing"}') == []


def test_what_replicas_follow_has_data(prometheus):
    queries = []
    for path in sorted((MONITORING.parent / "autoscaling").glob("*.yaml")):
        triggers = yaml.safe_load(path.read_text()).get("spec", {}).get("triggers", [])
        queries += [(path.name, trigger["metadata"]["query"]) for trigger in triggers]
    assert len(queries) >= 2
    assert without_data(prometheus, queries) == []


def test_exemplars_lead_from_a_bucket_to_a_request(prometheus):
    now = time.time()
    found = prometheus.get(
        "query_exemplars",
        query="wbc_stage_duration_seconds_bucket",
        start=str(now - 300),
        end=str(now + 1),
    )
    names = {exemplar["labels"].get("request_id", "") for series in found for exemplar in series["exemplars"]}
    assert any(name.startswith("asked-") for name in names)


def test_a_comparison_that_leaves_nothing_out_is_still_the_same_question():
    assert always_answered('a{b!="c"} > 1 and d == 0') == 'a{b!="c"} > bool 1 and d == bool 0'
