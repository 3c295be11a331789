"""Temperature scaling: how much less sure the model should say it is.

Guo et al. 2017, "On calibration of modern neural networks", ICML.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from orchestrator.routing import calibrate


def negative_log_likelihood(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """Mean of -log p of the true class; ``probabilities`` is float ``[N, C]``, ``truth`` int ``[N]``."""
    p, classes = np.asarray(probabilities, np.float64), np.asarray(truth)
    return float(-np.log(np.maximum(p[np.arange(len(classes)), classes], 1e-12)).mean())


def fit_temperature(probabilities: ArrayLike, truth: ArrayLike) -> float:
    """The temperature in [0.2, 5] that minimises the negative log-likelihood of held-out images.

    ``probabilities`` are float ``[N, C]``, averaged over the views as serving does.
    """
    p = np.asarray(probabilities, np.float64)

    def loss(log_temperature: Any) -> float:
        return negative_log_likelihood(calibrate(p, float(np.exp(log_temperature))), truth)

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(found.x))


def expected_calibration_error(probabilities: ArrayLike, truth: ArrayLike, bins: int = 10) -> float:
    """ECE over ``bins`` equal-width bins of confidence, in [0, 1] (Naeini et al. 2015)."""
    p, classes = np.asarray(probabilities, np.float64), np.asarray(truth)
    confidence, right = p.max(axis=1), p.argmax(axis=1) == classes
    members = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(right[members == b].mean() - confidence[members == b].mean()))
        * float((members == b).mean())
        for b in range(bins)
        if (members == b).any()
    ]
    return float(sum(gaps))
