"""Cells of one microscope, as the served model sees them, that a person labelled."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MAX_FEATURES, NUM_CLASSES

MOST_CELLS: Final = 2000
"""More teach a linear head little, and its fit takes the cube of their number."""

MIN_CELLS: Final = 5
"""Of a class: with fewer it is not learnt, and what was found of it says nothing."""

MIN_GROUPS: Final = 2

Logits = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Examples:
    """N labelled cells.

    ``features`` are float32 ``[N, V, F]`` and ``logits`` float64 ``[N, V, 5]``, both the model's own without
    any site's head, of V views of each cell; ``labels`` are int ``[N]``, in the order of
    ``CLASS_NAMES``; ``groups`` name what must not be learnt from and scored on at once: the specimen, else
    the slide, else the cell; ``ids`` name the cells for a person.

    Raises :class:`~orchestrator.errors.ConfigurationError` for anything else.
    """

    features: Float32Array
    logits: Logits
    labels: NDArray[np.intp]
    groups: tuple[str, ...]
    ids: tuple[str, ...]

    def __post_init__(self) -> None:
        cells = len(self.labels)
        require_number(cells)
        if self.features.ndim != 3 or not 0 < self.features.shape[2] <= MAX_FEATURES:
            raise ConfigurationError(f"expected features [{cells}, V, F], received {self.features.shape}")
        if not len(self.features) == len(self.logits) == len(self.groups) == len(self.ids) == cells:
            raise ConfigurationError("expected features, logits, labels, groups and ids of the same cells")
        if self.logits.shape[1:] != (self.features.shape[1], NUM_CLASSES):
            raise ConfigurationError(f"expected {NUM_CLASSES} logits a view, received {self.logits.shape}")
        if not (np.isfinite(self.features).all() and np.isfinite(self.logits).all()):
            raise ConfigurationError("expected finite features and logits")
        if not ((self.labels >= 0) & (self.labels < NUM_CLASSES)).all():
            raise ConfigurationError(f"expected labels from 0 to {NUM_CLASSES - 1}")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> tuple[int, ...]:
        """Cells of each class."""
        return tuple(int(n) for n in np.bincount(self.labels, minlength=NUM_CLASSES))

    @property
    def mean_features(self) -> Float32Array:
        """Of each cell, float32 ``[N, F]``."""
        return np.asarray(self.features.mean(axis=1))

    @property
    def mean_logits(self) -> Logits:
        """Of each cell, float64 ``[N, 5]``."""
        return np.asarray(self.logits.mean(axis=1))

    def part(self, chosen: NDArray[np.intp]) -> "Examples":
        """The cells at these places."""
        return Examples(
            self.features[chosen],
            self.logits[chosen],
            self.labels[chosen],
            tuple(self.groups[i] for i in chosen),
            tuple(self.ids[i] for i in chosen),
        )


def require_number(cells: int) -> None:
    """Raises :class:`~orchestrator.errors.ConfigurationError` where so many are not learnt from."""
    if not 0 < cells <= MOST_CELLS:
        raise ConfigurationError(f"expected 1 to {MOST_CELLS} labelled cells, received {cells}")


def class_weights(labels: NDArray[np.intp]) -> Logits:
    """float64 ``[N]``, together 1: every class that is there counts the same, however many cells it has."""
    counts = np.bincount(labels, minlength=NUM_CLASSES)
    return np.asarray(1.0 / counts[labels] / (counts > 0).sum())


def folds_of(groups: tuple[str, ...], labels: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """A number of a fold for each cell, ``[N]``: whole groups, those of a class spread over the folds."""
    names, group = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), NUM_CLASSES), int)
    np.add.at(counts, (group, labels), 1)
    order = np.lexsort((np.arange(len(names)), -counts.sum(axis=1), counts.argmax(axis=1)))
    folds = np.empty(len(names), np.intp)
    folds[order] = np.arange(len(names)) % min(most, len(names))
    return folds[group]
