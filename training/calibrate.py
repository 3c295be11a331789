"""Temperature scaling: how much less sure the model should say it is; and the limit of its energy.

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
    # Of each bin, |accuracy - mean confidence| times its share of the images is |sum of the gaps| / N.
    gaps = np.bincount(members, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(classes))


def energy_limit(energies: ArrayLike, review_share: float = 0.03) -> float:
    """The ``max_energy`` of a profile that sends ``review_share`` of such images to review.

    ``energies`` are float ``[N]``, averaged over the views as serving does, of held-out images that the model
    should know: validation images, or images of the device. The limit is the quantile 1 - ``review_share``
    of Liu et al. 2020, "Energy-based out-of-distribution detection", NeurIPS, whose practice is 5 %.

    Raises ``ValueError`` for no image, an energy that is not finite, or a share outside of [0, 1).
    """
    values = np.asarray(energies, np.float64)
    if values.size == 0 or not np.isfinite(values).all():
        raise ValueError("expected finite energies of at least one image")
    if not 0 <= review_share < 1:
        raise ValueError(f"expected a share of images for review in [0, 1), received {review_share}")
    return float(np.quantile(values, 1 - review_share))
