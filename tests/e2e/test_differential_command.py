"""``wbc differential`` as a person uses it, with the committed model."""

import csv
import io
import json
import os
import subprocess
import sys
from importlib import resources

import cv2
import pytest
from typer.testing import CliRunner

from orchestrator.commands.cli import app
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.labels import CELL_LABELS
from orchestrator.model_contract import CLASS_NAMES


@pytest.fixture(scope="module", autouse=True)
def _model(project_root):
    if not any((project_root / "model_repository" / "wbc").glob("[0-9]*/saved_model.pb")):
        pytest.skip("no model: model_repository/wbc holds no version")


ENVIRONMENT = {"COLUMNS": "100", "WBC_DIFFERENTIAL__MIN_CELLS": "5"}


def wbc(*arguments, **environment):
    """The command, in this process."""
    given = ["differential", *map(str, arguments)]
    return CliRunner().invoke(app, given, env=ENVIRONMENT | environment)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, synthetic_cell):
    place = tmp_path_factory.mktemp("specimen")
    for number, name in enumerate(CLASS_NAMES, start=1):
        cv2.imwrite(str(place / f"{number}.png"), synthetic_cell(name, seed=1)[:, :, ::-1])
    (place / "6.png").write_bytes(b"no image")
    (place / "notes.txt").write_text("no image either, and left out by its name")
    return place


def test_json_is_the_whole_differential_with_the_files(folder):
    result = wbc(folder, "--specimen-id", "S-1", "--total-wbc", "6.2", "--tta", "none", "--json")

    assert result.exit_code == 1  # one file failed, and the others are counted
    document = json.loads(result.stdout)
    assert document["specimen_id"] == "S-1"
    assert document["progress"]["counted"] == 5
    assert document["progress"]["failed"] == 1
    assert [cell["file"].rsplit("/")[-1] for cell in document["cells"]] == [
        f"{number}.png" for number in range(1, 7)
    ]
    assert [one["label"] for one in document["counts"]] == list(CELL_LABELS)
    assert sum(one["absolute"] for one in document["counts"]) == pytest.approx(6.2)
    assert len(document["models"][0]["sha256"]) == 64
    assert document["disclaimer"] == DISCLAIMER


def test_a_table_shows_intervals_reviews_and_what_is_missing(project_root, folder, tmp_path):
    ranges = tmp_path / "ranges.toml"
    ranges.write_text('source = "Own study"\n[ranges]\nNeutrophil = [90, 100]\n')
    environment = ENVIRONMENT | {
        "WBC_DIFFERENTIAL__REFERENCE_RANGES": str(ranges),
        "WBC_PROFILES_DIR": str(strict_profiles(tmp_path)),
    }
    result = subprocess.run(
        [
            *(sys.executable, "-c", "from orchestrator.commands.cli import main; main()", "differential"),
            *(str(folder), "--specimen-id", "S-1", "--tta", "none"),
        ],
        cwd=project_root,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 1
    for expected in (
        *CELL_LABELS, "95 % CI", "Own study", "90-100", "cells to look at", "low_confidence",
        "no total white cell count", "could not be analysed", "blasts", "wbc 9", DISCLAIMER,
        "microscope is unknown to the service",
    ):  # fmt: skip
        assert expected.lower() in result.stdout.lower(), expected
    assert "device_unknown" not in result.stdout  # said once, in words
    assert "normal" not in result.stdout.lower()
    assert "Traceback" not in result.stderr


def strict_profiles(tmp_path):
    """A folder with the default profile under a threshold that no cell reaches: all are for review."""
    text = (resources.files("orchestrator.profiles") / "default.toml").read_text()
    place = tmp_path / "profiles"
    place.mkdir()
    (place / "default.toml").write_text(text.replace("review_threshold = 0.6", "review_threshold = 1.0"))
    return place


def test_csv_has_a_row_per_class(folder):
    result = wbc(folder, "--specimen-id", "S-1", "--tta", "none", "--csv")

    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["label"] for row in rows] == list(CELL_LABELS)
    assert sum(int(row["count"]) for row in rows) == 5
    assert {row["device_state"] for row in rows} == {"unknown"}
    assert {row["label"]: int(row["count"]) for row in rows}["Unidentified"] == 5


def test_a_known_microscope_is_chosen_by_its_profile(folder):
    result = wbc(folder, "--specimen-id", "S-1", "--tta", "none", "--profile", "painted", "--json")

    document = json.loads(result.stdout)
    assert document["device_state"] == "known"
    assert len(document["review_list"]) < document["progress"]["counted"] == 5
    assert "device_unknown" not in result.stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--specimen-id", "S-1", "--profile", "no-such"], {}, "no profile"),
        (["--specimen-id", "S-1"], {"WBC_DIFFERENTIAL__MIN_CELLS": "0"}, "WBC_DIFFERENTIAL__MIN_CELLS"),
        (["--specimen-id", "S-1"], {"WBC_DIFFERENTIAL__REFERENCE_RANGES": "/nowhere"}, "reference ranges"),
    ],
)
def test_what_a_person_can_mend_is_said(folder, arguments, environment, said):
    result = wbc(folder, *arguments, **environment)

    assert isinstance(result.exception, ConfigurationError)  # which `main` writes in one line
    assert said in str(result.exception)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--specimen-id", "S-1", "--json", "--csv"], "choose one"), ([], "specimen-id")],
)
def test_a_wrong_use_of_the_command_is_said(folder, arguments, said):
    result = wbc(folder, *arguments)

    assert result.exit_code == 2
    assert said in result.output
