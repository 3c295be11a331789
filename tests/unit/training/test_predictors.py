"""Asking a trained network of whatever backbone, beside an exported one."""

import json
from dataclasses import asdict

import keras
import numpy as np
import pytest
import typer

from orchestrator.domain import ViewBatch
from orchestrator.errors import ConfigurationError
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.stain import LabStatistics
from tests.fakes.tiny_training import tiny_classifier
from tests.painted_splits import paint_splits
from tests.random_images import varied_images
from training.cli import app
from training.compare_backbones import CANDIDATES
from training.evaluate import EvaluationSettings, adapted_profile, chosen_profile
from training.predictors import model_identity, open_predictor, saved_model_predictor


def rows(count=3):
    gain = np.array([1.0, 1.1, 0.9], np.float32)[:count]
    return ViewBatch(varied_images(count, 224, seed=5), gain)


def test_a_trained_network_says_what_its_export_says(small_exported_model, tmp_path):
    small_exported_model.model.save(tmp_path / "best.keras")
    exported = saved_model_predictor(small_exported_model.version_dir, explain=True)
    trained = open_predictor(tmp_path / "best.keras", "embedded", explain=True)
    head = np.random.default_rng(1).normal(0, 0.05, (3, 257, 5)).astype(np.float32)

    for views in (rows(), ViewBatch(rows().images, rows().gain, head=head)):
        answer, expected = trained(views), exported(views)
        for name in ("main_out", "aux_out", "logits", "not_wbc", "features"):
            np.testing.assert_allclose(getattr(answer, name), getattr(expected, name), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(answer.cams, expected.cams, atol=1e-4 * expected.cams.max())


def test_a_baseline_with_maps_of_another_width_answers_and_explains(tmp_path):
    """VGG16 has 512 of them, and its head neither attention nor MedSwish."""
    CANDIDATES["VGG16"].build("none").save(tmp_path / "best.keras")

    answer = open_predictor(tmp_path / "best.keras", "embedded", explain=True)(rows(1))

    assert answer.main_out.shape == (1, 5)
    assert answer.main_out.sum() == pytest.approx(1, abs=1e-5)
    assert answer.cams.shape == (1, 5, 7, 7)
    assert len(answer.model.sha256) == 64


def test_a_network_is_known_by_its_hash(tmp_path):
    for name in ("a", "b"):
        keras.utils.set_random_seed(ord(name))
        tiny_classifier().save(tmp_path / f"{name}.keras")

    first, second = (model_identity(tmp_path / f"{name}.keras") for name in ("a", "b"))

    assert first.sha256 != second.sha256
    assert first.version == 0


def test_what_is_no_classifier_is_refused(tmp_path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")

    with pytest.raises(ConfigurationError, match="another network"):
        open_predictor(tmp_path / "other.keras", "embedded")
    with pytest.raises(ConfigurationError, match="found none"):
        open_predictor(tmp_path / "missing.keras", "embedded")


def test_a_network_of_another_programs_layers_is_refused_with_the_reason(tmp_path):
    """As the reference system saves them: under names that our layers have, too."""

    class MedSwish(keras.layers.Layer):
        def call(self, inputs):
            return inputs * keras.ops.sigmoid(inputs)

    keras.Sequential([keras.Input((4,)), MedSwish()]).save(tmp_path / "theirs.keras")
    (tmp_path / "torn.keras").write_bytes(b"PK")

    with pytest.raises(ConfigurationError, match=r"another program's code \(MedSwish\).*--config reference"):
        open_predictor(tmp_path / "theirs.keras", "embedded")
    with pytest.raises(ConfigurationError, match=r"torn\.keras"):
        open_predictor(tmp_path / "torn.keras", "embedded")


@pytest.mark.parametrize("manifest", ["run.json", "best.run.json"])
def test_a_trained_network_is_shown_the_pixels_of_its_own_run(tmp_path, manifest):
    recipe = Recipe(None, LabStatistics((180.0, 140.0, 115.0), (40.0, 15.0, 10.0)), "v1")
    (tmp_path / manifest).write_text(json.dumps({"recipe": asdict(recipe)}))
    settings = EvaluationSettings(tmp_path, tmp_path, model_path=tmp_path / "best.keras")
    exported = EvaluationSettings(tmp_path, tmp_path, model_path=tmp_path)
    typed = EvaluationSettings(
        tmp_path,
        tmp_path,
        model_path=tmp_path / "best.keras",
        crop_scale=1.6,
        preprocessing="v5",
        color_normalization="none",
    )

    assert adapted_profile(settings).recipe == recipe
    assert adapted_profile(typed).recipe == Recipe(1.6, None, "v5")
    assert adapted_profile(exported).recipe == chosen_profile("default").recipe


def test_the_references_own_command_line_evaluates_a_keras_file(tmp_path):
    data = paint_splits(tmp_path / "data", {"Train": 1, "TestA": 1, "TestB": 1})
    model = tmp_path / "wbc_final_model_densenet.keras"
    tiny_classifier().save(model)

    typer.main.get_command(app).main(
        [
            *("evaluate", "--model-path", str(model), "--data-root", str(data)),
            *("--output-dir", str(tmp_path / "out"), "--testb-binary-mode", "main", "--tta", "light"),
            *("--color-normalization", "reinhard", "--preprocessing", "v1", "--crop-scale", "0"),
            *("--resamples", "10"),
        ],
        standalone_mode=False,
    )

    for split, count in (("TestA", 5), ("TestB", 5), ("combined", 10)):
        folder = tmp_path / "out" / split
        assert f"{split}: {count} images" in (folder / "classification_report.txt").read_text()
        assert (folder / "confusion_matrix.png").read_bytes().startswith(b"\x89PNG")
        assert len((folder / "predictions.csv").read_text().splitlines()) == count + 1
    evaluated = json.loads((tmp_path / "out" / "TestB" / "metrics.json").read_text())["evaluated"]
    assert evaluated["way"] == "in this process, runtime keras"
    assert evaluated["preprocessing"]["crop_scale"] is None
    assert evaluated["routing"]["TestB"]["mode"] == "main"
