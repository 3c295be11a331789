"""``wbc report``: reports of stored results written again, and the check of every writer."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli import app
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.report.evaluation import CHECKS, evaluate_writer, markdown_table
from orchestrator.report.failures import WriterFailed
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.report_command import check_writers, draw_cases
from orchestrator.settings import Settings
from tests.fakes.report_provider import report_provider
from tests.fakes.scripted_writer import ScriptedWriter
from tests.report_requests import VARIED
from tests.unit.test_stored_results import RESULT


def test_stored_results_get_new_reports_and_keep_the_rest(tmp_path: Path):
    file = tmp_path / "results.jsonl"
    failed = {"file": "b.png", "error": "The file is truncated."}
    file.write_text(json.dumps(RESULT) + "\n" + json.dumps(failed) + "\n")
    done = CliRunner().invoke(app, ["report", "--replay", str(file), "--language", "en"])
    assert done.exit_code == 0, done.output
    new, error = (json.loads(line) for line in done.stdout.splitlines())
    assert new["report"]["text"].startswith("The model classifies this cell as Neutrophil")
    assert new["focus"]["verdict"] == "sound"
    assert {**new, "report": 0, "focus": 0} == {**RESULT, "report": 0, "focus": 0, "disclaimer": DISCLAIMER}
    assert error == {**failed, "disclaimer": DISCLAIMER}


def test_results_may_come_from_a_pipe():
    done = CliRunner().invoke(app, ["report", "--replay", "-"], input=json.dumps(RESULT))
    assert json.loads(done.stdout)["report"]["language"] == "tr"


def test_a_language_model_of_the_settings_writes_them(monkeypatch):
    with report_provider("openai") as provider:
        order = [{"provider": "openai", "model": "m", "name": "on-site", "base_url": provider.base_url}]
        monkeypatch.setenv("WBC_WRITERS__ORDER", json.dumps(order))
        done = CliRunner().invoke(app, ["report", "--replay", "-"], input=json.dumps(RESULT))
    assert json.loads(done.stdout)["report"]["writer"] == "on-site", done.output


@pytest.mark.parametrize(
    "arguments", [[], ["--check", "--replay", "-"], ["--replay", "-", "--language", "de"]]
)
def test_wrong_choices_are_told(arguments):
    assert CliRunner().invoke(app, ["report", *arguments]).exit_code == 2


def test_the_same_cases_are_drawn_again_half_of_each_split(tmp_path: Path):
    for split in ("TestA", "TestB"):
        for number in range(30):
            path = tmp_path / split / "Neutrophil" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
    drawn = draw_cases(tmp_path, 11, seed=42)
    assert drawn == draw_cases(tmp_path, 11, seed=42)
    assert drawn != draw_cases(tmp_path, 11, seed=43)
    assert [sum(split in path.parts for path in drawn) for split in ("TestA", "TestB")] == [6, 5]
    with pytest.raises(ConfigurationError, match="--data-root"):
        draw_cases(tmp_path / "TestA", 11, seed=42)


async def test_a_writer_s_failures_and_faults_are_counted():
    said = [WriterFailed("timeout"), "This is a normal cell and it is the class of the cell.", "Roses."]
    score = await evaluate_writer(ScriptedWriter("poet", *said), VARIED[:4], "en")
    assert (score.cases, score.written, score.good) == (4, 3, 0)
    passed = dict(zip(CHECKS, score.passed, strict=True))
    assert passed["diagnosis"] == 2
    assert passed["length"] == 1
    assert passed["class"] == 0
    table = markdown_table([score])
    assert table.splitlines()[2].startswith("| poet | en | 4 | 3 | 0 |")


async def test_rules_pass_every_check_in_both_languages():
    for language in ("en", "tr"):
        score = await evaluate_writer(RuleBasedWriter(), VARIED, language)
        assert score.good == score.cases == len(VARIED)
        assert score.longest_words <= 80


async def test_rules_pass_every_check_on_the_evaluation_set(wbc_data: Path):
    scores = await check_writers(draw_cases(wbc_data, 6, seed=42), Settings())
    assert [(score.writer, score.language, score.good) for score in scores] == [
        ("rule-based", "en", 6),
        ("rule-based", "tr", 6),
    ]
