"""Plots of an evaluation: what they count, and that they can be looked at."""

import cv2
import numpy as np
import pytest

from training.plots import BACKBONE_KEYS, confusion_counts, plot_backbones, plot_confusion, plot_reliability


def picture(path):
    image = cv2.imread(str(path))
    assert image is not None
    return image


def test_rows_are_the_truth_and_columns_the_answers():
    counts = confusion_counts([0, 0, 2, 4], [0, 3, 2, 2])

    assert counts.sum() == 4
    assert (counts[0, 0], counts[0, 3], counts[2, 2], counts[4, 2]) == (1, 1, 1, 1)


def test_a_confusion_matrix_is_drawn_with_an_absent_class(tmp_path):
    plot_confusion([1, 2, 3, 4], [1, 2, 3, 2], "some", tmp_path / "one.png")
    plot_confusion([1, 2, 3, 4], [1, 2, 3, 4], "some", tmp_path / "other.png")

    one, other = picture(tmp_path / "one.png"), picture(tmp_path / "other.png")
    assert one.shape[0] > 400
    assert one.shape != other.shape or (one != other).any()


def test_a_reliability_diagram_shows_how_sure_and_how_right(tmp_path):
    random = np.random.default_rng(0)
    probabilities = random.dirichlet([0.3] * 5, 60)
    right, wrong = probabilities.argmax(axis=1), probabilities.argmin(axis=1)

    plot_reliability(probabilities, right, "right", tmp_path / "right.png")
    plot_reliability(probabilities, wrong, "wrong", tmp_path / "wrong.png")
    plot_reliability(np.eye(5), range(5), "sure", tmp_path / "sure.png")  # a confidence of exactly 1

    blue = {}
    for name in ("right", "wrong", "sure"):
        image = picture(tmp_path / f"{name}.png").astype(int)
        blue[name] = int(((image[..., 0] - image[..., 2]) > 60).sum())  # the bars of the accuracy
    assert blue["right"] > 5 * blue["wrong"]
    assert blue["sure"] > blue["wrong"]


def row(name, **changes):
    figures = {
        "parameters": 7.8e6,
        "val_accuracy": 0.9,
        "macro_f1": 0.88,
        "ms_embedded": 12.0,
        "ms_keras": 80.0,
    }
    return {"model": name, **figures, **changes}


def test_backbones_are_compared_also_where_times_are_missing(tmp_path):
    plot_backbones([row("DenseNet121"), row("VGG16", ms_keras=None)], tmp_path / "some.png")
    plot_backbones([row("one", ms_keras=None, ms_embedded=None)], tmp_path / "none.png")

    assert picture(tmp_path / "some.png").shape[1] > 800
    assert (tmp_path / "none.png").is_file()


def test_a_comparison_without_a_figure_is_refused(tmp_path):
    incomplete = row("VGG16")
    del incomplete["macro_f1"]

    with pytest.raises(ValueError, match="a row lacks macro_f1"):
        plot_backbones([incomplete], tmp_path / "plot.png")
    with pytest.raises(ValueError, match="at least one backbone"):
        plot_backbones([], tmp_path / "plot.png")
    assert set(BACKBONE_KEYS) == set(row("VGG16"))
