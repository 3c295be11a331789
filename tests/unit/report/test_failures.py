from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from orchestrator.report.failures import (
    FAILURE_REASONS,
    HOPELESS,
    MAX_RETRY_AFTER_S,
    PASSING,
    failure_of_status,
    retry_after_seconds,
)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (302, "refused"), (400, "refused"), (401, "unauthorised"), (403, "unauthorised"), (404, "not_found"),
        (408, "timeout"), (410, "gone"), (422, "refused"), (429, "rate_limited"), (500, "server_error"),
        (503, "server_error"), (504, "timeout"),
    ],
)  # fmt: skip
def test_each_status_has_its_reason(status, reason):
    assert failure_of_status(status).reason == reason


@pytest.mark.parametrize(
    ("status", "message", "reason"),
    [
        (429, "insufficient_quota", "quota"),
        (429, "check your plan and billing details", "quota"),
        (402, "", "quota"),
        (429, "slow down", "rate_limited"),
        (400, "the prompt triggered the content management policy", "declined"),
        (400, "API key not valid", "unauthorised"),
        (400, "the model `x` does not exist", "not_found"),
        (400, "unknown field", "refused"),
    ],
)
def test_what_shares_a_status_is_told_apart_by_the_server_s_words(status, message, reason):
    assert failure_of_status(status, body={"error": {"message": message}}).reason == reason


def test_a_limit_that_says_when_it_ends_is_none_of_the_quota_whatever_else_it_says():
    """Google speaks of billing in each."""
    failure = failure_of_status(429, "38", "check your plan and billing details")
    assert (failure.reason, failure.retry_after_s) == ("rate_limited", 38.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0), ("0.5", 0.5), (3, 3.0), ("-5", 0.0), ("1e9", MAX_RETRY_AFTER_S),
        ("inf", MAX_RETRY_AFTER_S),
        ("nan", None), ("soon", None), ("", None), (None, None), ("Wed, 99 Foo 2026", None),
    ],
)  # fmt: skip
def test_retry_after_is_read_whatever_it_says(value, seconds):
    assert retry_after_seconds(value) == seconds


def test_retry_after_may_be_a_date():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert retry_after_seconds(later) == pytest.approx(90, abs=3)


def test_what_passes_is_not_hopeless_and_all_are_known():
    assert not HOPELESS & PASSING
    assert set(FAILURE_REASONS) >= HOPELESS | PASSING
