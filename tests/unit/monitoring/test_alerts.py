"""Alert rules fire when they should, and only then; whoever is woken finds a runbook."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import INTERNAL, kinds
from tests.unit.monitoring.rule_files import RULES, RUNBOOKS, alerts, metrics_of, recorded, rules

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="no promtool (Debian: apt-get install prometheus)"
)
ALERT_TESTS = Path(__file__).parent / "alerts"


def promtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL
    return subprocess.run(
        [PROMTOOL, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


@needs_promtool
def test_prometheus_accepts_every_rule():
    answer = promtool("check", "rules", "--lint=all", "--lint-fatal", *RULES)
    assert answer.returncode == 0, answer.stdout + answer.stderr


@needs_promtool
@pytest.mark.parametrize("name", [path.name for path in RULES])
def test_alerts_fire_when_they_should_and_only_then(name):
    answer = promtool("test", "rules", ALERT_TESTS / name)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_is_seen_firing_in_a_test():
    tested = "".join(path.read_text() for path in ALERT_TESTS.glob("*.yaml"))
    for alert in alerts():
        assert alert["alert"] in tested, alert["alert"]


def test_every_alert_says_how_urgent_it_is_and_has_a_runbook():
    books = {path.stem: path.read_text() for path in RUNBOOKS}
    named = set()
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning", "info")
        assert alert["annotations"]["summary"]
        assert alert["annotations"]["description"]
        url = alert["annotations"]["runbook_url"]
        (book,) = re.findall(
            r"^\{\{ with \$externalLabels\.runbooks \}\}\{\{ \. \}\}/\{\{ end \}\}"
            r"k8s/components/monitoring/runbooks/([a-z-]+)\.md$",
            url,
        )
        assert books[book].startswith(f"# {alert['alert']}\n")
        named.add(book)
    assert named == set(books), "a runbook that no alert leads to"


@pytest.mark.parametrize("path", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_says_what_it_means_where_to_look_and_what_to_do(path):
    text = path.read_text()
    assert len(text.splitlines()) < 40
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    assert headings[1:] == ["Look", "Act"]
    for link in re.findall(r"\]\(([^)]+)\)", text):
        assert (path.parent / link).is_file(), link


def test_the_failures_that_spend_the_budget_are_those_of_the_service():
    # 501 says how the service is set up, and no request of one that keeps nothing fails for it.
    of_the_service = {kind.name for kind in kinds() if kind.status >= 500 and kind.status != 501} | {
        INTERNAL.name
    }
    found = {
        outcomes
        for rule in rules()
        for outcomes in re.findall(r'wbc_requests_total\{outcome=~"([^"]+)"\}', rule["expr"])
    }
    assert {frozenset(outcomes.split("|")) for outcomes in found} == {frozenset(of_the_service)}


def test_what_rules_build_on_is_recorded():
    for rule in rules():
        for name in metrics_of(rule["expr"]):
            if name.startswith("wbc:"):
                assert name in recorded(), name
