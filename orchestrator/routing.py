"""From the model's probabilities to a decision about one cell.

A request's views are averaged, the average is calibrated by one temperature, and a routing rule of the
device profile decides: ``none`` takes the most probable class; ``main`` and ``aux`` decide only between
Lymphocyte and Neutrophil, by the softmax head or by the auxiliary head; ``prior`` weighs each class by how
often it occurs where the images come from. ``main`` and ``aux`` suit a site that knows that nothing else can
occur in its images; ``prior`` is the way for a site that knows, or has estimated from its cells, how often
each class does. A result always names the rule that decided, and is marked for review where the rule shut
out what the model saw.

Whatever the rule, an image that is unlike those that the model was trained on is told by its energy, which
the softmax head cannot see: a softmax may be sure of an image of anything. A head of its own says whether
what is shown is a cell of none of the five classes, or no white cell.

References
----------
Guo et al. 2017, "On calibration of modern neural networks", ICML (temperature scaling).
Liu et al. 2020, "Energy-based out-of-distribution detection", NeurIPS.
Saerens et al. 2002, "Adjusting the outputs of a classifier to new a priori probabilities: a simple
procedure", Neural Computation 14(1):21-41.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Final, get_args

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import (
    MIN_FOCUS_RATIO,
    Finding,
    Float32Array,
    Focus,
    Prediction,
    ReviewReason,
    RoutingMode,
)
from orchestrator.errors import ConfigurationError, ContractViolation
from orchestrator.model_contract import (
    AUX_OUT,
    CLASS_NAMES,
    FEATURES,
    LOGITS,
    LYMPHOCYTE,
    MAIN_OUT,
    NEUTROPHIL,
    NOT_WBC,
    NUM_CLASSES,
)

FloatArray = NDArray[np.float64]

ROUTED_CLASSES: Final = (LYMPHOCYTE, NEUTROPHIL)
"""The classes between which ``main`` and ``aux`` decide."""

OUTSIDE_MASS: Final = 0.5
"""Under this p(Lymphocyte) + p(Neutrophil), routing to these two is doubtful."""

DOUBTS: Final = ("not_wbc", "outside_routed_classes", "low_confidence", "close_call")
"""Codes of the reasons for a review that more views of a cell may take back, in the order of :func:`route`.
``out_of_distribution`` is none of them: the views' energies hardly differ. On the 149 held-out images of the
devices that trained, by their own profiles, eight views mark 30 for review, ``adaptive`` marks the same 30,
and 31 without ``not_wbc`` here."""

# A softmax computed in bfloat16 (8 bits of mantissa) misses 1 by up to about 0.4 %.
_SUM_TOLERANCE: Final = 0.02

_PRIOR_SUM_TOLERANCE: Final = 1e-3
"""Five shares written with four decimals may miss 1 by as much."""


@dataclass(frozen=True, slots=True)
class RoutingPolicy:
    """How a device profile decides.

    ``temperature`` > 0 calibrates the softmax head (1.0 leaves it as it is; the auxiliary head has none).
    A result whose confidence is under ``review_threshold``, or whose two best classes lie closer together
    than ``review_margin`` (both in [0, 1]), or whose energy is over ``max_energy`` (None: never), or that is
    none of the five classes by more than ``max_not_wbc`` (in [0, 1]; 1: never), is marked for review.
    ``prior`` and ``training_prior``, for mode ``prior`` and for no other, are the shares of the classes among
    the site's cells and among the images that the model was trained on.

    Raises :class:`~orchestrator.errors.ConfigurationError`, which names the field.
    """

    mode: RoutingMode
    _: KW_ONLY
    temperature: float = 1.0
    review_threshold: float
    review_margin: float = 0.15
    max_energy: float | None = None
    max_not_wbc: float = 0.5
    prior: tuple[float, ...] | None = None
    training_prior: tuple[float, ...] | None = None

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
            ("max_not_wbc", self.max_not_wbc),
        ):
            if not 0 <= value <= 1:  # also false for NaN
                raise ConfigurationError(f"{name}: expected a number from 0 to 1, received {value!r}")
        if self.max_energy is not None and not math.isfinite(self.max_energy):
            raise ConfigurationError(f"max_energy: expected a finite number, received {self.max_energy!r}")
        for name, shares in (("prior", self.prior), ("training_prior", self.training_prior)):
            if shares is None:
                if self.mode == "prior":
                    raise ConfigurationError(f'{name}: expected a value with mode = "prior", received none')
            elif self.mode != "prior":
                raise ConfigurationError(f'{name}: expected only with mode = "prior", received {shares!r}')
            elif not _are_shares(shares):
                raise ConfigurationError(
                    f"{name}: expected {NUM_CLASSES} numbers over 0 that sum to 1, received {shares!r}"
                )


@dataclass(frozen=True, slots=True)
class AveragedPrediction:
    """What the views of one cell say together.

    ``probabilities`` follow ``CLASS_NAMES`` and sum to 1; they are not calibrated yet. ``aux_neutrophil``
    is in [0, 1]. ``energy`` is the mean of the views' :func:`energy`; ``not_wbc``, in [0, 1], and
    ``features``, float32 ``[F]``, are means too.
    """

    probabilities: tuple[float, ...]
    aux_neutrophil: float
    energy: float
    not_wbc: float
    features: Float32Array = field(compare=False, repr=False)


def average(prediction: Prediction) -> AveragedPrediction:
    """The mean over the N views of one cell, of ``main_out``, ``aux_out``, ``not_wbc``, ``features`` and of
    the energy.

    Raises :class:`~orchestrator.errors.ContractViolation` where the arrays do not have the shapes of the
    contract (with at least one row), or hold anything but probabilities and finite logits.
    """
    main = np.asarray(prediction.main_out, np.float64)
    aux = np.asarray(prediction.aux_out, np.float64)
    not_wbc = np.asarray(prediction.not_wbc, np.float64)
    logits = np.asarray(prediction.logits, np.float64)
    features = prediction.features
    if main.ndim != 2 or main.shape[1] != NUM_CLASSES or len(main) == 0:
        raise ContractViolation(
            f"{MAIN_OUT.name}: expected shape [N >= 1, {NUM_CLASSES}], received {main.shape}"
        )
    for name, values in ((AUX_OUT.name, aux), (NOT_WBC.name, not_wbc)):
        if values.shape != (len(main),):
            raise ContractViolation(f"{name}: expected shape ({len(main)},), received {values.shape}")
    if logits.shape != main.shape:
        raise ContractViolation(f"{LOGITS.name}: expected shape {main.shape}, received {logits.shape}")
    if not np.isfinite(logits).all():
        raise ContractViolation(f"{LOGITS.name}: expected finite numbers, received {logits.tolist()}")
    if features.ndim != 2 or len(features) != len(main) or not np.isfinite(features).all():
        raise ContractViolation(
            f"{FEATURES.name}: expected finite numbers, [{len(main)}, F], received {features.shape}"
        )
    for name, values in ((MAIN_OUT.name, main), (AUX_OUT.name, aux), (NOT_WBC.name, not_wbc)):
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
        energy=float(energy(logits).mean()),
        not_wbc=min(float(not_wbc.mean()), 1.0),
        features=features.mean(axis=0, dtype=np.float32),
    )


def energy(logits: NDArray[np.floating]) -> FloatArray:
    """The energy score, -logsumexp(logits) along the last axis; float ``[..., C]`` in, float64 ``[...]`` out.

    Liu et al. 2020 at their temperature of 1: low for images like those that the model was trained on, higher
    for others. Its level is a property of one model; compare it with a limit found on held-out images
    (``training.calibrate.energy_limit``), never between models.
    """
    z = np.asarray(logits, np.float64)
    highest = z.max(axis=-1, keepdims=True)
    total = np.log(np.exp(z - highest).sum(axis=-1))
    return np.asarray(-(highest[..., 0] + total), np.float64)


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

    ``quality_reasons`` (of the image) stand before the reasons found here: ``out_of_distribution``,
    ``not_wbc``, ``outside_routed_classes``, ``low_confidence``, ``close_call``.
    """
    uncalibrated = np.array(averaged.probabilities)
    calibrated = calibrate(uncalibrated, policy.temperature)
    class_index, probabilities = _decide(uncalibrated, calibrated, averaged.aux_neutrophil, policy)
    reasons = [
        *quality_reasons,
        *_out_of_distribution(averaged.energy, policy.max_energy),
        *_not_wbc(averaged.not_wbc, policy.max_not_wbc),
    ]
    if policy.mode in ("main", "aux"):
        reasons += _outside_routed_classes(calibrated)
    reasons += _low_confidence(float(probabilities[class_index]), policy.review_threshold)
    reasons += _close_call(probabilities, policy.review_margin)
    return Finding(
        class_index=class_index,
        probabilities=tuple(float(p) for p in probabilities),
        aux_neutrophil=averaged.aux_neutrophil,
        energy=averaged.energy,
        not_wbc=averaged.not_wbc,
        decided_by=policy.mode,
        review_reasons=tuple(reasons),
    )


def is_white_cell(finding: Finding, policy: RoutingPolicy) -> bool:
    """Whether what was found in a field counts as a white cell: the network does not say that it is none."""
    return finding.not_wbc <= policy.max_not_wbc


def is_clear(finding: Finding, margin: float) -> bool:
    """Whether the answer for one view is enough: its two best classes lie at least ``margin`` apart, and the
    model gives no reason for doubt that others may take back (:data:`DOUBTS`)."""
    return finding.margin >= margin and not any(reason.code in DOUBTS for reason in finding.review_reasons)


def with_focus_reason(finding: Finding, focus: Focus | None) -> Finding:
    """The finding, marked for review where too little of its heatmap lies on the cell
    (``background_focus``); as it is where there is no heatmap."""
    if focus is None or focus.focus_ratio >= MIN_FOCUS_RATIO:
        return finding
    reason = ReviewReason(
        "background_focus",
        f"Only {focus.focus_ratio:.0%} of the heatmap lies on the cell: check that the decision does not "
        "rest on the background.",
    )
    return dataclasses.replace(finding, review_reasons=(*finding.review_reasons, reason))


def with_prior(
    probabilities: NDArray[np.floating], prior: Sequence[float], training_prior: Sequence[float]
) -> FloatArray:
    """The posterior under another class prior, p(k) prior(k) / training_prior(k), normalised.

    ``probabilities`` are float ``[..., C]``, calibrated, of a model trained where the classes occurred in the
    shares ``training_prior``; the answer is float64 ``[..., C]``. Equation 2.4 of Saerens et al. 2002: right
    where only the shares of the classes differ, and each class looks as it did in training.

    Raises ``ValueError`` unless every share is over 0, and for rows that are no distribution.
    """
    new, old = np.asarray(prior, np.float64), np.asarray(training_prior, np.float64)
    p = np.asarray(probabilities, np.float64)
    if not ((new > 0).all() and (old > 0).all()):
        raise ValueError(f"expected shares over 0, received {new.tolist()} and {old.tolist()}")
    _require_distributions(p)
    return _reweighted(p, new / old)


def estimate_prior(
    probabilities: NDArray[np.floating],
    training_prior: Sequence[float],
    *,
    max_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> FloatArray:
    """The shares of the classes among N unlabelled cells, by expectation-maximisation; float64 ``[C]``.

    ``probabilities`` are float ``[N, C]``, the calibrated answers of a model trained where the classes
    occurred in the shares ``training_prior``. Each round weighs the answers by the shares found so far and
    takes their mean for the next (Saerens et al. 2002, section 2.2), until no share moves by more than
    ``tolerance``. It climbs to the maximum of the likelihood, which for a class that does not occur is 0:
    smooth the shares before a single cell is decided on by them.

    Raises ``ValueError`` for no cell, a training share that is not over 0, and rows that are no distribution.
    """
    p, old = np.asarray(probabilities, np.float64), np.asarray(training_prior, np.float64)
    if p.ndim != 2 or len(p) == 0:
        raise ValueError(f"expected the answers for at least one cell, [N, C], received shape {p.shape}")
    if not (old > 0).all():
        raise ValueError(f"expected training shares over 0, received {old.tolist()}")
    _require_distributions(p)
    prior: FloatArray = old / old.sum()
    for _ in range(max_iterations):
        following = np.asarray(_reweighted(p, prior / old).mean(axis=0), np.float64)
        moved = float(np.abs(following - prior).max())
        prior = following
        if moved <= tolerance:
            break
    return prior


def _reweighted(p: FloatArray, weights: FloatArray) -> FloatArray:
    weighted = p * weights
    sums = weighted.sum(axis=-1, keepdims=True)
    # A row whose whole mass lies on classes of share 0 keeps its answer: it is evidence against that share.
    return np.asarray(np.where(sums > 0, weighted / np.where(sums > 0, sums, 1.0), p), np.float64)


def _require_distributions(p: FloatArray) -> None:
    if not ((p >= 0).all() and (np.abs(p.sum(axis=-1) - 1) <= _SUM_TOLERANCE).all()):
        raise ValueError("expected rows of probabilities that sum to 1")


def _are_shares(values: Sequence[float]) -> bool:
    return (
        len(values) == NUM_CLASSES
        and all(math.isfinite(value) and value > 0 for value in values)
        and abs(math.fsum(values) - 1) <= _PRIOR_SUM_TOLERANCE
    )


def _decide(
    uncalibrated: FloatArray, calibrated: FloatArray, aux_neutrophil: float, policy: RoutingPolicy
) -> tuple[int, FloatArray]:
    """The class and the distribution that stands behind it."""
    if policy.mode == "none":
        return int(calibrated.argmax()), calibrated
    if policy.prior is not None and policy.training_prior is not None:  # mode "prior", and no other
        weighed = with_prior(calibrated, policy.prior, policy.training_prior)
        return int(weighed.argmax()), weighed
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


def _out_of_distribution(value: float, limit: float | None) -> list[ReviewReason]:
    if limit is None or value <= limit:
        return []
    message = (
        f"The image is unlike those that the model was trained on (energy {value:.2f}, limit {limit:.2f}): "
        "check that it shows one white cell, stained and photographed as usual."
    )
    return [ReviewReason("out_of_distribution", message)]


def _not_wbc(probability: float, limit: float) -> list[ReviewReason]:
    if probability <= limit:
        return []
    message = (
        f"What is shown may be none of the five classes ({_percent(probability)}): check whether it is a "
        "platelet, a smudge, an erythroblast, an immature cell, or no cell."
    )
    return [ReviewReason("not_wbc", message)]


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
