"""Figures of merit with bootstrap intervals.

Balanced accuracy and macro-F1 run over the classes that occur in the truth: a split without basophils
says nothing about basophils.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

IntArray = NDArray[np.intp]


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Share of right answers, in [0, 1]."""
    return float(np.mean(np.asarray(truth) == np.asarray(predicted)))


def balanced_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean recall over the classes present in the truth, in [0, 1]."""
    hits, true_counts, _ = _counts(truth, predicted)
    present = true_counts > 0
    return float((hits[present] / true_counts[present]).mean())


def macro_f1(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Mean F1 over the classes present in the truth, in [0, 1]."""
    hits, true_counts, predicted_counts = _counts(truth, predicted)
    present = true_counts > 0
    return float((2 * hits[present] / (true_counts + predicted_counts)[present]).mean())


def _counts(truth: ArrayLike, predicted: ArrayLike) -> tuple[IntArray, IntArray, IntArray]:
    """Right answers, occurrences in the truth and answers, per class.

    Written out because the bootstrap asks thousands of times, for which scikit-learn's checks of its
    input take a minute a table; the tests hold both to the same figures.
    """
    true_classes, predicted_classes = np.asarray(truth), np.asarray(predicted)
    size = int(max(true_classes.max(), predicted_classes.max())) + 1
    right = true_classes[true_classes == predicted_classes]
    hits, true_counts, predicted_counts = (
        np.bincount(classes, minlength=size) for classes in (right, true_classes, predicted_classes)
    )
    return hits, true_counts, predicted_counts


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def bootstrap_interval(
    metric: Callable[[Any, Any], float],
    truth: ArrayLike,
    predicted: ArrayLike,
    resamples: int = 2000,
    seed: int = 42,
) -> Interval:
    """Percentile bootstrap (Efron 1979), resampled within each class so that none disappears."""
    true_classes, predicted_classes = np.asarray(truth), np.asarray(predicted)
    figures = [
        metric(true_classes[drawn], predicted_classes[drawn])
        for drawn in class_resamples(true_classes, resamples, seed)
    ]
    low, high = np.percentile(figures, [2.5, 97.5])
    return Interval(metric(true_classes, predicted_classes), float(low), float(high))


def class_resamples(truth: ArrayLike, resamples: int = 2000, seed: int = 42) -> Iterator[IntArray]:
    """The rows of each resample of N images, int ``[N]``, drawn with replacement within each class."""
    true_classes = np.asarray(truth)
    random = np.random.default_rng(seed)
    members = [np.flatnonzero(true_classes == value) for value in np.unique(true_classes)]
    for _ in range(resamples):
        yield np.concatenate([random.choice(group, len(group)) for group in members])


@dataclass(frozen=True, slots=True)
class SplitScores:
    """Figures over ``n`` images with 95 % intervals; the class-averaged ones over the classes present."""

    n: int
    balanced_accuracy: Interval
    macro_f1: Interval
    accuracy: Interval


def score(truth: ArrayLike, predicted: ArrayLike) -> SplitScores:
    """All figures of merit for integer classes ``[N]``."""
    return SplitScores(
        len(np.asarray(truth)),
        *(bootstrap_interval(metric, truth, predicted) for metric in (balanced_accuracy, macro_f1, accuracy)),
    )
