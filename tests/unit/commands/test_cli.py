"""The table of ``wbc analyse`` at the width of an ordinary terminal."""

from importlib import resources
from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from orchestrator.commands.cli import app
from orchestrator.errors import ConfigurationError

LONG_NAME = "patient-smear-of-a-very-long-name_slide-0001_field-0042_cell-0007_repeated.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, synthetic_cell) -> Path:
    path = tmp_path_factory.mktemp("images")
    for name in (LONG_NAME, "a.png"):
        cv2.imwrite(str(path / name), synthetic_cell("Lymphocyte", seed=1)[:, :, ::-1])
    return path


def analysed(folder: Path, *options: str, columns: int = 80, command: str = "analyse") -> Result:
    return CliRunner().invoke(
        app,
        [command, str(folder), *options],
        env={"COLUMNS": str(columns), "WBC_IMAGES__PROCESSES": "0"},
    )


def cells(result: Result) -> list[list[str]]:
    lines = (line for line in result.stdout.splitlines() if line.startswith(("│", "┃")))
    return [[cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in lines]


def test_the_table_has_whole_names_in_80_columns_and_no_report(folder: Path):
    result = analysed(folder)

    assert result.exit_code == 0, result.output
    header, *body = cells(result)
    assert header == ["file", "class", "confidence", "review"]
    assert LONG_NAME in "".join(row[0] for row in body)
    assert "…" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 80
    assert all(len(row[1].split()) <= 1 for row in body)


def test_reports_are_printed_below_the_table_where_asked_for(folder: Path):
    without, with_report = analysed(folder), analysed(folder, "--report")

    assert with_report.exit_code == 0, with_report.output
    assert cells(with_report) == cells(without)
    below = with_report.stdout.split("┘", 1)[1] if "┘" in with_report.stdout else ""
    assert "a.png" in below
    assert len(below.split()) > len(without.stdout.split("┘", 1)[1].split()) + 20


@pytest.mark.parametrize("other", ["--json", "--csv"])
def test_reports_below_a_table_do_not_go_with_other_formats(folder: Path, other: str):
    assert analysed(folder, "--report", other).exit_code == 2


ODD_NAMES = {
    ":smiley:.png": ":smiley:.png",
    "[bold red]b.png": "[bold red]b.png",
    "c\x1b[2J.png": r"c\x1b[2J.png",
    "d\u202egnp.png": r"d\u202egnp.png",
    "e\n.png": r"e\n.png",
}


@pytest.mark.parametrize("good", [True, False])
@pytest.mark.parametrize("command", ["analyse", "differential"])
def test_names_of_files_are_shown_as_they_are_and_do_nothing_to_the_terminal(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, good: bool
):
    for name in ODD_NAMES:
        (tmp_path / name).write_bytes((folder / "a.png").read_bytes() if good else b"no image")
    profile = (resources.files("orchestrator.profiles") / "default.toml").read_text()
    (tmp_path / "strict.toml").write_text(profile.replace("threshold = 0.6", "threshold = 1.0"))
    monkeypatch.setenv("WBC_PROFILES_DIR", str(tmp_path))
    options = ["--profile", "strict"]  # for which each is to look at
    options += ["--specimen-id", "S-1"] if command == "differential" else []
    result = analysed(tmp_path, *options, command=command, columns=200)

    assert result.exit_code == (0 if good else 1), result.output
    for told in ODD_NAMES.values():
        assert told in result.output
    assert not set("\x1b\u202e") & set(result.output)


def test_the_file_is_told_in_a_narrow_terminal(folder: Path):
    header, *_ = cells(analysed(folder, columns=30))

    assert header[0] == "file"


def test_a_heatmap_folder_that_cannot_be_made_is_told(folder: Path, tmp_path: Path):
    (tmp_path / "file").touch()

    for place in ("file", "file/below"):
        result = analysed(folder, "--heatmap-dir", str(tmp_path / place))
        assert isinstance(result.exception, ConfigurationError)
        assert "--heatmap-dir" in str(result.exception)
