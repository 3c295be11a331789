"""What the measures of a cell speak for: its nucleus in red cells, and its parts against each other.

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
from orchestrator.model_contract import LARGEST_UNKNOWN, NUM_CLASSES
from orchestrator.vision.found_cell import find_cell
from orchestrator.vision.morphometry import measure
from training.datasets import Sample

FEW: Final = 10
"""A device with fewer cells of a class whose measures are known says nothing about that class."""

APPEARANCE_WEIGHT: Final = 0.5
"""The network sees the cell's parts, too, so that they count half. With 0.25 and 0.75 the balanced accuracy
of devices left out is within 0.005 in the mean."""

APPEARANCE_LIMIT: Final = 2.0
"""The most by which it lets a class fall behind the one that it speaks for: on a microscope that shows parts
otherwise it is wrong, and must not be sure. Without a limit the mean of devices left out is 0.005 lower, and
the temperature that fits them 2.4 and not 1.5."""

SHRINKAGE: Final = 0.3
"""How far the covariance of a class is taken towards the mean of the classes' where measures are several: a
rare class has few cells to tell it."""


LIMITS: Final = (np.inf, APPEARANCE_LIMIT)
"""Of the evidence of the size, and of the appearance."""


class MorphometricEvidence(NamedTuple):
    """What is added to the logits: ``terms(size) @ size``, float32 ``[3, 5]``, and ``terms(the others) @
    appearance``, float32 ``[10, 5]``, within ``APPEARANCE_LIMIT`` of its largest; each where all its measures
    are known."""

    size: Float32Array
    appearance: Float32Array

    def logits(self, morphometry: NDArray[np.floating[Any]]) -> Float32Array:
        """What it adds for ``morphometry``, ``[N, 4]`` as in the model contract; float32 ``[N, 5]``."""
        added = np.zeros((len(morphometry), NUM_CLASSES), np.float32)
        for measures, table, limit in zip(_parts(morphometry), self, LIMITS, strict=True):
            known = _known(measures)
            evidence = terms(measures[known]) @ table
            added[known] += np.maximum(evidence, evidence.max(axis=1, keepdims=True) - limit)
        return added


NO_EVIDENCE: Final = MorphometricEvidence(*(np.zeros((rows, NUM_CLASSES), np.float32) for rows in (3, 10)))


def terms(measures: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """1, the measures, and the products of each with itself and those after it: of ``[N, M]`` ``[N, 1 + M + M
    (M + 1) / 2]``."""
    first, second = np.triu_indices(measures.shape[1])
    ones = np.ones_like(measures[:, :1])
    return np.concatenate([ones, measures, measures[:, first] * measures[:, second]], axis=1)


def morphometry_of(samples: Sequence[Sample], console: Console | None = None) -> Float32Array:
    """The measures of each sample's cell, found and measured as served; float32 ``[N, 4]`` as in the model
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
    """The evidence of ``morphometry``, ``[N, 4]``, in the classes of ``samples``; zeros for the size, or the
    others, where of some class no device has ``FEW`` cells in which it is known.

    The mean of a class is that of its devices' means, its covariance the mean within them plus that of their
    means, so that what differs between devices makes it less sure. Several images of a cell count as one. On
    average it neither raises nor lowers the logit of the true class: the energy of an image stays comparable
    to that of one of which nothing is known.
    """
    size, appearance = _parts(np.asarray(morphometry, np.float64))
    of_size = log_density(samples, size)
    of_appearance = log_density(samples, appearance, SHRINKAGE, APPEARANCE_WEIGHT)
    return MorphometricEvidence(
        NO_EVIDENCE.size if of_size is None else of_size,
        NO_EVIDENCE.appearance if of_appearance is None else of_appearance,
    )


def _parts(
    morphometry: NDArray[np.floating[Any]],
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    return morphometry[:, :1], morphometry[:, 1:]


def _known(measures: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    return np.asarray((measures > LARGEST_UNKNOWN).all(axis=1))  # false of NaN too


def log_density(
    samples: Sequence[Sample],
    measures: NDArray[np.floating[Any]],
    shrinkage: float = 0.0,
    weight: float = 1.0,
) -> Float32Array | None:
    """``weight`` times the log density of ``measures``, ``[N, M]``, in each class, as the table for their
    :func:`terms`; None where of some class no device has ``FEW`` cells in which all are known."""
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
            return None
        centres = np.array([np.average(measures[g], axis=0, weights=weights[g]) for g in groups])
        within = [_covariance(measures[g], weights[g]) for g in groups]
        means.append(centres.mean(axis=0))
        covariances.append(np.mean(within, axis=0) + _covariance(centres))
    pooled = np.mean(covariances, axis=0)
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
