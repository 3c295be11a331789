"""Scoring a saved model over labelled images, and publishing a run."""

import csv
import json

import cv2
import numpy as np
import pytest

from orchestrator.domain import ModelIdentity, Prediction
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from training.datasets import data_fingerprint, read_split
from training.evaluate import (
    by_device,
    chosen_profile,
    evaluate_cells,
    evaluate_splits,
    score_cells,
    scores_table,
    write_predictions,
)
from training.publish import publish


@pytest.fixture(scope="module")
def data_root(tmp_path_factory, synthetic_cell):
    root = tmp_path_factory.mktemp("cells")
    for split, seeds in (("Train", 3), ("TestA", 1), ("TestB", 1)):
        for name in CLASS_NAMES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for seed in range(seeds):
                rgb = synthetic_cell(name, seed=len(split) * 10 + seed, size=200)
                cv2.imwrite(str(folder / f"{name}_{seed}.png"), rgb[:, :, ::-1])
    return root


class OneClassPredictor:
    """Answers the same class to everything, and remembers the batches it was given."""

    def __init__(self, class_index):
        self.class_index = class_index
        self.batches = []

    def __call__(self, views):
        self.batches.append(views)
        main = np.full((len(views), 5), 0.02, np.float32)
        main[:, self.class_index] = 0.92
        return Prediction(main, np.full(len(views), 0.5, np.float32), None, ModelIdentity("wbc", 1, None))


def test_every_image_passes_the_profiles_pipeline(data_root):
    predict = OneClassPredictor(4)

    cells = evaluate_cells(predict, read_split(data_root, "TestA"), chosen_profile("default"))

    assert len(cells) == 5
    assert all(batch.images.shape == (8, 224, 224, 3) for batch in predict.batches)
    assert all(cell.finding.class_name == "Neutrophil" for cell in cells)
    scores = score_cells(cells)
    assert scores.balanced_accuracy.value == pytest.approx(0.2)
    assert scores.n == 5


def test_the_profiles_views_can_be_replaced(data_root):
    predict = OneClassPredictor(0)

    evaluate_cells(predict, read_split(data_root, "TestA")[:2], chosen_profile("default", "none"))

    assert [len(batch) for batch in predict.batches] == [1, 1]
    with pytest.raises(ConfigurationError, match="no profile 'nonsense'"):
        chosen_profile("nonsense")


def test_predictions_are_written_a_row_an_image(data_root, tmp_path):
    cells = evaluate_cells(
        OneClassPredictor(2), read_split(data_root, "TestB"), chosen_profile("default", "none")
    )

    write_predictions(tmp_path / "predictions.csv", cells)

    with (tmp_path / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["true_class"] for row in rows] == list(CLASS_NAMES)
    assert {row["class"] for row in rows} == {"Lymphocyte"}
    assert all(sum(float(row[name]) for name in CLASS_NAMES) == pytest.approx(1, abs=1e-4) for row in rows)


def test_scores_are_split_by_device_where_there_are_several(data_root):
    (data_root / "manifest.csv").write_text(
        "path,device,slide\n" + "".join(f"TestA/{n}/{n}_0.png,{n[0]},\n" for n in CLASS_NAMES[:2])
    )
    try:
        cells = evaluate_cells(
            OneClassPredictor(0), read_split(data_root, "TestA"), chosen_profile("default", "none")
        )
    finally:
        (data_root / "manifest.csv").unlink()

    parts = dict(by_device("TestA", cells))

    assert {name: len(part) for name, part in parts.items()} == {
        "TestA": 5,
        "TestA / B": 1,
        "TestA / E": 1,
        "TestA / unknown": 3,
    }
    table = scores_table({name: score_cells(part) for name, part in parts.items()}, "title")
    assert table.row_count == 4


def test_a_saved_model_is_evaluated_from_its_files(data_root, small_exported_model, tmp_path):
    scores = evaluate_splits(
        small_exported_model.version_dir, data_root, ["TestA"], "default", tmp_path, tta_mode="none", limit=3
    )

    assert scores["TestA"].n == 3
    written = json.loads((tmp_path / "TestA" / "metrics.json").read_text())
    assert written["TestA"]["accuracy"]["value"] == scores["TestA"].accuracy.value
    assert (tmp_path / "TestA" / "predictions.csv").is_file()


def test_a_missing_model_is_said(data_root, tmp_path):
    with pytest.raises(ConfigurationError, match="expected a SavedModel"):
        evaluate_splits(tmp_path, data_root, ["TestA"], "default", tmp_path)


@pytest.fixture
def run_dir(data_root, small_exported_model, tmp_path):
    """A run that left the model of ``small_exported_model`` as its best."""
    folder = tmp_path / "run"
    folder.mkdir()
    small_exported_model.model.save(folder / "best.keras")
    config = {
        "train_split": "Train",
        "devices": [],
        "val_fraction": 0.34,
        "seed": 1,
        "progressive_epochs": 2,
        "progressive_img_size": 112,
        "phase2_epochs": 1,
        "img_size": 224,
        "backbone": "DenseNet121",
        "backbone_weights": "none",
        "data_root": "somewhere",
        "run_dir": "elsewhere",
    }
    manifest = {
        "config": config,
        "data_sha256": data_fingerprint(read_split(data_root, "Train")),
        "versions": {"keras": "3"},
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def test_publishing_measures_what_it_wrote_and_says_so_in_the_card(run_dir, data_root, tmp_path):
    version_dir = publish(run_dir, data_root, tmp_path / "repository", 3)

    card = (version_dir / "MODEL_CARD.md").read_text()
    assert version_dir.name == "3"
    for row in ("validation part of Train", "TestA", "TestB", "TestA, without TTA"):
        assert f"| {row} | 5 |" in card
    assert "10 images of Train (2 epochs at 112 px, then 1 epochs at 224 px); 5 images" in card
    assert "Temperature" in card
    assert "expected calibration error" in card
    for path in ("somewhere", "elsewhere", str(tmp_path)):
        assert path not in card


def test_a_run_on_other_data_is_not_published(run_dir, data_root, tmp_path):
    manifest = json.loads((run_dir / "run.json").read_text())
    (run_dir / "run.json").write_text(json.dumps(manifest | {"data_sha256": "0" * 64}))

    with pytest.raises(ConfigurationError, match="not the data"):
        publish(run_dir, data_root, tmp_path / "repository", 1)
    assert not (tmp_path / "repository").exists()


def test_a_folder_without_a_run_is_not_published(data_root, tmp_path):
    with pytest.raises(ConfigurationError, match="train first"):
        publish(tmp_path, data_root, tmp_path / "repository", 1)
