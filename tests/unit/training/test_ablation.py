"""Both tables of an ablation: which rows, what each switches on, and what it presumes."""

import csv
from dataclasses import replace

import pytest

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.stain import UNCALIBRATED_MACENKO, LabStatistics
from tests.painted_splits import paint_splits
from training.ablation import (
    ADAPTATION,
    PREPROCESSING,
    adaptation_variants,
    preprocessing_variants,
    run_ablation,
)
from training.ablation_tables import markdown, terminal_tables, write_csv
from training.cell_scores import full_scores
from training.evaluate import EvaluationSettings, chosen_profile, judge_splits
from training.predictors import model_identity

LAB = LabStatistics((180.0, 140.0, 115.0), (40.0, 15.0, 10.0))
DEFAULT = chosen_profile("default")
PROFILE = replace(DEFAULT, recipe=Recipe(mef_version="v1"))
"""The default profile as the reference filters, whichever filter the served model was trained with."""

WHOLE = Recipe(None, LAB, "v1")
CROPPED = Recipe(1.4, replace(LAB, mean=(170.0, 150.0, 110.0)), "v1")


@pytest.fixture(scope="module")
def settings(tmp_path_factory, small_exported_model):
    root = paint_splits(tmp_path_factory.mktemp("cells"), {"Train": 3, "TestA": 1, "TestB": 1})
    return EvaluationSettings(root, root / "out", model_path=small_exported_model.version_dir, resamples=50)


@pytest.fixture(scope="module")
def rows(settings):
    return run_ablation(settings)


def variants(profile=None):
    return {row.name: row for row in adaptation_variants(profile or PROFILE, WHOLE, CROPPED, 0.8)}


def test_each_row_of_the_adaptation_table_adds_one_step():
    table = variants()

    changes = []
    for before, after in (
        ("none", "reference: + routing aux"),
        ("none", "reference: + routing main (instead of aux)"),
        ("reference: + routing main (instead of aux)", "reference: + Reinhard"),
        ("reference: + Reinhard", "reference: + TTA"),
        ("none", "ours: none + cell-centred crop"),
        ("ours: none + cell-centred crop", "ours: + TTA"),
        ("ours: + TTA", "ours: + temperature"),
        ("ours: + temperature", "ours: + prior"),
        ("ours: + temperature", "ours: + Reinhard (without the prior)"),
    ):
        old, new = table[before].settings(), table[after].settings()
        changes.append([key for key in old if old[key] != new[key]])
    assert changes == [
        ["routing"], ["routing"], ["reinhard"], ["tta"], ["crop"], ["tta"], ["temperature"], ["routing"],
        ["reinhard"],
    ]  # fmt: skip
    assert table["reference: + Reinhard"].recipe.reinhard == LAB
    assert table["ours: + Reinhard (without the prior)"].recipe.reinhard == CROPPED.reinhard


def test_the_references_rows_are_on_its_own_filter_whatever_is_served(rows):
    filters = {
        row.variant.recipe.mef_version
        for row in rows
        if row.variant.name == "none" or row.variant.name.startswith("reference:")
    }

    assert filters == {"v1"}
    assert DEFAULT.recipe.mef_version != "v1"


def test_rows_that_know_the_split_say_so_and_no_others():
    table = variants()

    knowing = {name for name, row in table.items() if "only lymphocytes and neutrophils" in row.presumes}
    assert knowing == {name for name, row in table.items() if row.policy.mode in ("main", "aux")}
    assert "one specimen" in table["ours: + prior"].presumes
    assert table["none"].presumes == "nothing"


def test_another_filter_of_the_profile_is_a_step_of_its_own():
    profile = replace(PROFILE, recipe=replace(PROFILE.recipe, mef_version="v5"))

    table = variants(profile)

    before, after = table["ours: none + cell-centred crop"], table["ours: + MEF v5 (instead of v1)"]
    assert (before.recipe.mef_version, after.recipe.mef_version) == ("v1", "v5")
    assert table["ours: + TTA"].recipe == after.recipe
    assert table["profile default as it is"].recipe == profile.recipe


def test_the_preprocessing_table_changes_the_filter_alone():
    table = preprocessing_variants(PROFILE)

    assert [row.recipe.mef_version for row in table] == ["v1", "v2", "v3", "v4", "v4", "v5"]
    assert {row.recipe.crop_scale for row in table} == {PROFILE.recipe.crop_scale}
    assert {row.policy for row in table} == {PROFILE.routing}
    uncalibrated, calibrated = (row for row in table if row.recipe.mef_version == "v4")
    assert uncalibrated.recipe.macenko == UNCALIBRATED_MACENKO != calibrated.recipe.macenko
    assert (uncalibrated.settings()["mef"], calibrated.settings()["mef"]) == (
        "v4, Macenko as for H&E",
        "v4, Macenko calibrated",
    )


def test_one_run_gives_both_tables_on_every_split(rows):
    assert {(row.variant.table, row.split) for row in rows} == {
        (table, split) for table in (ADAPTATION, PREPROCESSING) for split in ("TestA", "TestB")
    }
    assert all(row.scores.n == 5 for row in rows)


def test_a_row_of_the_reference_changes_testb_alone(rows):
    def scores(name, split):
        return next(row.scores for row in rows if (row.variant.name, row.split) == (name, split))

    assert scores("none", "TestA") == scores("reference: + routing aux", "TestA")
    assert scores("none", "TestB") != scores("reference: + routing aux", "TestB")
    # A temperature changes how sure the model is, and never what it answers.
    before, after = scores("ours: + TTA", "TestB"), scores("ours: + temperature", "TestB")
    assert before.accuracy == after.accuracy
    assert before.nll != after.nll


def test_the_profiles_row_is_what_evaluation_measures(rows, settings):
    measured = full_scores(judge_splits(settings).cells["TestB"], settings.resamples)

    (row,) = (r for r in rows if r.variant.name == "profile default as it is" and r.split == "TestB")
    for figure in ("balanced_accuracy", "macro_f1", "accuracy", "ece", "nll", "review_share"):
        assert getattr(row.scores, figure) == getattr(measured, figure)


def test_the_tables_are_written(rows, settings, tmp_path):
    write_csv(tmp_path / "ablation.csv", rows)
    text = markdown(rows, model_identity(settings.model_path))

    with (tmp_path / "ablation.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert len(written) == len(rows)
    for line, row in zip(written, rows, strict=True):
        assert float(line["balanced_accuracy"]) == pytest.approx(row.scores.balanced_accuracy.value, abs=1e-6)
        assert line["presumes"] == row.variant.presumes
    assert DISCLAIMER in text
    assert text.count("\n## ") == 4
    table_lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table_lines) == len(rows) + 2 * 4
    assert {line.count(" | ") for line in table_lines if "---" not in line} == {11}
    steps = len(adaptation_variants(DEFAULT, WHOLE, CROPPED, 0.8))
    assert [table.row_count for table in terminal_tables(rows)] == [steps, steps, 6, 6]


@pytest.mark.parametrize("change", [{"tta": "none"}, {"testb_binary_mode": "main"}, {"focus": True}])
def test_what_the_tables_switch_themselves_cannot_be_set(settings, change):
    with pytest.raises(ConfigurationError, match="--ablation switches these by itself: leave out --"):
        run_ablation(replace(settings, **change))
