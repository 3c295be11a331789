"""The plot of a run's history."""

import cv2
import numpy as np
import pytest

from training.history_plot import plot_history


def rows(phases, **columns):
    """Rows of a falling loss in the given phases, as the CSV gives them: text."""
    return [
        {
            **{"phase": phase, "epoch": str(number), "learning_rate": "0.001", "xai_focus": ""},
            **{"main_out_loss": str(2 / number), "val_loss": str(3 / number)},
            **{"main_out_accuracy": "0.5", "val_accuracy": "0.4", "val_balanced_accuracy": "0.3"},
            **columns,
        }
        for number, phase in enumerate(phases, start=1)
    ]


def drawn(path, *arguments, **keywords):
    plot_history(*arguments, path, **keywords)
    return cv2.imread(str(path)).astype(int)


def test_phases_are_told_apart(tmp_path):
    one = drawn(tmp_path / "one.png", rows(["phase1"] * 4))
    two = drawn(tmp_path / "two.png", rows(["phase1"] * 2 + ["phase2"] * 2))

    right_half = np.s_[:, one.shape[1] // 2 + 40 :]
    assert (two[right_half] < one[right_half]).mean() > 0.5, "the second phase is shaded"


def test_the_limit_of_the_focus_ratio_is_drawn_in_its_panel(tmp_path):
    without = drawn(tmp_path / "without.png", rows(["phase1"] * 3, xai_focus="0.6"))
    limited = drawn(tmp_path / "with.png", rows(["phase1"] * 3, xai_focus="0.6"), focus_threshold=0.55)

    def red_rows(bgr):
        return np.flatnonzero(((bgr[..., 2] > 200) & (bgr[..., :2].max(axis=2) < 80)).any(axis=1))

    assert not red_rows(without).size
    shares = red_rows(limited) / limited.shape[0]
    assert shares.size
    assert ((shares > 0.5) & (shares < 0.8)).all(), "the fourth panel of five"


def test_an_empty_history_cannot_be_drawn(tmp_path):
    with pytest.raises(ValueError, match="at least one epoch"):
        plot_history([], tmp_path / "plot.png")
