"""Which results a person should look at first, and what that is worth.

A model that may hand its doubtful cells over is measured by how good it is on the rest (El-Yaniv and Wiener
2010, "On the foundations of noise-free selective classification", JMLR 11:1605-1641). Doubt has two sides
here: a low confidence says that two known classes are hard to tell apart, a high energy that the image is
like none of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

WEIGHTS: Final = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Weights of the energy that :func:`fit_review_ranking` chooses among."""


@dataclass(frozen=True, slots=True)
class ReviewRanking:
    """Doubt in [0, 1] as a weighted mean of two ranks among reference images.

    ``energy_weight`` in [0, 1] is the say of the energy; ``confidences`` and ``energies`` are float64
    ``[N]``, sorted, of the reference images. Ranks, since the two have no unit in common.
    """

    energy_weight: float
    confidences: FloatArray
    energies: FloatArray

    def doubt(self, confidences: ArrayLike, energies: ArrayLike) -> FloatArray:
        """The doubt about M results, float64 ``[M]``: the higher, the sooner a person should look."""
        unsure = 1 - _rank(self.confidences, np.asarray(confidences, np.float64))
        unlike = _rank(self.energies, np.asarray(energies, np.float64))
        return (1 - self.energy_weight) * unsure + self.energy_weight * unlike


def fit_review_ranking(
    confidences: ArrayLike, energies: ArrayLike, right: ArrayLike, weights: Sequence[float] = WEIGHTS
) -> ReviewRanking:
    """The ranking, with the weight of the energy that serves best on N held-out images.

    Best is the least area under the curve of risk over coverage: the error rate of the k least doubtful
    images, averaged over all k (Geifman and El-Yaniv 2017, "Selective classification for deep neural
    networks", NeurIPS). Of equals, the least weight of the energy. ``right`` is bool ``[N]``.

    Raises ``ValueError`` for no image.
    """
    sure, energy, correct = (np.asarray(values) for values in (confidences, energies, right))
    if sure.size == 0:
        raise ValueError("expected at least one image to choose a ranking on, received none")
    rankings = [
        ReviewRanking(weight, np.sort(sure.astype(np.float64)), np.sort(energy.astype(np.float64)))
        for weight in weights
    ]
    return min(rankings, key=lambda ranking: area_under_risk(ranking.doubt(sure, energy), correct))


def area_under_risk(doubt: ArrayLike, right: ArrayLike) -> float:
    """Mean error rate of the k least doubtful of N images, over k from 1 to N; in [0, 1]."""
    wrong = ~np.asarray(right, bool)[np.argsort(np.asarray(doubt), kind="stable")]
    return float((np.cumsum(wrong) / np.arange(1, len(wrong) + 1)).mean())


def accuracy_of_the_rest(doubt: ArrayLike, right: ArrayLike, review_share: float = 0.1) -> float:
    """Accuracy, in [0, 1], when the ``review_share`` of N images with the most doubt goes to a person.

    Raises ``ValueError`` where that leaves no image.
    """
    correct = np.asarray(right, bool)[np.argsort(np.asarray(doubt), kind="stable")]
    kept = len(correct) - round(review_share * len(correct))
    if kept < 1:
        raise ValueError(f"expected some of {len(correct)} images to remain, received share {review_share}")
    return float(correct[:kept].mean())


def _rank(reference: FloatArray, values: FloatArray) -> FloatArray:
    """Share of the reference under each value, ties by half, in [0, 1]."""
    below, upto = (np.searchsorted(reference, values, side=side) for side in ("left", "right"))
    return np.asarray((below + upto) / (2 * len(reference)), np.float64)
