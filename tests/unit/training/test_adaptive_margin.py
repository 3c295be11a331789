"""The margin of adaptive test-time augmentation: how it is chosen, compared and written."""

import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from orchestrator.domain import DISCLAIMER, ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import load_profiles
from tests.painted_splits import paint_splits
from tests.predictions import predicted
from training.adaptive_margin import choose_margin, choose_margins, margin_table, write_margin
from training.cells import SeenCell, judge
from training.datasets import Sample
from training.evaluate import EvaluationSettings
from training.tta_comparison import compare_tta, markdown, terminal_table, tta_rows, write_csv

DEFAULT = load_profiles()["default"]
PROFILE = replace(
    DEFAULT,
    routing=replace(
        DEFAULT.routing, temperature=1.0, review_threshold=0.0, review_margin=0.05, max_energy=None
    ),
)
MODEL = ModelIdentity("wbc", 7, "a" * 64)


def cell(margin: float, *, differs: bool = False, class_index: int = 0) -> SeenCell:
    """The first view says class 0 with that margin; all together say the same, or class 1."""
    first = np.array([0.5 + margin / 2, 0.5 - margin / 2, 0, 0, 0], np.float32)
    others = first[[1, 0, 2, 3, 4]] if differs else first
    main = np.stack([first, *[others] * 7])
    prediction = predicted(main, np.full(8, 0.5, np.float32), np.zeros((8, 5), np.float32), model=MODEL)
    return SeenCell(Sample(Path("cell.png"), class_index), (), prediction, None)


def test_without_a_difference_the_margin_is_that_of_a_close_call():
    choice = choose_margin([cell(m) for m in (0.02, 0.3, 0.9)], PROFILE)
    assert choice.margin == pytest.approx(0.06)
    assert (choice.images, choice.differing, choice.largest) == (3, 0, 0.0)
    assert choice.stopped_early == pytest.approx(2 / 3)
    assert choice.views == pytest.approx(2 / 3 + 8 / 3)


def test_the_margin_extrapolates_the_tail_of_those_that_differ():
    seen = [cell(0.9) for _ in range(96)] + [cell(m, differs=True) for m in (0.05, 0.1, 0.1, 0.15)]
    choice = choose_margin(seen, PROFILE, tolerance=0.001)
    expected = 0.1 * math.log(0.04 / 0.001)
    assert expected < choice.margin <= expected + 0.01
    assert choice.differing == 4
    assert choice.margin > choose_margin(seen, PROFILE, tolerance=0.01).margin


def test_no_image_that_was_seen_to_differ_would_have_stopped_early():
    seen = [cell(0.9) for _ in range(999)] + [cell(0.62, differs=True)]
    choice = choose_margin(seen, PROFILE, tolerance=0.01)
    assert choice.margin == pytest.approx(0.63)
    judged = [judge(one, "adaptive", PROFILE.routing, choice.margin) for one in seen]
    assert [one.views for one in judged] == [1] * 999 + [8]


def test_the_calibration_of_the_profile_counts():
    seen = [cell(0.9) for _ in range(50)] + [cell(0.2, differs=True)]
    sharper = replace(PROFILE, routing=replace(PROFILE.routing, temperature=0.5))
    assert choose_margin(seen, sharper).margin > choose_margin(seen, PROFILE).margin


def test_nothing_to_choose_by_is_an_error():
    with pytest.raises(ValueError, match="at least one image"):
        choose_margin([], PROFILE)
    with pytest.raises(ValueError, match="tolerance"):
        choose_margin([cell(0.5)], PROFILE, tolerance=0)


def test_a_margin_is_written_in_place_and_read_back(tmp_path, project_root):
    path = tmp_path / "site.toml"
    original = (project_root / "orchestrator/profiles/motic-tecom.toml").read_text(encoding="utf-8")
    path.write_text(original, encoding="utf-8")
    choice = choose_margin([cell(0.9)], PROFILE)

    for margin in (0.4, 0.25):
        write_margin(path, replace(choice, margin=margin), "model version 7")
        assert load_profiles(tmp_path)["site"].adaptive_margin == margin

    def others(text):
        return [line for line in text.splitlines() if not line.startswith("adaptive_margin")]

    written = path.read_text(encoding="utf-8")
    assert others(written) == others(original)
    assert len(re.findall("^adaptive_margin", written, re.MULTILINE)) == 1
    assert "model version 7" in written
    assert margin_table([choice]).row_count == 1
    path.write_text("description = 'none'\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="tta"):
        write_margin(path, choice, "model version 7")


def test_the_table_counts_views_and_what_adaptive_loses():
    seen = [
        *(cell(0.9) for _ in range(6)),
        *(cell(0.9, class_index=1) for _ in range(5)),
        cell(0.3, differs=True, class_index=1),
    ]
    profile = replace(PROFILE, adaptive_margin=0.2)

    rows = {row.mode: row for row in tta_rows("TestA", seen, profile)}

    assert (rows["none"].views, rows["light"].views, rows["adaptive"].views) == (1, 8, 1)
    assert rows["light"].against_light == 0
    assert rows["adaptive"].against_light == pytest.approx(100 * (0 - 1 / 6) / 2)
    assert rows["adaptive"].differing == rows["none"].differing == 1
    careful = {row.mode: row for row in tta_rows("TestA", seen, replace(profile, adaptive_margin=0.5))}
    assert careful["adaptive"].against_light == 0
    assert careful["adaptive"].stopped_early == pytest.approx(11 / 12)
    assert careful["adaptive"].views == pytest.approx((11 + 8) / 12)


def test_the_held_out_images_are_of_the_further_devices_too(tmp_path):
    root = paint_splits(tmp_path, {"Train": 2, "phone": 2}, size=120)

    def sure(views):
        main = np.repeat(np.array([[0.96, 0.01, 0.01, 0.01, 0.01]], np.float32), len(views), axis=0)
        return predicted(main, np.full(len(main), 0.5, np.float32), np.log(main))

    (alone,) = choose_margins(sure, [PROFILE], root, val_fraction=0.5)
    (both,) = choose_margins(sure, [PROFILE], root, val_fraction=0.5, more=[root / "phone"])

    assert (alone.images, both.images) == (5, 10)


def test_the_comparison_of_a_data_set_is_written_and_shown(tmp_path, small_exported_model):
    root = paint_splits(tmp_path, {"TestA": 1})
    settings = EvaluationSettings(root, tmp_path, ("TestA",), small_exported_model.version_dir)

    rows = compare_tta(settings)

    assert [row.mode for row in rows] == ["none", "light", "adaptive"]
    assert terminal_table(rows).row_count == 3
    assert DISCLAIMER in markdown(rows, MODEL, "default")
    write_csv(tmp_path / "tta.csv", rows)
    assert len((tmp_path / "tta.csv").read_text(encoding="utf-8").splitlines()) == 4
    with pytest.raises(ConfigurationError, match="--tta"):
        compare_tta(replace(settings, tta="none"))
