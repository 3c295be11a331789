"""Names of models end; a default that does is found out long before."""

from datetime import UTC, date, datetime, timedelta

import pytest

from orchestrator.report.model_names import GEMINI_DEFAULT, GITHUB_MODELS, end_of

AHEAD = timedelta(days=60)


def test_no_default_has_ended_and_one_that_will_is_told_sixty_days_ahead():
    """An expected failure is told at the end of every run, and stops nobody's work: look up what lives, and
    change ``orchestrator/report/model_names.py``. From its last day on it fails."""
    end = end_of(GEMINI_DEFAULT or "", None)
    if end is None:
        return
    today = datetime.now(UTC).date()
    assert today < end.day, end.told(today)
    if end.day - today <= AHEAD:
        pytest.xfail(end.told(today))


def test_an_end_is_told_with_its_day_and_what_to_do():
    end = end_of("gemini-2.5-flash", "generativelanguage.googleapis.com")
    assert end is not None
    assert end.told(date(2026, 11, 29)).startswith("gemini-2.5-flash ends on 2026-12-01; ")
    assert end.told(date(2026, 12, 1)).startswith("gemini-2.5-flash ended on 2026-12-01; ")


def test_a_server_that_ended_took_all_of_its_models_along():
    assert end_of("anything", "models.github.ai") is GITHUB_MODELS
    assert end_of("anything", "ollama.lab") is None
