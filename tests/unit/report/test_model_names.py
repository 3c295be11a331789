"""Names of models end; a default that does is found out long before."""

from datetime import UTC, date, datetime, timedelta

from orchestrator.report.model_names import GEMINI_DEFAULT, GITHUB_MODELS, end_of

AHEAD = timedelta(days=60)


def test_no_default_ends_within_sixty_days():
    """Where this fails, look up what lives, and change ``orchestrator/report/model_names.py``."""
    end = end_of(GEMINI_DEFAULT or "", None)
    assert end is None or end.day - datetime.now(UTC).date() > AHEAD, end


def test_an_end_is_told_with_its_day_and_what_to_do():
    end = end_of("gemini-2.5-flash", "generativelanguage.googleapis.com")
    assert end is not None
    assert end.told(date(2026, 11, 29)).startswith("gemini-2.5-flash ends on 2026-12-01; ")
    assert end.told(date(2026, 12, 1)).startswith("gemini-2.5-flash ended on 2026-12-01; ")


def test_a_server_that_ended_took_all_of_its_models_along():
    assert end_of("anything", "models.github.ai") is GITHUB_MODELS
    assert end_of("anything", "ollama.lab") is None
