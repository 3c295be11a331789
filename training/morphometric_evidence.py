"""What the measures of a cell speak for: its nucleus' size and outline, and its parts against each other.

A crop of a fixed number of cell sizes takes absolute size away, and a network that looks at pixels learns
each microscope's colours. What holds on every microscope is given back as evidence: the log density of the
measures in each class, a normal one, which is added to the logits where they are known (naive Bayes). No
network has to be trained for it.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orchestrator.domain import UNMEASURED, Float32Array
from orchestrator.model_contract import LARGEST_UNKNOWN, MEASURES, NUM_CLASSES, PARTS
from orchestrator.vision.found_cell import find_cell
from orchestrator.vision.morphometry import measure
from training.datasets import Sample

FEW: Final = 10
"""A device with fewer cells of a class whose measures are known says nothing about that class."""

WEIGHTS: Final = (1.0, 0.5, 0.25)
"""Of the evidence of each part, in the order of :data:`~orchestrator.model_contract.PARTS`. The network sees
the appearance and the outline, too, so that they count less. For the appearance, the balanced accuracy of
devices left out is within 0.005 in the mean with 0.25 and 0.75; for the outline it is lower with 0.5 and 1,
by 0.005 and 0.012."""

LIMITS: Final = (np.inf, 2.0, 2.0)
"""The most by which each lets a class fall behind the one that it speaks for: on a microscope that shows
cells otherwise it is wrong, and must not be sure. Without a limit of the appearance the mean of devices left
out is 0.005 lower, and the temperature that fits them 2.4 and not 1.5."""

SHRINKAGE: Final = 0.3
"""How far the covariance of a class is taken towards the mean of the classes' where measures are several: a
rare class has few cells to tell it."""


class MorphometricEvidence(NamedTuple):
    """What each part of the measures adds to the logits, in the order of
    :data:`~orchestrator.model_contract.PARTS`: ``terms(measures) @ table``, at most its limit behind the
    largest, where all its measures are known. Float32 ``[3, 5]``, ``[10, 5]`` and ``[15, 5]``."""

    size: Float32Array
    appearance: Float32Array
    outline: Float32Array

    def added(self, morphometry: NDArray[np.floating[Any]]) -> Float32Array:
        """What each part adds to the logits of rows with this ``morphometry``, ``[N, 8]`` as in the model
        contract; float32 ``[3, N, 5]``."""
        added = np.zeros((len(self), len(morphometry), NUM_CLASSES), np.float32)
        for of_part, places, table, limit in zip(added, PARTS.values(), self, LIMITS, strict=True):
            measures = morphometry[:, places]
            known = _known(measures)
            evidence = terms(measures[known]) @ table
            of_part[known] = np.maximum(evidence, evidence.max(axis=1, keepdims=True) - limit)
        return added


def terms(measures: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """1, the measures, and the products of each with itself and those after it: of ``[N, M]`` ``[N, 1 + M + M
    (M + 1) / 2]``."""
    first, second = np.triu_indices(measures.shape[1])
    ones = np.ones_like(measures[:, :1])
    return np.concatenate([ones, measures, measures[:, first] * measures[:, second]], axis=1)


NO_EVIDENCE: Final = MorphometricEvidence(
    *(
        np.zeros((terms(np.zeros((1, len(MEASURES[places])))).shape[1], NUM_CLASSES), np.float32)
        for places in PARTS.values()
    )
)


def morphometry_of(samples: Sequence[Sample], console: Console | None = None) -> Float32Array:
    """The measures of each sample's cell, found and measured as served; float32 ``[N, 8]`` as in the model
    contract.

    Raises :class:`orchestrator.errors.InvalidImage` for a file that cannot be decoded.
    """

    def measured(sample: Sample) -> Float32Array:
        rgb = sample.load()
        found = find_cell(rgb)
        return (UNMEASURED if found is None else measure(rgb, found)).places()

    with ThreadPoolExecutor() as pool:
        cells = pool.map(measured, samples)
        if console is not None:
            cells = iter(track(cells, "measuring cells", total=len(samples), console=console))
        return np.array(list(cells))


def fit_evidence(samples: Sequence[Sample], morphometry: NDArray[np.floating[Any]]) -> MorphometricEvidence:
    """The evidence of ``morphometry``, ``[N, 8]``, in the classes of ``samples``; zeros for a part where of
    some class no device has ``FEW`` cells in which it is known.

    The mean of a class is that of its devices' means, its covariance the mean within them plus that of their
    means, so that what differs between devices makes it less sure. Several images of a cell count as one. On
    average it neither raises nor lowers the logit of the true class: the energy of an image stays comparable
    to that of one of which nothing is known.
    """
    measures = np.asarray(morphometry, np.float64)
    return MorphometricEvidence(
        *(
            _log_density(samples, measures[:, places], weight, nothing)
            for places, weight, nothing in zip(PARTS.values(), WEIGHTS, NO_EVIDENCE, strict=True)
        )
    )


def _known(measures: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    return np.asarray((measures > LARGEST_UNKNOWN).all(axis=1))  # false of NaN too


def _log_density(
    samples: Sequence[Sample], measures: NDArray[np.float64], weight: float, nothing: Float32Array
) -> Float32Array:
    """``weight`` times the log density of ``measures``, ``[N, M]``, in each class, as the table for their
    :func:`terms`."""
    images = Counter((sample.device, sample.cell) for sample in samples)
    weights = np.array([1 / images[s.device, s.cell] if s.cell else 1.0 for s in samples])
    classes = np.array([sample.class_index for sample in samples])
    devices = np.array([sample.device for sample in samples])
    known = _known(measures)
    means, covariances = [], []
    for index in range(NUM_CLASSES):
        groups = [known & (classes == index) & (devices == device) for device in sorted(set(devices))]
        groups = [group for group in groups if np.count_nonzero(group) >= FEW]
        if not groups:
            return nothing
        centres = np.array([np.average(measures[g], axis=0, weights=weights[g]) for g in groups])
        within = [_covariance(measures[g], weights[g]) for g in groups]
        means.append(centres.mean(axis=0))
        covariances.append(np.mean(within, axis=0) + _covariance(centres))
    pooled = np.mean(covariances, axis=0)
    shrinkage = SHRINKAGE if measures.shape[1] > 1 else 0.0
    table = np.zeros((terms(measures[:0]).shape[1], NUM_CLASSES))
    upper = np.triu_indices(measures.shape[1])
    for index, (mean, own) in enumerate(zip(means, covariances, strict=True)):
        covariance = (1 - shrinkage) * own + shrinkage * pooled
        precision = np.linalg.inv(covariance)
        constant = -(mean @ precision @ mean + np.linalg.slogdet(covariance)[1]) / 2
        # A product of two measures stands for two of the form's terms, a square for one.
        products = -np.where(upper[0] == upper[1], 0.5, 1.0) * precision[upper]
        table[:, index] = weight * np.concatenate([[constant], precision @ mean, products])
    of_truth = (terms(measures[known]) @ table)[np.arange(known.sum()), classes[known]]
    table[0] -= np.average(of_truth, weights=weights[known])
    return table.astype(np.float32)


def _covariance(
    rows: NDArray[np.floating[Any]], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    return np.atleast_2d(np.cov(rows.T, bias=True, aweights=weights))
