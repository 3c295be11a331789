"""The table of ``wbc analyse`` at the width of an ordinary terminal."""

from pathlib import Path

import cv2
import pytest
from typer.testing import CliRunner, Result

from orchestrator.cli import app

LONG_NAME = "patient-smear-of-a-very-long-name_slide-0001_field-0042_cell-0007_repeated.png"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, synthetic_cell) -> Path:
    path = tmp_path_factory.mktemp("images")
    for name in (LONG_NAME, "a.png"):
        cv2.imwrite(str(path / name), synthetic_cell("Lymphocyte", seed=1)[:, :, ::-1])
    return path


def analysed(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(
        app,
        ["analyse", str(folder), *options],
        env={"COLUMNS": "80", "WBC_IMAGES__PROCESSES": "0"},
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
