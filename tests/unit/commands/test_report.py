"""``wbc report``: reports of stored results written again, and the check of every writer."""

import asyncio
import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.commands.cli import app
from orchestrator.commands.report import check_writers, draw_cases, set_digest
from orchestrator.domain import DISCLAIMER, Language
from orchestrator.errors import ConfigurationError
from orchestrator.report.evaluation import CHECKS, WriterScore, evaluate_writer, markdown_table
from orchestrator.report.failures import WriterFailed
from orchestrator.report.grounding import Fault
from orchestrator.report.rule_based_writer import RuleBasedWriter
from orchestrator.settings import Settings, WriterSettings, WritersSettings
from tests.fakes.language_models import (
    KEY,
    SERVED_MODEL,
    ReportProvider,
    answering,
    honest,
    report_provider,
)
from tests.fakes.mistaken_answers import MISTAKES
from tests.fakes.scripted_writer import ScriptedWriter
from tests.report_requests import VARIED
from tests.unit.commands.test_stored_results import RESULT
from tests.waiting import LONGEST_S

ABOUT = VARIED[:6]
"""With a heatmap that lies somewhere."""


@pytest.fixture(scope="module")
def listening() -> Iterator[ReportProvider]:
    with report_provider("openai") as provider:
        yield provider


@pytest.fixture
def provider(listening: ReportProvider) -> Iterator[ReportProvider]:
    listening.forget()
    yield listening
    listening.released.set()


def settings_of(provider: ReportProvider) -> Settings:
    one = WriterSettings(
        provider=provider.protocol, model="m", base_url=provider.base_url, api_key=SecretStr(KEY)
    )
    return Settings(writers=WritersSettings(order=(one,)))


def test_stored_results_get_new_reports_and_keep_the_rest(tmp_path: Path):
    file = tmp_path / "results.jsonl"
    failed = {"file": "b.png", "error": "The file is truncated."}
    file.write_text(json.dumps(RESULT) + "\n" + json.dumps(failed) + "\n")
    done = CliRunner().invoke(app, ["report", "--replay", str(file), "--language", "en"])
    assert done.exit_code == 0, done.output
    new, error = (json.loads(line) for line in done.stdout.splitlines())
    assert new["report"]["text"].startswith("The model classifies this cell as a neutrophil")
    assert new["focus"]["verdict"] == "sound"
    assert {**new, "report": 0, "focus": 0} == {**RESULT, "report": 0, "focus": 0, "disclaimer": DISCLAIMER}
    assert error == {**failed, "disclaimer": DISCLAIMER}


def test_results_may_come_from_a_pipe():
    done = CliRunner().invoke(app, ["report", "--replay", "-"], input=json.dumps(RESULT))
    assert json.loads(done.stdout)["report"]["language"] == "tr"


def test_a_language_model_of_the_settings_writes_them(monkeypatch, provider):
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


def test_rare_classes_have_their_part_of_the_cases(tmp_path: Path):
    for split in ("TestA", "TestB"):
        for name, images in (("Basophil", 2), ("Monocyte", 9), ("Neutrophil", 200)):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(images):
                (tmp_path / split / name / f"{number}.jpg").touch()
    folders = [path.parent.name for path in draw_cases(tmp_path, 20, seed=42)[:10]]
    assert {name: folders.count(name) for name in folders} == {"Basophil": 2, "Monocyte": 4, "Neutrophil": 4}


def test_two_tables_are_about_the_same_images_where_their_set_is_the_same():
    assert set_digest([b"a", b"b"]) == set_digest([b"a", b"b"])
    assert len({set_digest(images) for images in ([b"a", b"b"], [b"b", b"a"], [b"ab"], [b"a"])}) == 4


async def test_a_writer_s_failures_and_faults_are_counted():
    said = [WriterFailed("timeout"), "This is a normal cell and it is the class of the cell.", "Roses."]
    score = await evaluate_writer(ScriptedWriter("poet", *said), VARIED[:4], "en")
    assert (score.cases, score.answered, score.usable, score.models) == (4, 3, 0, ("m",))
    passed = dict(zip(CHECKS, score.passed, strict=True))
    assert passed["diagnosis"] == 2
    assert passed["length"] == 1
    assert passed["class"] == 0
    assert ("timeout", 1) in score.reasons
    table = markdown_table([score])
    assert table.splitlines()[2].startswith("| poet | m | en | 4 | 3 | 0 |")


async def test_an_answer_that_no_reader_would_get_in_time_is_none(provider):
    provider.behave = provider.drip
    (writer, _) = build_report_writers(settings_of(provider)).single
    async with asyncio.timeout(LONGEST_S):
        score = await evaluate_writer(writer, VARIED[:1], "en", limit_s=0.3)
    await writer.close()
    assert (score.answered, score.usable, score.reasons) == (0, 0, (("timeout", 1),))


def test_what_a_provider_calls_itself_does_not_break_the_table():
    score = WriterScore("a", "en", 1, 1, 1, (1,) * len(CHECKS), (), ("evil | model\n| x |",), 9, 1.0)
    lines = markdown_table([score]).splitlines()
    assert len(lines) == 3
    assert "| evil \\| model \\| x \\| |" in lines[2]


@pytest.mark.parametrize("language", ["en", "tr"])
@pytest.mark.parametrize("mistake", CHECKS)
async def test_each_check_finds_the_mistake_that_it_is_for(
    provider: ReportProvider, mistake: Fault, language: Language
):
    """Also though the guard has thrown the answer away: the table tells what a model is bad at."""
    provider.behave = MISTAKES[mistake]
    (writer, _) = build_report_writers(settings_of(provider)).single
    score = await evaluate_writer(writer, ABOUT, language)
    await writer.close()
    passed = dict(zip(CHECKS, score.passed, strict=True))
    assert (score.answered, score.usable, passed[mistake]) == (len(ABOUT), 0, 0)
    assert passed["length" if mistake != "length" else "diagnosis"] == len(ABOUT)


async def test_a_model_that_errs_now_and_then_is_told_from_one_that_does_not(provider):
    """A stand-in that answers honestly but for every fourth time, each time with the next mistake."""
    turns = chain.from_iterable((honest, honest, honest, mistake) for mistake in MISTAKES.values())
    provider.behave = lambda facts: next(turns)(facts)
    (writer, rules) = build_report_writers(settings_of(provider)).single
    score = await evaluate_writer(writer, ABOUT[:1] * 36, "en")
    await writer.close()
    assert (score.cases, score.answered, score.usable) == (36, 36, 27)
    assert all(27 <= passed < 36 for passed in score.passed)
    assert sum(count for _, count in score.reasons) == 9
    assert (await evaluate_writer(rules, ABOUT[:1] * 36, "en")).usable == 36


async def test_answers_that_cannot_be_read_or_contradict_the_facts_are_answers_and_not_usable(provider):
    turns = iter([answering(region="nowhere"), lambda _: "", lambda _: "{", provider.status(500), honest])
    provider.behave = lambda facts: next(turns)(facts)
    (writer, _) = build_report_writers(settings_of(provider)).single
    score = await evaluate_writer(writer, ABOUT[:1] * 5, "en")
    await writer.close()
    assert (score.answered, score.usable, set(score.passed)) == (4, 1, {2})
    assert {reason.partition(":")[0]: n for reason, n in score.reasons} == {
        "contradiction": 1, "empty": 1, "malformed": 1, "server_error": 1
    }  # fmt: skip
    assert any(reason.startswith("server_error: no: ") for reason, _ in score.reasons)  # its own words
    assert score.models == (SERVED_MODEL,)


async def test_rules_pass_every_check_in_both_languages():
    for language in ("en", "tr"):
        score = await evaluate_writer(RuleBasedWriter(), VARIED, language)
        assert score.usable == score.cases == len(VARIED)
        assert score.longest_words <= 80


async def test_rules_pass_every_check_on_the_evaluation_set(wbc_data: Path):
    images = [path.read_bytes() for path in draw_cases(wbc_data, 6, seed=42)]
    scores = await check_writers(images, Settings())
    assert [(score.writer, score.language, score.usable) for score in scores] == [
        ("rule-based", "en", 6),
        ("rule-based", "tr", 6),
    ]
