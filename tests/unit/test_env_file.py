"""The file of variables: read as the environment is, which wins; and by nobody else."""

from pathlib import Path

import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.settings import load_settings

SECRET = "a-very-secret-key"


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """In the working directory, where the reference system looks for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WBC_ENV_FILE")
    path = tmp_path / ".env"
    path.touch(0o600)
    return path


def test_keys_and_settings_are_read_from_it(file):
    file.write_text(
        f"GITHUB_TOKEN='{SECRET}'\nexport GEMINI_API_KEY={SECRET}\n"
        "WBC_HTTP__PORT=9001 # a comment\nWBC_WRITERS__ORDER=[]\nOPENAI_ORG=whatever\n"
    )
    settings = load_settings()
    assert settings.github_token is not None
    assert settings.gemini_api_key is not None
    assert settings.gemini_api_key.get_secret_value() == SECRET
    assert settings.http.port == 9001
    assert settings.writers.order == ()
    assert SECRET not in f"{settings!r}"


def test_the_environment_wins_key_by_key(file, monkeypatch):
    file.write_text("WBC_HTTP__PORT=9001\nWBC_HTTP__HOST=::1\n")
    monkeypatch.setenv("WBC_HTTP__PORT", "9002")
    assert (load_settings().http.port, load_settings().http.host) == (9002, "::1")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_it_is_refused_where_others_can_read_or_write_it_and_not_repeated(file, mode):
    file.write_text(f"GEMINI_API_KEY={SECRET}\n")
    file.chmod(mode)
    with pytest.raises(ConfigurationError, match="chmod 600") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_a_file_of_somebody_else_s_variables_is_none_of_ours(file):
    file.write_text("DJANGO_SECRET=x\n")
    file.chmod(0o644)
    assert load_settings().gemini_api_key is None


def test_another_file_can_be_named_and_none(file, monkeypatch, tmp_path):
    file.write_text("WBC_HTTP__PORT=9001\n")
    monkeypatch.setenv("WBC_ENV_FILE", "")
    assert load_settings().http.port == 8000
    monkeypatch.setenv("WBC_ENV_FILE", str(tmp_path / "other"))
    with pytest.raises(ConfigurationError, match="WBC_ENV_FILE"):
        load_settings()


def test_a_wrong_value_in_it_is_named_and_not_repeated(file):
    file.write_text(f"WBC_HTTP__PORT={SECRET}\n")
    with pytest.raises(ConfigurationError, match="WBC_HTTP__PORT") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_a_file_that_is_no_text_is_a_configuration_error(file):
    file.write_bytes(b"WBC_HTTP__PORT=\xff\xfe\n")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        load_settings()
