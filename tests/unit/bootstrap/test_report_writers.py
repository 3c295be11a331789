"""Which writers the settings make, and what that costs who wants none."""

import json
import subprocess
import sys

import pytest
from pydantic import ValidationError

from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.bootstrap.services import build_services
from orchestrator.errors import ConfigurationError
from orchestrator.report.model_names import GEMINI_DEFAULT
from orchestrator.settings import Settings, WriterSettings, WritersSettings, load_settings
from tests.fakes.model_server import FakeModelServer

SECRET = "a-very-secret-key"


def environment(monkeypatch: pytest.MonkeyPatch, **variables: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_without_keys_rules_write():
    writers = build_report_writers(Settings())
    assert writers.writer.name == "rule-based"
    assert [(one.name, one.sends_to) for one in writers.identities] == [("rule-based", None)]


async def test_the_reference_s_keys_make_writers_that_live_and_say_what_opens_none(monkeypatch):
    environment(monkeypatch, GITHUB_TOKEN=SECRET, GEMINI_API_KEY=SECRET)
    writers = build_report_writers(load_settings())
    assert writers.writer.name == f"gemini:{GEMINI_DEFAULT} > rule-based"
    assert [one.sends_to for one in writers.identities] == ["generativelanguage.googleapis.com", None]
    (note,) = writers.notes
    assert note.startswith("GitHub Models, which GITHUB_TOKEN was for, ended on 2026-07-30; name another")
    await writers.writer.close()


def test_a_start_tells_what_should_be_known_of_the_writers(monkeypatch, caplog, tmp_path):
    environment(monkeypatch, GITHUB_TOKEN=SECRET, WBC_MODEL_REPOSITORY=str(tmp_path))
    build_services(load_settings(), model_server=FakeModelServer())
    assert "GitHub Models, which GITHUB_TOKEN was for, ended on 2026-07-30" in caplog.text
    assert SECRET not in caplog.text


async def test_the_model_s_name_alone_can_be_changed_with_the_reference_s_key(monkeypatch):
    order = '[{"provider": "gemini", "model": "gemini-4-nano"}]'
    environment(monkeypatch, GEMINI_API_KEY=SECRET, WBC_WRITERS__ORDER=order)
    writers = build_report_writers(load_settings())
    assert writers.writer.name == "gemini:gemini-4-nano > rule-based"
    assert writers.notes == ()
    await writers.writer.close()


def test_a_gemini_without_any_key_is_a_configuration_error_that_says_what_to_set(monkeypatch):
    environment(monkeypatch, WBC_WRITERS__ORDER='[{"provider": "gemini", "model": "m"}]')
    with pytest.raises(
        ConfigurationError, match=r"WBC_WRITERS__ORDER: gemini:m has no key; set GEMINI_API_KEY"
    ):
        build_report_writers(load_settings())


async def test_whoever_chose_a_model_that_ends_is_told_so_with_what_to_name(monkeypatch):
    order = [
        {"provider": "openai", "model": "gpt-4o", "base_url": "https://models.github.ai/inference"},
        {"provider": "gemini", "model": "gemini-2.5-flash"},
    ]
    environment(monkeypatch, GEMINI_API_KEY=SECRET, WBC_WRITERS__ORDER=json.dumps(order))
    writers = build_report_writers(load_settings())
    retired, ends = writers.notes
    assert retired.startswith("GitHub Models")
    assert "on 2026-12-01" in ends
    assert f"name {GEMINI_DEFAULT}" in ends
    await writers.writer.close()


def test_an_empty_order_sends_nothing_whatever_keys_there_are(monkeypatch):
    environment(monkeypatch, GITHUB_TOKEN=SECRET, GEMINI_API_KEY=SECRET, WBC_WRITERS__ORDER="[]")
    assert build_report_writers(load_settings()).writer.name == "rule-based"


def test_an_empty_key_is_none(monkeypatch):
    environment(monkeypatch, GITHUB_TOKEN="", GEMINI_API_KEY="")
    assert build_report_writers(load_settings()).writer.name == "rule-based"


async def test_an_order_is_kept_and_its_key_may_lie_in_a_file(monkeypatch, tmp_path, caplog):
    key = tmp_path / "key"
    key.write_text(f"{SECRET}\n")
    order = [
        {
            "provider": "openai",
            "model": "llama3",
            "base_url": "http://ollama.lab:11434/v1",
            "name": "on-site",
        },
        {"provider": "gemini", "model": "gemini-3.5-flash", "api_key_file": str(key)},
    ]
    environment(monkeypatch, WBC_WRITERS__ORDER=json.dumps(order))
    caplog.set_level("INFO")
    writers = build_report_writers(load_settings())
    assert writers.writer.name == "on-site > gemini:gemini-3.5-flash > rule-based"
    assert "on-site at ollama.lab" in caplog.text
    assert SECRET not in caplog.text
    await writers.writer.close()


def test_keys_stand_in_no_text_of_the_settings(monkeypatch):
    order = [{"provider": "openai", "model": "m", "api_key": SECRET}]
    environment(monkeypatch, GITHUB_TOKEN=SECRET, WBC_WRITERS__ORDER=json.dumps(order))
    settings = load_settings()
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "order",
    [
        '[{"provider": "openai"}]',
        '[{"provider": "elsewhere", "model": "m"}]',
        '[{"provider": "openai", "model": "m", "base_url": "ftp://x"}]',
        '[{"provider": "openai", "model": "m", "base_url": "https://user:pass@x"}]',
        '[{"provider": "openai", "model": "m", "api_key": "a", "api_key_file": "b"}]',
        '[{"provider": "openai", "model": "m"}, {"provider": "openai", "model": "m"}]',
        '[{"provider": "openai", "model": "m", "name": "rule-based"}]',
        '[{"provider": "openai", "model": "m", "colour": "red", "api_key": "' + SECRET + '"}]',
    ],
)
def test_a_wrong_order_is_a_configuration_error_that_repeats_no_key(monkeypatch, order):
    environment(monkeypatch, WBC_WRITERS__ORDER=order)
    with pytest.raises(ConfigurationError, match="WBC_WRITERS") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_a_key_file_that_is_not_there_is_a_configuration_error(tmp_path):
    one = WriterSettings(provider="openai", model="m", api_key_file=tmp_path / "none")
    with pytest.raises(ConfigurationError, match="openai:m cannot be read"):
        build_report_writers(Settings(writers=WritersSettings(order=(one,))))


def test_settings_hold_their_limits():
    with pytest.raises(ValidationError):
        WritersSettings(deadline_s=0)


PROBE = """
import sys
for package in {blocked!r}:
    sys.modules[package] = None  # as if it were not installed
from orchestrator.errors import ConfigurationError
from orchestrator.report.model_names import GEMINI_DEFAULT
from orchestrator.settings import load_settings
from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.bootstrap.services import build_services
import orchestrator.bootstrap.services
try:
    print(build_report_writers(load_settings()).writer.name)
except ConfigurationError as error:
    print("refused:", error)
print(sorted(name for name in ("openai", "google.genai", "httpx2") if sys.modules.get(name)))
"""


def probed(blocked: tuple[str, ...] = (), **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(blocked=blocked)],
        env=variables,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_no_provider_s_package_is_loaded_where_none_is_wanted():
    assert probed() == ["rule-based", "[]"]


def test_a_configured_writer_without_its_package_is_refused_with_the_way_out():
    order = '[{"provider": "openai", "model": "m"}]'
    (refused, _) = probed(("openai",), WBC_WRITERS__ORDER=order)
    assert "openai is missing" in refused
    assert "extra `writers`" in refused


def test_a_key_for_something_else_does_not_keep_the_service_from_starting():
    assert probed(("openai",), GITHUB_TOKEN="x")[0] == "rule-based"
