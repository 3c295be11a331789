"""From no data at all to an evaluated model in a repository, by the documents' commands, on painted cells."""

import json

import pytest
from typer.testing import CliRunner

from training.cli import app

pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """A folder in which a newcomer painted a data set, trained for an epoch and exported."""
    root = tmp_path_factory.mktemp("newcomer")
    run(
        "synthesize", "--output", root / "data", "--train-per-class", 4, "--test-per-class", 1, "--workers", 2
    )
    run(
        *("train", "--data-root", root / "data", "--run-dir", root / "run"),
        *("--painted-root", root / "data", "--backbone", "Compact", "--backbone-weights", "none"),
        *("--phase2-epochs", 1, "--phase2-learning-rate", 1e-3, "--img-size", 64, "--batch-size", 8),
        *("--preprocessing", "v5", "--attention-loss-weight", 0.5, "--ema-momentum", 0.5),
        *("--xai-sample-count", 4),
    )
    run(
        *("export", "--data-root", root / "data", "--run-dir", root / "run"),
        *("--repository", root / "repository", "--version", 7),
        *("--negatives-per-kind", 1),
    )
    return root


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    return result.output


def test_training_leaves_a_manifest_that_counts_the_painted_images(workshop):
    manifest = json.loads((workshop / "run" / "run.json").read_text())

    assert manifest["parts"]["painted"] == 40
    assert manifest["parts"]["training"] + manifest["parts"]["validation"] == 40


def test_the_card_tells_how_many_images_without_a_white_cell_were_marked(workshop):
    card = (workshop / "repository" / "wbc" / "7" / "MODEL_CARD.md").read_text()

    assert "Painted images without a white cell" in card
    assert "Photographs without a white cell" in card
    assert "painted platelets" in card


def test_the_exported_model_is_evaluated_on_all_splits(workshop):
    output = workshop / "evaluation"

    run(
        *("evaluate", "--data-root", workshop / "data", "--output-dir", output),
        *("--model-path", workshop / "repository" / "wbc" / "7", "--resamples", 10),
    )

    for split, images in (("TestA", 10), ("TestB", 5), ("combined", 15)):
        assert len((output / split / "predictions.csv").read_text().splitlines()) == 1 + images
        assert (output / split / "confusion_matrix.png").stat().st_size > 1000


def test_masks_are_measured_against_the_painted_ones(workshop):
    run(
        *("masks", "--data-root", workshop / "data", "--output", workshop / "masks.csv", "--painted", 1),
        *("--empty", 2, "--model-path", workshop / "repository" / "wbc" / "7"),
    )

    scores = (workshop / "masks.csv").read_text()
    assert all(method in scores for method in ("reference", "outlined"))
