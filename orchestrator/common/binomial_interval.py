"""Exact confidence intervals for the share of one kind among counted things.

References
----------
Bonferroni 1936, as in Miller 1981, "Simultaneous Statistical Inference" (several limits at a time).
Clopper and Pearson 1934, "The use of confidence or fiducial limits illustrated in the case of the binomial",
Biometrika 26:404-413.
NIST Digital Library of Mathematical Functions, 8.17 (the incomplete beta function; 8.17.22 its continued
fraction), evaluated by the method of Lentz as modified by Thompson and Barnett 1986.
Przyborowski and Wilenski 1940, "Homogeneity of results in testing samples from Poisson series", Biometrika
31:313-323 (the ratio of two counts, by the share of the one among both).
"""

import math
from functools import lru_cache
from typing import Final

CONFIDENCE: Final = 0.95

ERROR_CONFIDENCE: Final = 1 - (1 - CONFIDENCE) / 4
"""One-sided, of the limit of a classifier's error that goes into :func:`misclassified_share`."""

_EPSILON: Final = 1e-15
_TINY: Final = 1e-300
_MAX_TERMS: Final = 10_000


@lru_cache(maxsize=4096)
def clopper_pearson(count: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The limits, in [0, 1], of the share that ``count`` of ``total`` independent draws stand for.

    Exact: it holds the true share in at least ``confidence`` of all cases, whatever the share is.

    Raises ``ValueError`` unless 0 <= count <= total, total >= 1 and 0 < confidence < 1.
    """
    if total < 1 or not 0 <= count <= total:
        raise ValueError(f"expected 0 <= count <= total and at least one, received {count} of {total}")
    if not 0 < confidence < 1:
        raise ValueError(f"expected a confidence between 0 and 1, received {confidence!r}")
    tail = (1 - confidence) / 2
    low = 0.0 if count == 0 else beta_quantile(tail, count, total - count + 1)
    high = 1.0 if count == total else beta_quantile(1 - tail, count + 1, total - count)
    return low, high


def ratio_interval(count: int, others: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """The limits, from 0 on, of the ratio of two numbers of things that were counted side by side.

    Exact: among both together the share of the ones is binomial (Przyborowski and Wilenski 1940), and the
    ratio is that share against the rest.

    Raises ``ValueError`` as :func:`clopper_pearson`, and where there are no ``others``.
    """
    if others < 1:
        raise ValueError(f"expected at least one of the others, received {others}")
    low, high = clopper_pearson(count, count + others, confidence)
    return low / (1 - low), high / (1 - high)


def lower_bound(count: int, total: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided limit, in [0, 1], that the true share lies above in at least ``confidence`` of all cases.

    Raises ``ValueError`` as :func:`clopper_pearson`, and for a confidence of at most one half.
    """
    return clopper_pearson(count, total, 2 * confidence - 1)[0]


def upper_bound(count: int, total: int, confidence: float = CONFIDENCE) -> float:
    """The one-sided limit that the true share lies below; else as :func:`lower_bound`."""
    return clopper_pearson(count, total, 2 * confidence - 1)[1]


def misclassified_share(count: int, total: int, wrong: float, others_wrong: float) -> tuple[float, float]:
    """The limits, in [0, 1], of the share of a class of which a classifier found ``count`` among ``total``.

    ``wrong`` is the largest share of what it gave the class that is of another; ``others_wrong`` that of the
    rest that is of this class: upper limits, each one-sided at :data:`ERROR_CONFIDENCE`. The true share is at
    least the share of the answers times ``1 - wrong``, and at most it and ``others_wrong`` of the rest. Each
    of the two ends takes one limit of the counting error and one of the classifier's, of half the error that
    an end of an interval at :data:`CONFIDENCE` may have (Bonferroni), so that the interval holds at that
    confidence; it is wider than :func:`clopper_pearson` even where nothing is wrong. Sensitivity and
    specificity (Rogan and Gladen 1978; Lang and Reiczigel 2014) are not asked for: what an audit measures is
    how many answers of a class are right, and rare classes leave too few cells to know their sensitivity.

    Raises ``ValueError`` as :func:`clopper_pearson`.
    """
    low, high = clopper_pearson(count, total, 2 * ERROR_CONFIDENCE - 1)
    return low * (1 - wrong), high + (1 - high) * others_wrong


def beta_quantile(probability: float, a: float, b: float) -> float:
    """The x in (0, 1) at which the cumulative distribution of Beta(a, b) is ``probability``; a, b >= 1.

    Halves the bracket around it until no number lies within.
    """
    low, high = 0.0, 1.0
    while low < (x := (low + high) / 2) < high:
        if incomplete_beta(x, a, b) < probability:
            low = x
        else:
            high = x
    return x


def incomplete_beta(x: float, a: float, b: float) -> float:
    """The regularised incomplete beta function I_x(a, b), for x in [0, 1] and a, b > 0."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return 1.0
    if x > (a + 1) / (a + b + 2):  # there the fraction of the other tail converges faster
        return 1.0 - incomplete_beta(1 - x, b, a)
    front = math.exp(a * math.log(x) + b * math.log1p(-x) - _log_beta(a, b)) / a
    return front * _continued_fraction(x, a, b)


def _continued_fraction(x: float, a: float, b: float) -> float:
    """DLMF 8.17.22, 1 / (1 + d1 / (1 + d2 / (1 + ...))), from its front to its end."""
    c, d = math.inf, 1.0
    value = 1.0
    for term in range(1, _MAX_TERMS):
        m = term // 2
        if term % 2 == 0:
            numerator = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            numerator = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / _not_zero(1 + numerator * d)
        c = _not_zero(1 + numerator / c)
        value *= c * d
        if abs(c * d - 1) < _EPSILON:
            break
    return value


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
