"""The ``wbc`` command as a person uses it, with the committed model."""

import csv
import io
import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from orchestrator import __version__
from orchestrator.domain import DISCLAIMER
from orchestrator.model_contract import CLASS_NAMES
from tests.running_service import free_port


@pytest.fixture(scope="module")
def wbc(project_root):
    def run(*arguments, **environment):
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from orchestrator.commands.cli import main; main()",
                *map(str, arguments),
            ],
            cwd=project_root,
            env=os.environ | {"COLUMNS": "200"} | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture(scope="module")
def images(tmp_path_factory, synthetic_cell):
    folder = tmp_path_factory.mktemp("images")
    for name in ("Lymphocyte", "Neutrophil"):
        cv2.imwrite(str(folder / f"{name}.png"), synthetic_cell(name, seed=1)[:, :, ::-1])
    return folder


def test_help_teaches_the_commands(wbc):
    result = wbc("--help")

    assert result.returncode == 0
    for command in ("serve", "analyse", "samples", "check"):
        assert command in result.stdout
    assert wbc("--version").stdout.strip() == __version__


def test_a_table_shows_class_and_confidence(wbc, images):
    result = wbc("analyse", images / "Lymphocyte.png")

    assert result.returncode == 0, result.stderr
    assert "Lymphocyte.png" in result.stdout
    assert any(name in result.stdout for name in CLASS_NAMES)
    assert DISCLAIMER in result.stdout


def test_a_table_says_once_that_answers_on_an_unknown_microscope_are_suggestions(wbc, images):
    unknown, known = wbc("analyse", images), wbc("analyse", images, "--profile", "painted")

    said = "No profile of this microscope was chosen"
    assert unknown.stdout.count(said) == 1
    assert unknown.stdout.count("device_unknown") == 3  # in the row of each image, and with what to do
    assert said not in known.stdout
    assert "device_unknown" not in known.stdout


def test_json_lines_carry_the_whole_result_and_the_language(wbc, images):
    result = wbc("analyse", images, "--json", "--language", "tr")

    assert result.returncode == 0, result.stderr
    documents = [json.loads(line) for line in result.stdout.splitlines()]
    assert [document["file"].rsplit("/")[-1] for document in documents] == [
        "Lymphocyte.png",
        "Neutrophil.png",
    ]
    for document in documents:
        assert sum(document["probabilities"].values()) == pytest.approx(1)
        assert document["report"]["language"] == "tr"
        assert document["device_state"] == "unknown"
        assert "öneri" in document["report"]["text"]
        assert document["disclaimer"] == DISCLAIMER


def test_csv_has_a_row_per_image_with_all_probabilities(wbc, images):
    result = wbc("analyse", images, "--csv")

    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert len(rows) == 2
    for row in rows:
        assert sum(float(row[name]) for name in CLASS_NAMES) == pytest.approx(1, abs=1e-3)
        assert row["class"] in CLASS_NAMES
        assert (row["device_state"], row["error"], row["disclaimer"]) == ("unknown", "", DISCLAIMER)


def test_heatmaps_have_the_size_of_their_images_and_do_not_overwrite_each_other(wbc, images, tmp_path):
    twin = tmp_path / "other" / "Lymphocyte.png"
    twin.parent.mkdir()
    twin.write_bytes((images / "Neutrophil.png").read_bytes())

    result = wbc("analyse", images / "Lymphocyte.png", twin, "--heatmap-dir", tmp_path / "maps")

    assert result.returncode == 0, result.stderr
    maps = sorted((tmp_path / "maps").iterdir())
    assert len(maps) == 2
    for path in maps:
        assert cv2.imread(str(path)).shape == (360, 360, 3)


def test_a_bad_file_fails_alone_and_the_exit_code_is_1(wbc, images, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"not an image")

    result = wbc("analyse", bad, tmp_path / "missing.png", images / "Neutrophil.png", "--csv")

    assert result.returncode == 1
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [bool(row["error"]) for row in rows] == [True, True, False]
    assert "failed" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["analyse", ".", "--profile", "no-such"], {}, "no profile"),
        (["analyse", "."], {"WBC_MODEL_REPOSITORY": "/nonexistent"}, "error"),
        (["analyse", "."], {"WBC_HTTP__PORT": "many"}, "WBC_HTTP__PORT"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(wbc, images, arguments, environment, said):
    arguments = [str(images) if argument == "." else argument for argument in arguments]

    result = wbc(*arguments, COLUMNS="40", **environment)

    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert said in line


def test_check_says_what_is_good(wbc):
    result = wbc("check", WBC_HTTP__PORT=str(free_port()))

    assert result.returncode == 0, result.stdout + result.stderr
    assert "version 9" in result.stdout
    assert "default" in result.stdout


def test_check_fails_where_there_is_no_model(wbc, tmp_path):
    result = wbc("check", WBC_HTTP__PORT=str(free_port()), WBC_MODEL_REPOSITORY=str(tmp_path))

    assert result.returncode == 1
    assert "wrong" in result.stdout


def test_the_service_process_never_imports_a_training_framework(project_root, images):
    code = (
        "import sys, orchestrator.commands.cli as cli\n"
        f"sys.argv = ['wbc', 'analyse', {str(images / 'Lymphocyte.png')!r}, '--csv']\n"
        "try:\n    cli.main()\nexcept SystemExit:\n    pass\n"
        "found = {'tensorflow', 'keras', 'training', 'torch', 'jax'} & set(sys.modules)\n"
        "sys.exit(f'imported {found}' if found else 0)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project_root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert result.returncode == 0, result.stderr
    assert np.any([name in result.stdout for name in CLASS_NAMES])
