"""From the model's probabilities to a decision about one cell.

A request's views are averaged, the average is calibrated by one temperature, and a routing rule of the
device profile decides: ``none`` takes the most probable class; ``main`` and ``aux`` decide only between
Lymphocyte and Neutrophil, by the softmax head or by the auxiliary head. The last two suit a site that
knows that nothing else can occur in its images; a result always names the rule that decided, and is
marked for review where the rule shut out what the model saw.

References
----------
Guo et al. 2017, "On calibration of modern neural networks", ICML (temperature scaling).
"""

import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Finding, Prediction, ReviewReason, RoutingMode
from orchestrator.errors import ConfigurationError, ContractViolation
from orchestrator.model_contract import AUX_OUT, CLASS_NAMES, LYMPHOCYTE, MAIN_OUT, NEUTROPHIL, NUM_CLASSES

FloatArray = NDArray[np.float64]

ROUTED_CLASSES: Final = (LYMPHOCYTE, NEUTROPHIL)
"""The classes between which ``main`` and ``aux`` decide."""

OUTSIDE_MASS: Final = 0.5
"""Under this p(Lymphocyte) + p(Neutrophil), routing to these two is doubtful."""

# A softmax computed in bfloat16 (8 bits of mantissa) misses 1 by up to about 0.4 %.
_SUM_TOLERANCE: Final = 0.02


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How a device profile decides.

    ``temperature`` > 0 calibrates the softmax head (1.0 leaves it as it is; the auxiliary head has none).
    A result whose confidence is under ``review_threshold``, or whose two best classes lie closer together
    than ``review_margin`` (both in [0, 1]), is marked for review.

    Raises :class:`~orchestrator.errors.ConfigurationError`, which names the field.
    """

    mode: RoutingMode
    _: KW_ONLY
    temperature: float = 1.0
    review_threshold: float
    review_margin: float = 0.15

    def __post_init__(self) -> None:
        if self.mode not in get_args(RoutingMode):
            modes = ", ".join(get_args(RoutingMode))
            raise ConfigurationError(f"mode: expected one of {modes}, received {self.mode!r}")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise ConfigurationError(
                f"temperature: expected a finite number over 0, received {self.temperature!r}"
            )
        for name, value in (
            ("review_threshold", self.review_threshold),
            ("review_margin", self.review_margin),
        ):
            if not 0 <= value <= 1:  # also false for NaN
                raise ConfigurationError(f"{name}: expected a number from 0 to 1, received {value!r}")


@dataclass(frozen=True, slots=True)
class AveragedPrediction:
    """What the views of one cell say together.

    ``probabilities`` follow ``CLASS_NAMES`` and sum to 1; they are not calibrated yet. ``aux_neutrophil``
    is in [0, 1].
    """

    probabilities: tuple[float, ...]
    aux_neutrophil: float


def average(prediction: Prediction) -> AveragedPrediction:
    """The mean over the N views of one cell, of ``main_out`` and of ``aux_out``.

    Raises :class:`~orchestrator.errors.ContractViolation` where the arrays do not have the shapes of the
    contract (with at least one row), or hold anything but probabilities.
    """
    main = np.asarray(prediction.main_out, np.float64)
    aux = np.asarray(prediction.aux_out, np.float64)
    if main.ndim != 2 or main.shape[1] != NUM_CLASSES or len(main) == 0:
        raise ContractViolation(
            f"{MAIN_OUT.name}: expected shape [N >= 1, {NUM_CLASSES}], received {main.shape}"
        )
    if aux.shape != (len(main),):
        raise ContractViolation(f"{AUX_OUT.name}: expected shape ({len(main)},), received {aux.shape}")
    for name, values in ((MAIN_OUT.name, main), (AUX_OUT.name, aux)):
        # Comparisons with NaN are false, so that this also catches NaN.
        if not ((values >= 0) & (values <= 1 + _SUM_TOLERANCE)).all():
            raise ContractViolation(
                f"{name}: expected probabilities in [0, 1], received {values.min()} to {values.max()}"
            )
    sums = main.sum(axis=1)
    if (np.abs(sums - 1) > _SUM_TOLERANCE).any():
        raise ContractViolation(
            f"{MAIN_OUT.name}: expected rows that sum to 1, received {sums.min()} to {sums.max()}"
        )
    mean = (main / sums[:, np.newaxis]).mean(axis=0)
    return AveragedPrediction(
        probabilities=tuple(float(p) for p in mean / mean.sum()),
        aux_neutrophil=min(float(aux.mean()), 1.0),
    )


def calibrate(probabilities: NDArray[np.floating], temperature: float) -> FloatArray:
    """Temperature scaling, softmax(log p / T) along the last axis; float ``[..., C]`` in, float64 out.

    The logits are known up to a constant as log p, which softmax ignores, so that this equals
    softmax(logits / T) of Guo et al. 2017. A probability of 0 stays 0. The order of the classes never
    changes.

    Raises ``ValueError`` for a temperature that is not a finite number over 0, and for rows that hold
    NaN or a negative number or nothing over 0.
    """
    if not (math.isfinite(temperature) and temperature > 0):
        raise ValueError(f"expected a finite temperature over 0, received {temperature!r}")
    p = np.asarray(probabilities, np.float64)
    highest = p.max(axis=-1, keepdims=True)
    if not (p >= 0).all() or not (highest > 0).all() or not np.isfinite(highest).all():
        raise ValueError("expected finite probabilities, none negative and not all of a row 0")
    # exp((log p - log p_max) / T) as a power: zeros stay zeros, no exponential overflows, T = 1 is exact.
    scaled = (p / highest) ** (1 / temperature)
    return np.asarray(scaled / scaled.sum(axis=-1, keepdims=True), np.float64)


def route(
    averaged: AveragedPrediction, policy: RoutingPolicy, quality_reasons: Sequence[ReviewReason] = ()
) -> Finding:
    """Decide on a class, and on whether a person should look at it.

    ``quality_reasons`` (of the image) stand before the reasons found here: ``outside_routed_classes``,
    ``low_confidence``, ``close_call``.
    """
    uncalibrated = np.array(averaged.probabilities)
    calibrated = calibrate(uncalibrated, policy.temperature)
    class_index, probabilities = _decide(uncalibrated, calibrated, averaged.aux_neutrophil, policy)
    reasons = [*quality_reasons]
    if policy.mode != "none":
        reasons += _outside_routed_classes(calibrated)
    reasons += _low_confidence(float(probabilities[class_index]), policy.review_threshold)
    reasons += _close_call(probabilities, policy.review_margin)
    return Finding(
        class_index=class_index,
        probabilities=tuple(float(p) for p in probabilities),
        aux_neutrophil=averaged.aux_neutrophil,
        decided_by=policy.mode,
        review_reasons=tuple(reasons),
    )


def _decide(
    uncalibrated: FloatArray, calibrated: FloatArray, aux_neutrophil: float, policy: RoutingPolicy
) -> tuple[int, FloatArray]:
    """The class and the distribution that stands behind it."""
    if policy.mode == "none":
        return int(calibrated.argmax()), calibrated
    routed = np.zeros(NUM_CLASSES)
    if policy.mode == "aux":
        routed[[LYMPHOCYTE, NEUTROPHIL]] = 1 - aux_neutrophil, aux_neutrophil
        return (NEUTROPHIL if aux_neutrophil >= 0.5 else LYMPHOCYTE), routed
    routed[[*ROUTED_CLASSES]] = uncalibrated[[*ROUTED_CLASSES]]
    if not routed.any():  # the model excludes both, and says nothing about which of them is nearer
        routed[[*ROUTED_CLASSES]] = 0.5
    # Softmax of a subset is the renormalised softmax; calibrating the pair by itself cannot underflow.
    routed = calibrate(routed, policy.temperature)
    return int(routed.argmax()), routed


def _outside_routed_classes(calibrated: FloatArray) -> list[ReviewReason]:
    """Routing left out the class that the model preferred, or more than half of its probability."""
    inside = float(calibrated[[*ROUTED_CLASSES]].sum())
    if inside >= OUTSIDE_MASS and int(calibrated.argmax()) in ROUTED_CLASSES:
        return []
    outside = calibrated.copy()
    outside[[*ROUTED_CLASSES]] = 0
    excluded = int(outside.argmax())
    return [
        ReviewReason(
            "outside_routed_classes",
            f"Routing admits only {' and '.join(CLASS_NAMES[i] for i in ROUTED_CLASSES)} "
            f"({_percent(inside)} together before routing); "
            f"it excluded {CLASS_NAMES[excluded]} ({_percent(outside[excluded])}).",
        )
    ]


def _low_confidence(confidence: float, threshold: float) -> list[ReviewReason]:
    if confidence >= threshold:
        return []
    message = (
        f"The confidence of {_percent(confidence)} is under the review threshold of {_percent(threshold)}."
    )
    return [ReviewReason("low_confidence", message)]


def _close_call(probabilities: FloatArray, review_margin: float) -> list[ReviewReason]:
    second, first = (int(i) for i in np.argsort(probabilities)[-2:])
    if probabilities[first] - probabilities[second] >= review_margin:
        return []
    message = (
        f"{CLASS_NAMES[first]} ({_percent(probabilities[first])}) and "
        f"{CLASS_NAMES[second]} ({_percent(probabilities[second])}) lie close together."
    )
    return [ReviewReason("close_call", message)]


def _percent(probability: float) -> str:
    return f"{100 * probability:.1f} %"
