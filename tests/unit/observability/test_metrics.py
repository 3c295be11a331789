import asyncio
from contextvars import copy_context
from typing import get_args

import pytest
from prometheus_client import REGISTRY, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from orchestrator.domain import MIN_FOCUS_RATIO
from orchestrator.edge.metric_series import begin_at_zero
from orchestrator.errors import kinds
from orchestrator.model_server.call_observer import Method, Outcome
from orchestrator.model_server.retry import RetryOutcome
from orchestrator.observability import metrics as telemetry
from orchestrator.observability.metrics import record_finding, report_written, request_ended
from orchestrator.observability.request_context import set_request_id
from orchestrator.observability.stages import stage
from orchestrator.report.wording import REASONS_BY_WEIGHT
from orchestrator.vision.tta import TtaMode


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_is_announced_at_zero_is_what_can_happen():
    assert set(telemetry.CALL_METHODS) == set(get_args(Method))
    assert set(telemetry.CALL_FAILURES) == set(get_args(Outcome)) - {"ok"}
    assert set(telemetry.RETRY_OUTCOMES) == set(get_args(RetryOutcome))


def test_every_outcome_and_finding_of_a_profile_has_a_series_before_the_first_request():
    begin_at_zero(["nowhere"], ["never"])
    for outcome in ("ok", "cancelled", *(kind.name for kind in kinds())):
        labels = {"endpoint": "never", "outcome": outcome}
        assert REGISTRY.get_sample_value("wbc_requests_total", labels) == 0
    for review in ("true", "false"):
        labels = {"class_name": "Monocyte", "profile": "nowhere", "review": review}
        assert REGISTRY.get_sample_value("wbc_findings_total", labels) == 0
    for reason in REASONS_BY_WEIGHT:
        labels = {"profile": "nowhere", "reason": reason}
        assert REGISTRY.get_sample_value("wbc_review_reasons_total", labels) == 0
    assert REGISTRY.get_sample_value("wbc_focus_ratio_count", {"profile": "nowhere"}) == 0
    for mode in get_args(TtaMode):
        assert REGISTRY.get_sample_value("wbc_analyses_views_count", {"tta": mode}) is not None


def test_a_finding_is_counted_with_its_reasons_confidence_and_focus():
    before = value("wbc_focus_ratio_sum", profile="site-a"), value("wbc_confidence_sum", profile="site-a")
    record_finding("site-a", "Monocyte", 0.75, reasons=["blurred", "blurred", "no_cell"], focus_ratio=0.5)
    record_finding("site-a", "Monocyte", 0.25, reasons=[], focus_ratio=None)
    assert value("wbc_findings_total", class_name="Monocyte", profile="site-a", review="true") == 1
    assert value("wbc_findings_total", class_name="Monocyte", profile="site-a", review="false") == 1
    assert value("wbc_review_reasons_total", reason="blurred", profile="site-a") == 1
    assert value("wbc_review_reasons_total", reason="no_cell", profile="site-a") == 1
    assert value("wbc_focus_ratio_sum", profile="site-a") == before[0] + 0.5
    assert value("wbc_confidence_sum", profile="site-a") == before[1] + 1.0


def test_only_answered_requests_have_a_duration():
    request_ended("e", "ok", 0.2)
    request_ended("e", "overloaded", 9.0)
    assert value("wbc_requests_total", endpoint="e", outcome="overloaded") == 1
    assert value("wbc_request_duration_seconds_count", endpoint="e") == 1
    assert value("wbc_request_duration_seconds_sum", endpoint="e") == 0.2


def test_reports_are_counted_by_how_they_end():
    def outcomes() -> list[float]:
        return [
            value("wbc_report_writes_total", writer="w", outcome=o) for o in ("ok", "failed", "cancelled")
        ]

    with report_written("w"):
        pass
    with pytest.raises(ZeroDivisionError), report_written("w"):
        raise ZeroDivisionError
    with pytest.raises(asyncio.CancelledError), report_written("w"):
        raise asyncio.CancelledError
    assert outcomes() == [1, 1, 1]
    assert value("wbc_report_write_duration_seconds_count", writer="w") == 3


def in_a_request() -> None:
    set_request_id("lab-exemplar")
    with stage("a-stage"):
        pass


def test_openmetrics_has_exemplars_and_no_further_series_and_plain_text_has_none():
    copy_context().run(in_a_request)
    of_the_stage = [
        line for line in generate_openmetrics(REGISTRY).decode().splitlines() if "a-stage" in line
    ]
    assert any('# {request_id="lab-exemplar"}' in line for line in of_the_stage)
    assert not any("_created" in line for line in generate_openmetrics(REGISTRY).decode().splitlines())
    assert "lab-exemplar" not in generate_latest(REGISTRY).decode()


def test_the_longest_name_of_a_request_fits_into_an_exemplar():
    def longest() -> None:
        set_request_id("x" * 64)
        with stage("a-stage"):
            pass

    copy_context().run(longest)
    assert "x" * 64 in generate_openmetrics(REGISTRY).decode()


def test_a_focus_bucket_ends_at_the_limit_that_dashboards_show():
    begin_at_zero(["nowhere"], [])
    labels = {"profile": "nowhere", "le": str(MIN_FOCUS_RATIO)}
    assert REGISTRY.get_sample_value("wbc_focus_ratio_bucket", labels) == 0
