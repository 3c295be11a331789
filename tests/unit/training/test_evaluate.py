"""Scoring a saved model over labelled images, and publishing a run."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.routing import calibrate, estimate_prior
from orchestrator.vision.quality import QualityLimits
from orchestrator.vision.stain import fit_reinhard_reference
from tests.painted_splits import paint_splits
from tests.predictions import predicted
from training.cell_scores import full_scores
from training.cells import parts
from training.datasets import data_fingerprint, read_split
from training.evaluate import (
    EvaluationSettings,
    adapted_profile,
    by_device,
    chosen_profile,
    chosen_samples,
    evaluate_cells,
    evaluate_splits,
    judge_splits,
    reinhard_reference,
    score_cells,
    scores_table,
    training_shares,
)
from training.evaluation_files import report_text, write_predictions
from training.metrics import score
from training.predictors import open_predictor
from training.publish import publish


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return paint_splits(tmp_path_factory.mktemp("cells"), {"Train": 3, "TestA": 1, "TestB": 1})


class OneClassPredictor:
    """Answers the same class to everything, and remembers the batches it was given."""

    def __init__(self, class_index):
        self.class_index = class_index
        self.batches = []

    def __call__(self, views):
        self.batches.append(views)
        main = np.full((len(views), 5), 0.02, np.float32)
        main[:, self.class_index] = 0.92
        aux = np.full(len(views), 0.5, np.float32)
        return predicted(main, aux, np.log(main))


def test_a_further_device_is_judged_as_a_split_of_its_name(data_root, tmp_path):
    settings = EvaluationSettings(
        data_root, tmp_path, splits=("TestB",), more_devices=(data_root / "TestA",), limit=3
    )

    chosen = chosen_samples(settings)

    assert {split: len(samples) for split, samples in chosen.items()} == {"TestB": 3, "TestA": 3}
    assert all(sample.path.is_relative_to(data_root / split) for split in chosen for sample in chosen[split])


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


def test_several_images_share_a_pass_and_keep_their_answers(data_root):
    class Brightness:
        """Says of each row how bright it is, so that no two images get the same answer."""

        def __init__(self):
            self.rows = []

        def __call__(self, views):
            self.rows.append(len(views))
            bright = views.images.mean(axis=(1, 2, 3)) / 255
            main = np.stack([bright / 4] * 4 + [1 - bright], axis=1).astype(np.float32)
            ones = np.ones(len(views), np.float32)
            return predicted(main, ones / 2, np.log(main))

    samples, profile = read_split(data_root, "TestA"), chosen_profile("default")
    alone, together = Brightness(), Brightness()

    one_by_one = evaluate_cells(alone, samples, profile)
    batched = evaluate_cells(together, samples, profile, batch_size=2)

    assert alone.rows == [8] * 5
    assert together.rows == [16, 16, 8]
    assert batched == one_by_one
    assert len({cell.averaged.probabilities for cell in batched}) == 5


def test_classes_with_hardly_an_image_are_left_out_of_one_row(data_root):
    cells = evaluate_cells(
        OneClassPredictor(0), read_split(data_root, "Train"), chosen_profile("default", "none")
    )
    many = [cell for cell in cells if cell.sample.class_index < 3] * 2 + cells[-3:]

    names = {name: len(part) for name, part in parts("Some", many)}

    assert names == {"Some": 21, "Some without its 3 Neutrophil": 18}
    assert [name for name, _ in parts("All", cells)] == ["All"]  # where every class is rare, none is


def test_full_scores_agree_with_the_plain_ones_and_add_what_is_not_measured_as_none(data_root):
    cells = evaluate_cells(
        OneClassPredictor(2), read_split(data_root, "Train"), chosen_profile("painted", "none")
    )

    scores = full_scores(cells, 2000)

    plain = score([cell.sample.class_index for cell in cells], [2] * len(cells))
    assert (scores.balanced_accuracy, scores.macro_f1, scores.accuracy) == (
        plain.balanced_accuracy,
        plain.macro_f1,
        plain.accuracy,
    )
    assert scores.ece.value == pytest.approx(0.92 - 0.2, abs=1e-6)
    assert scores.nll.value == pytest.approx(-(0.8 * np.log(0.02) + 0.2 * np.log(0.92)), abs=1e-6)
    assert scores.focus_ratio is None
    assert scores.focus_masks == {}


def test_every_split_and_all_together_get_their_files(data_root, small_exported_model, tmp_path):
    settings = EvaluationSettings(
        data_root, tmp_path, model_path=small_exported_model.version_dir, tta="none", focus=True, resamples=50
    )

    scores = evaluate_splits(settings)

    assert {name: row.n for name, row in scores.items()} == {"TestA": 5, "TestB": 5, "combined": 10}
    for folder in ("TestA", "TestB", "combined"):
        written = {path.name for path in (tmp_path / folder).iterdir()}
        assert written == {
            "classification_report.txt",
            "confusion_matrix.png",
            "metrics.json",
            "predictions.csv",
            "reliability.png",
        }
        document = json.loads((tmp_path / folder / "metrics.json").read_text())
        assert document["notice"] == DISCLAIMER
        assert document["scores"][folder]["accuracy"]["value"] == scores[folder].accuracy.value
        assert 0 <= document["scores"][folder]["focus_ratio"]["value"] <= 1
        assert document["scores"][folder]["focus_masks"] == {"own": scores[folder].n}
        assert len(document["evaluated"]["model"]["sha256"]) == 64


def test_images_are_judged_by_what_is_usual_on_the_profiles_device(data_root, small_exported_model, tmp_path):
    profile = replace(chosen_profile("default"), quality=QualityLimits(min_background=1.0))
    settings = EvaluationSettings(data_root, tmp_path, model_path=small_exported_model.version_dir, limit=2)
    predict = open_predictor(settings.model_path, "embedded")

    cells = evaluate_cells(predict, chosen_samples(settings)["TestA"], profile)

    assert len(cells) == 2
    for cell in cells:
        assert "underexposed" in {reason.code for reason in cell.finding.review_reasons}


def test_both_runtimes_say_the_same(data_root, small_exported_model, tmp_path):
    settings = EvaluationSettings(
        data_root, tmp_path, splits=("TestA",), model_path=small_exported_model.version_dir, limit=3
    )

    embedded, tensorflow = (
        judge_splits(replace(settings, runtime=runtime)).cells["TestA"]
        for runtime in ("embedded", "tensorflow")
    )

    assert len(embedded) == 3
    for one, other in zip(embedded, tensorflow, strict=True):
        assert one.sample == other.sample
        assert one.averaged.probabilities == pytest.approx(other.averaged.probabilities, abs=1e-3)
        assert one.averaged.aux_neutrophil == pytest.approx(other.averaged.aux_neutrophil, abs=1e-3)
        assert one.averaged.energy == pytest.approx(other.averaged.energy, abs=1e-2)


@pytest.mark.parametrize("mode", ["main", "aux", "prior"])
def test_the_binary_mode_decides_on_testb_alone(data_root, small_exported_model, tmp_path, mode):
    plain = EvaluationSettings(data_root, tmp_path, model_path=small_exported_model.version_dir, tta="none")

    judged = judge_splits(replace(plain, testb_binary_mode=mode))

    assert {cell.finding.decided_by for cell in judged.cells["TestA"]} == {"none"}
    assert {cell.finding.decided_by for cell in judged.cells["TestB"]} == {mode}
    if mode == "prior":
        answers = np.array([cell.averaged.probabilities for cell in judged.cells["TestB"]])
        answers = calibrate(answers, chosen_profile("default").routing.temperature)
        expected = (estimate_prior(answers, [0.2] * 5) * 5 + 1) / 10
        assert judged.routings["TestB"].prior == pytest.approx(expected, abs=1e-4)
    else:
        assert {cell.finding.class_name for cell in judged.cells["TestB"]} <= {"Lymphocyte", "Neutrophil"}


def test_a_limit_draws_from_all_classes_and_the_same_again(data_root, tmp_path):
    settings = EvaluationSettings(data_root, tmp_path, splits=("Train",), limit=8)

    drawn = chosen_samples(settings)["Train"]

    assert len(drawn) == len({sample.path for sample in drawn}) == 8
    assert len({sample.class_index for sample in drawn}) >= 3
    assert drawn == chosen_samples(settings)["Train"]
    assert drawn == sorted(drawn, key=lambda sample: (sample.class_index, sample.path))


def test_the_settings_change_the_profiles_recipe(data_root, tmp_path):
    plain = chosen_profile("default").recipe
    settings = EvaluationSettings(
        data_root,
        tmp_path,
        color_normalization="reinhard",
        preprocessing="v3",
        normalization_reference_samples=4,
    )

    recipe = adapted_profile(settings).recipe

    assert (recipe.mef_version, recipe.crop_scale) == ("v3", plain.crop_scale)
    assert recipe.reinhard == reinhard_reference(settings, plain.crop_scale)
    everything = EvaluationSettings(data_root, tmp_path)
    whole = fit_reinhard_reference(sample.load() for sample in read_split(data_root, "Train"))
    assert reinhard_reference(everything, None).mean == pytest.approx(whole.mean, abs=1.0)
    assert adapted_profile(everything) == chosen_profile("default")
    assert (
        adapted_profile(EvaluationSettings(data_root, tmp_path, color_normalization="none")).recipe.reinhard
        is None
    )


def test_training_shares_are_those_of_the_reference_split_and_equal_without_it(data_root, tmp_path):
    assert training_shares(EvaluationSettings(data_root, tmp_path)) == (0.2,) * 5
    uneven = paint_splits(tmp_path / "uneven", {"Train": 1})
    extra = uneven / "Train" / "Monocyte" / "copy.png"
    extra.write_bytes((uneven / "Train" / "Monocyte" / "Monocyte_0.png").read_bytes())
    shares = training_shares(EvaluationSettings(uneven, tmp_path))
    assert shares == pytest.approx((1 / 6, 1 / 6, 1 / 6, 2 / 6, 1 / 6))
    absent = EvaluationSettings(data_root, tmp_path, normalization_reference_split="TestC")
    assert training_shares(absent) == (0.2,) * 5


def test_the_report_averages_over_the_classes_present_and_names_the_absent(data_root):
    cells = evaluate_cells(
        OneClassPredictor(0), read_split(data_root, "TestA"), chosen_profile("default", "none")
    )

    text = report_text("TestA", [cell for cell in cells if cell.sample.class_index >= 2])

    assert re.search(r"macro avg +0\.000 +0\.000 +0\.000 +3", text)
    assert "Not present: Basophil; answered 3 times." in text
    assert "Not present: Eosinophil; answered 0 times." in text
    assert "0 of 3 right" in text
    assert text.endswith(DISCLAIMER + "\n")


def test_a_missing_model_is_said(data_root, tmp_path):
    with pytest.raises(ConfigurationError, match="expected a SavedModel"):
        evaluate_splits(EvaluationSettings(data_root, tmp_path, model_path=tmp_path))


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
        "backbone": "DenseNet121",
        "backbone_weights": "none",
        "data_root": "somewhere",
        "run_dir": "elsewhere",
        "painted_share": 0.4,
        "preprocessing": "v1",
        "crop_scale": 0.0,
    }
    manifest = {
        "config": config,
        "phases": [
            {"name": "progressive", "epochs": 2, "image_size": 112, "train_backbone": True},
            {"name": "phase2", "epochs": 1, "image_size": 224, "train_backbone": True},
        ],
        "data_sha256": data_fingerprint(read_split(data_root, "Train")),
        "parts": {"training": 2, "validation": 1, "painted": 3},
        "versions": {"keras": "3"},
    }
    (folder / "run.json").write_text(json.dumps(manifest))
    (folder / "history.csv").write_text("phase,epoch\nprogressive,1\nphase2,1\n")  # cut off in the first
    return folder


def test_publishing_measures_what_it_wrote_and_says_so_in_the_card(run_dir, data_root, tmp_path, capsys):
    manifest = "path,device,slide,x0,y0,x1,y1\nTestA/Monocyte/Monocyte_0.png,painted,,80,80,160,160\n"
    (data_root / "manifest.csv").write_text(manifest)
    try:
        version_dir = publish(run_dir, data_root, tmp_path / "repository", 3, negatives_per_kind=1)
    finally:
        (data_root / "manifest.csv").unlink()

    card = (version_dir / "MODEL_CARD.md").read_text()
    assert version_dir.name == "3"
    said = " ".join("".join(capsys.readouterr()).split())
    assert "other pixels: trained on crop scale and MEF (None, 'v1'), while the profile default" in said
    for row in ("validation part of Train", "TestA", "TestB", "TestA, without TTA"):
        assert f"| {row} | 5 |" in card
    assert (
        "10 images of Train, mixed with 3 painted images (`wbc-train synthesize`; 40% of each batch)" in card
    )
    assert "(1 of 2 epochs at 112 px, then 1 epochs at 224 px). 5 held-out images" in card
    assert "Temperature" in card
    assert "expected calibration error" in card
    assert "for `max_energy` of the profiles" in card
    assert "with the 10% of most doubt sent to review, accuracy of the rest" in card
    assert re.search(r"painted field without a white cell: [01] of 1 \(", card)
    assert re.search(r"Painted images without a white cell, .*: \d of 6 \(", card)
    assert re.search(r"photograph of something else: [01] of 1 \(", card)
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
