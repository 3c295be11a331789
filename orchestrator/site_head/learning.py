"""Learns a site's head: a logistic regression over standardised features, pulled towards the model's own.

What is learnt is the difference D from the model's head, so that a pull towards nothing is a pull towards the
model: minimised is the mean cross-entropy of ``softmax(logits + [z, 1] @ D)``, in which every class counts
alike, plus ``strength / 2`` times the squared norm of D without its last row. z are the features less the
site's mean, by the site's spread of each: so a feature that varies much on this microscope pulls no harder.
Strength, temperature and review threshold are those that suit cells of groups (specimens) that were not
learnt from.

Every view of a cell is learnt from, so that what turns with the image, or with its brightness, is not taken
for the class; a cell left out is judged by the mean of its views.

Only classes with enough examples are learnt, and only against each other: what is added to their logits sums
to zero, so that a class without examples stays where the model has it.

The fit takes steps of majorisation by Böhning's bound on the Hessian with Nesterov's momentum: no step size,
no random numbers, the same bits at every run.

References
----------
Böhning 1992, "Multinomial logistic regression algorithm", Annals of the Institute of Statistical Mathematics
44:197-200. Nesterov 1983; O'Donoghue and Candes 2015, "Adaptive restart for accelerated gradient schemes".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.site_head.examples import MIN_CELLS, Examples, Logits, class_weights, folds_of

USUAL_STRENGTH: Final = 1e-3
"""Of the pull: the best of 1e-4 to 1e-1 over four devices that a network had not seen (docs/accuracy.md)."""

STRENGTHS: Final = (3e-4, USUAL_STRENGTH, 3e-3)
"""Another than the usual one is chosen where cells left out say so by more than a standard error: a free
choice among 3e-4 to 1e-1 was worse on every device, as a few dozen cells cannot tell them apart."""

FOLDS: Final = 5
STEPS: Final = 100
COMPONENTS: Final = 128
"""Of the features, at most: the others have next to nothing of the spread of a few hundred cells."""

SPREAD_FLOOR: Final = 0.25
"""Added to the spread of each feature, in means of it: few cells know little of 1,280 spreads."""

BIAS_STRENGTH: Final = 1e-3
TEMPERATURES: Final = tuple(float(t) for t in np.round(np.geomspace(0.5, 3.0, 37), 3))
THRESHOLDS: Final = tuple(float(t) for t in np.round(np.arange(0.6, 0.951, 0.05), 2))
RELEASED_ACCURACY: Final = 0.95
"""Of left-out cells over the review threshold."""

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Learnt:
    """A head as it was learnt, with what it said of each example while that one's group was left out.

    ``delta`` is float32 ``[F + 1, 5]``, as the model takes it; ``left_out`` is float64 ``[N, 5]``, logits;
    ``learnt`` are the classes with enough examples, in the order of ``CLASS_NAMES``.
    """

    delta: Float32Array
    strength: float
    learnt: tuple[int, ...]
    left_out: Logits
    temperature: float
    review_threshold: float


def learn(examples: Examples) -> Learnt:
    """A head of labelled cells; see the module.

    Raises :class:`~orchestrator.errors.ConfigurationError` where fewer than two classes have
    :data:`~orchestrator.site_head.examples.MIN_CELLS` examples.
    """
    present = tuple(c for c in range(NUM_CLASSES) if examples.counts[c] >= MIN_CELLS)
    if len(present) < 2:
        raise ConfigurationError(
            f"nothing can be learnt: expected at least {MIN_CELLS} labelled cells of each of two classes"
        )
    space = Space.of(examples.features)
    folds = folds_of(examples.groups, examples.labels, FOLDS)
    said = {strength: cross_fit(space, examples, folds, strength) for strength in STRENGTHS}
    strength = _strength(said, examples, folds)
    left_out = said[strength]
    everything = np.ones(len(examples), bool)
    delta = space.head(_fit(space.places, examples, everything, present, strength))
    weights = class_weights(examples.labels)
    temperature = _temperature(left_out, examples.labels, weights)
    return Learnt(
        delta, strength, present, left_out, temperature, _threshold(left_out / temperature, examples.labels)
    )


def applied(features: Float32Array, logits: Logits, delta: Float32Array) -> Logits:
    """The logits with a head: what the served graph computes, float64 ``[N, 5]``."""
    return np.asarray(logits + features.astype(np.float64) @ delta[:-1] + delta[-1], np.float64)


@dataclass(frozen=True, slots=True)
class Space:
    """The main components of the standardised features: ``places`` ``[N, V, R]`` are coordinates in them. Of
    one set of examples, for several calls of :func:`cross_fit`."""

    places: Array
    back: Array
    """[F, R]: from coordinates of a head to one over the raw features."""
    mean: Array

    @classmethod
    def of(cls, features: Float32Array) -> "Space":
        raw = features.reshape(-1, features.shape[-1]).astype(np.float64)
        mean, spread = raw.mean(axis=0), raw.std(axis=0)
        spread = spread + SPREAD_FLOOR * spread.mean()
        if not spread.mean() > 0:
            raise ConfigurationError("nothing can be learnt: all cells have the same features")
        scale = spread * np.sqrt(raw.shape[1])
        z = (raw - mean) / scale
        few = len(z) < z.shape[1]
        values, vectors = np.linalg.eigh(z @ z.T if few else z.T @ z)
        kept = np.flatnonzero(values > 1e-9 * values[-1])[-COMPONENTS:]
        axes = z.T @ (vectors[:, kept] / np.sqrt(values[kept])) if few else vectors[:, kept]
        return cls((z @ axes).reshape(*features.shape[:2], -1), axes / scale[:, np.newaxis], mean)

    def head(self, fitted: Array) -> Float32Array:
        weights = self.back @ fitted[:-1]
        return np.concatenate([weights, [fitted[-1] - self.mean @ weights]]).astype(np.float32)


def cross_fit(
    space: Space,
    examples: Examples,
    folds: NDArray[np.intp],
    strength: float,
    used: NDArray[np.bool_] | None = None,
) -> Logits:
    """The logits of each cell by a head that was learnt without its fold; of ``used`` cells alone where they
    are given."""
    said = examples.mean_logits
    mean_places = space.places.mean(axis=1)
    for fold in np.unique(folds):
        out = folds == fold
        seen = ~out if used is None else ~out & used
        counts = np.bincount(examples.labels[seen], minlength=NUM_CLASSES)
        present = tuple(
            c
            for c in range(NUM_CLASSES)
            if counts[c] and examples.counts[c] >= MIN_CELLS  # as many as the whole set must have
        )
        if len(present) < 2:
            continue
        fitted = _fit(space.places, examples, seen, present, strength)
        said[out] += mean_places[out] @ fitted[:-1] + fitted[-1]
    return said


def _fit(
    places: Array,
    examples: Examples,
    seen: NDArray[np.bool_],
    present: tuple[int, ...],
    strength: float,
) -> Array:
    """``[R + 1, 5]``: of each class among ``present`` what is added to its logit; zero for the others. Of
    ``seen`` cells."""
    mine = seen & np.isin(examples.labels, present)
    views = places.shape[1]
    x = places[mine].reshape(-1, places.shape[2])
    x = np.concatenate([x, np.ones((len(x), 1))], axis=1)
    base = examples.logits[mine][:, :, present].reshape(len(x), -1)
    target = (examples.labels[mine][:, np.newaxis] == np.array(present)).astype(np.float64)
    target = np.repeat(target, views, axis=0)
    weights = np.repeat(class_weights(examples.labels[mine]) / views, views)[:, np.newaxis]
    pull = np.full(x.shape[1], strength)
    pull[-1] = BIAS_STRENGTH
    step = np.linalg.inv(0.5 * (x * weights).T @ x + np.diag(pull))
    here = ahead = np.zeros((x.shape[1], len(present)))
    momentum = 1.0
    for _ in range(STEPS):
        slope = x.T @ (weights * (softmax(base + x @ ahead) - target)) + pull[:, np.newaxis] * ahead
        there = ahead - step @ slope
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        if ((ahead - there) * (there - here)).sum() > 0:  # overshot: begin the momentum anew
            following, ahead = 1.0, there
        else:
            ahead = there + (momentum - 1) / following * (there - here)
        if np.abs(there - here).max() < 1e-5:
            here = there
            break
        here, momentum = there, following
    fitted = np.zeros((x.shape[1], NUM_CLASSES))
    fitted[:, present] = here
    return fitted


def softmax(logits: Logits) -> Logits:
    """Probabilities, ``[N, C]``."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(e / e.sum(axis=1, keepdims=True))


def losses(logits: Logits, labels: NDArray[np.intp]) -> Array:
    """The cross-entropy of each cell in nats, ``[N]``."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def _loss(logits: Logits, labels: NDArray[np.intp], weights: Array) -> float:
    return float(weights @ losses(logits, labels))


def _strength(said: Mapping[float, Logits], examples: Examples, folds: NDArray[np.intp]) -> float:
    """What suits the cells left out; those of a class that was not to be learnt without their fold say
    nothing of it."""
    labels = examples.labels
    told = np.array(
        [(labels[folds != fold] == label).any() for label, fold in zip(labels, folds, strict=True)]
    )
    if not told.any():
        return USUAL_STRENGTH
    weights = class_weights(labels[told])
    usual = losses(said[USUAL_STRENGTH][told], labels[told])
    best, most = USUAL_STRENGTH, 0.0
    for strength in STRENGTHS:
        better = usual - losses(said[strength][told], labels[told])
        gain = float(weights @ better)
        error = float(np.sqrt((weights**2) @ (better - gain) ** 2))
        if gain > error and gain > most:
            best, most = strength, gain
    return best


def _temperature(logits: Logits, labels: NDArray[np.intp], weights: Array) -> float:
    """Of :data:`TEMPERATURES` the best for cells left out, with as little said for 1 as one cell a class
    says."""
    prior = 0.5 * NUM_CLASSES / len(labels)
    return min(TEMPERATURES, key=lambda t: _loss(logits / t, labels, weights) + prior * float(np.log(t)) ** 2)


def _threshold(logits: Logits, labels: NDArray[np.intp]) -> float:
    """The lowest of :data:`THRESHOLDS` over which left-out cells are right often enough; else the highest."""
    probabilities = softmax(logits)
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    for threshold in THRESHOLDS:
        over = sure >= threshold
        if over.any() and right[over].mean() >= RELEASED_ACCURACY:
            return threshold
    return THRESHOLDS[-1]
