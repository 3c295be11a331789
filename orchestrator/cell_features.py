"""Whether cells look like those of a microscope, by the features of the served network.

Of the features of one model a projection keeps the few directions in which devices differ, within a class of
cells (`wbc-train features`). A profile may carry where the cells of its device lie there, class by class: so
a specimen of neutrophils alone is compared with neutrophils. A cell looks like those of the profile where it
is no farther from their mean than nine in ten of them. That says little of one cell, and is judged over
:data:`MIN_CELLS`. docs/accuracy.md has what this finds and what it does not.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array, ModelIdentity
from orchestrator.model_contract import NUM_CLASSES

PROJECTION_FILE: Final = "cell_features.npz"

MIN_CELLS: Final = 20
"""Under it nothing is said of a microscope. With 20 cells no window of a profile's own device was taken for
another's, however skewed its classes."""

LEAST_SHARE: Final = 0.5
"""Of a profile's own cells nine in ten look like them; of its worst slide 0.64."""

OFFERED_SHARE: Final = 0.8
"""From this share on a profile is offered: an unknown device fits the widest known one by some 0.7."""

USUAL_SHARE: Final = 0.9
PRIOR_CELLS: Final = 5
"""Imagined cells of a class at the device's mean, and twice as many at its limit over all classes."""

MIN_FITTED: Final = 50
"""Fewer say too little of what is usual on a device."""

Likeness = Mapping[str, bool]
"""By profile whether a cell looks like those of its device; of the profiles that can say so."""


@dataclass(frozen=True, slots=True)
class FeatureStatistics:
    """Where the cells of a device lie, by the features of the model of this version.

    ``means`` are, by class, D coordinates, and ``limits``, by class, the largest usual distance from them.
    """

    model_version: int
    means: tuple[tuple[float, ...], ...]
    limits: tuple[float, ...]

    def include(self, place: NDArray[np.floating], class_index: int) -> bool:
        """Whether a cell at ``place``, float ``[D]``, that was taken for this class is a usual one."""
        distance = np.linalg.norm(place - np.array(self.means[class_index]))
        return bool(distance <= self.limits[class_index])


@dataclass(frozen=True, slots=True)
class Projection:
    """The directions, float32 ``[F, D]``, in which devices differ by the F features of a model: of this
    version, with this SHA-256 (hex)."""

    model_version: int
    model_sha256: str
    directions: Float32Array

    def belongs_to(self, model: ModelIdentity) -> bool:
        """Whether they are of this model; by its version alone where a model server tells no hash."""
        return model.version == self.model_version and model.sha256 in (None, self.model_sha256)

    def place(self, features: Float32Array) -> NDArray[np.float64]:
        """Features, float32 ``[..., F]``, as D coordinates."""
        return np.asarray(features @ self.directions, np.float64)


@cache
def projection() -> Projection:
    """That of the shipped model."""
    with resources.files(__package__).joinpath(PROJECTION_FILE).open("rb") as file, np.load(file) as kept:
        return Projection(int(kept["model_version"]), str(kept["model_sha256"]), kept["directions"])


def likeness(
    features: Float32Array, class_index: int, model: ModelIdentity, known: Mapping[str, FeatureStatistics]
) -> Likeness | None:
    """Of which of the ``known`` profiles' cells one looks like, that was taken for this class of
    ``CLASS_NAMES``; ``features`` are float32 ``[F]``.

    None where nobody can say, as the projection, or all statistics, are of another model.
    """
    of_model = {name: one for name, one in known.items() if one.model_version == model.version}
    if not of_model or not (shipped := projection()).belongs_to(model):
        return None
    if len(features) != len(shipped.directions):  # another model, of which a server tells no hash
        return None
    place = shipped.place(features)
    return {name: one.include(place, class_index) for name, one in of_model.items()}


def device_statistics(
    places: NDArray[np.float64], classes: NDArray[np.intp], projection: Projection
) -> FeatureStatistics | None:
    """The statistics of one more device by a projection that is there, of N cells at ``places``, float
    ``[N, D]``; None where they are fewer than :data:`MIN_FITTED`.

    No slide is known here: the limits come from each cell's distance to the means of all others, so that
    cells of a further slide may fit less often.
    """
    if len(places) < MIN_FITTED:
        return None
    others = ~np.eye(len(places), dtype=bool)
    distances = np.array(
        [
            np.linalg.norm(place - class_means(places[rest], classes[rest])[own])
            for place, own, rest in zip(places, classes, others, strict=True)
        ]
    )
    return FeatureStatistics(
        projection.model_version, rounded(class_means(places, classes)), usual_limits(distances, classes)
    )


def class_means(places: NDArray[np.float64], classes: NDArray[np.intp]) -> NDArray[np.float64]:
    """float ``[5, D]``; a rare class' lies near that of all classes."""
    present = [places[classes == c].mean(axis=0) for c in range(NUM_CLASSES) if (classes == c).sum() >= 5]
    centre = np.mean(present, axis=0) if present else places.mean(axis=0)
    return np.stack(
        [
            (places[classes == c].sum(axis=0) + PRIOR_CELLS * centre) / ((classes == c).sum() + PRIOR_CELLS)
            for c in range(NUM_CLASSES)
        ]
    )


def usual_limits(distances: NDArray[np.float64], classes: NDArray[np.intp]) -> tuple[float, ...]:
    """By class the largest usual distance of N cells."""
    general = np.quantile(distances, USUAL_SHARE)
    limits = []
    for class_index in range(NUM_CLASSES):
        of = distances[classes == class_index]
        own = np.quantile(of, USUAL_SHARE) if len(of) else general
        limits.append((len(of) * own + 2 * PRIOR_CELLS * general) / (len(of) + 2 * PRIOR_CELLS))
    return tuple(round(float(limit), 3) for limit in limits)


def rounded(means: NDArray[np.float64]) -> tuple[tuple[float, ...], ...]:
    """As a profile's file has them."""
    return tuple(tuple(round(float(value), 3) for value in row) for row in means)


def own_share(profile: str, cells: Collection[Likeness]) -> float | None:
    """The share of cells that look like those of the profile, in [0, 1]; None where they are too few."""
    told = [cell[profile] for cell in cells if profile in cell]
    return sum(told) / len(told) if len(told) >= MIN_CELLS else None


def is_contradicted(profile: str, cells: Collection[Likeness]) -> bool:
    """Whether cells that came under a profile are not those of its device."""
    share = own_share(profile, cells)
    return share is not None and share < LEAST_SHARE


def resembled(cells: Collection[Likeness]) -> str | None:
    """The profile whose cells these look like most; None where they are too few or look like none."""
    names = {name for cell in cells for name in cell}
    shares = {name: share for name in sorted(names) if (share := own_share(name, cells)) is not None}
    best = max(shares, key=lambda name: shares[name], default=None)
    return best if best is not None and shares[best] >= OFFERED_SHARE else None
