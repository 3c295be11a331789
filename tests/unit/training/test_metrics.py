"""Figures of merit, their intervals, and calibration."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score

from training.calibrate import expected_calibration_error, fit_temperature, negative_log_likelihood
from training.metrics import accuracy, balanced_accuracy, bootstrap_interval, macro_f1


def test_always_answering_the_frequent_class_has_the_balanced_accuracy_of_chance():
    truth = [4] * 90 + [2] * 10
    predicted = [4] * 100

    assert accuracy(truth, predicted) == pytest.approx(0.9)
    assert balanced_accuracy(truth, predicted) == pytest.approx(0.5)
    assert macro_f1(truth, predicted) == pytest.approx((2 * 0.9 / 1.9) / 2)


def test_figures_are_those_of_scikit_learn():
    random = np.random.default_rng(5)
    truth = random.integers(0, 5, 300)
    predicted = np.where(random.random(300) < 0.7, truth, random.integers(0, 5, 300))

    assert accuracy(truth, predicted) == pytest.approx(accuracy_score(truth, predicted))
    assert balanced_accuracy(truth, predicted) == pytest.approx(balanced_accuracy_score(truth, predicted))
    assert macro_f1(truth, predicted) == pytest.approx(f1_score(truth, predicted, average="macro"))


def test_a_class_absent_from_the_truth_counts_neither_way():
    truth, predicted = [0, 0, 1, 1], [0, 0, 1, 3]

    assert balanced_accuracy(truth, predicted) == pytest.approx(0.75)
    assert macro_f1(truth, predicted) == pytest.approx((1 + 2 / 3) / 2)


def test_the_interval_holds_the_figure_and_narrows_with_more_images():
    random = np.random.default_rng(0)

    def interval(n):
        truth = np.arange(n) % 5
        predicted = np.where(random.random(n) < 0.8, truth, (truth + 1) % 5)
        return bootstrap_interval(balanced_accuracy, truth, predicted, resamples=300)

    few, many = interval(50), interval(2000)
    assert few.low < few.value < few.high
    assert many.high - many.low < 0.5 * (few.high - few.low)


def test_the_bootstrap_is_reproducible():
    truth, predicted = np.arange(40) % 5, (np.arange(40) // 2) % 5

    assert bootstrap_interval(accuracy, truth, predicted, 50) == bootstrap_interval(
        accuracy, truth, predicted, 50
    )


def overconfident(n=4000):
    """Says 0.95 and is right 70 % of the time."""
    random = np.random.default_rng(1)
    truth = random.integers(0, 5, n)
    said = np.where(random.random(n) < 0.7, truth, (truth + 1) % 5)
    probabilities = np.full((n, 5), 0.05 / 4)
    probabilities[np.arange(n), said] = 0.95
    return probabilities, truth


def test_the_temperature_of_an_overconfident_model_is_over_1_and_helps():
    from orchestrator.routing import calibrate

    probabilities, truth = overconfident()

    temperature = fit_temperature(probabilities, truth)

    calibrated = calibrate(probabilities, temperature)
    assert temperature > 1.5
    assert negative_log_likelihood(calibrated, truth) < negative_log_likelihood(probabilities, truth)
    assert expected_calibration_error(calibrated, truth) < 0.02
    assert expected_calibration_error(probabilities, truth) == pytest.approx(0.25, abs=0.03)
