"""Fits what :mod:`orchestrator.cell_features` compares cells with: the directions in which devices differ,
and where the cells of each lie.

The directions are those of a linear discriminant analysis between the devices' means of each class, against
the spread within class and device. A class counts as the network answers, which is all that the service
knows. Limits come from cells that the directions and means were fitted without, by slide or cell where these
are known.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.cell_features import (
    MIN_FITTED,
    FeatureStatistics,
    Projection,
    class_means,
    rounded,
    usual_limits,
)
from orchestrator.domain import ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import NUM_CLASSES
from training.datasets import Sample

DIRECTIONS: Final = 4
COMPONENTS: Final = 160
"""Principal components that the analysis looks at: 97 % of the spread of version 7's 1,280 features."""

RIDGE: Final = 0.3
"""Added to the spread within classes, in means of it: a few hundred cells do not tell 160 variances."""

FOLDS: Final = 5
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DeviceCells:
    """N cells: ``features`` are float ``[N, F]``, ``classes`` the network's answers, int ``[N]``;
    ``devices`` and ``groups`` (slide or cell), str ``[N]``."""

    features: Array
    classes: NDArray[np.intp]
    devices: NDArray[np.str_]
    groups: NDArray[np.str_]

    def part(self, chosen: NDArray[np.bool_]) -> "DeviceCells":
        return DeviceCells(
            self.features[chosen], self.classes[chosen], self.devices[chosen], self.groups[chosen]
        )


def group_of(sample: Sample) -> str:
    """What must not lie on both sides of a division: the slide, else the cell, else the image."""
    return f"{sample.device}/{sample.slide or sample.cell or sample.path}"


def fit_features(
    cells: DeviceCells, model: ModelIdentity, seed: int = 0
) -> tuple[Projection, dict[str, FeatureStatistics]]:
    """The projection, and the statistics of each device.

    Raises :class:`ConfigurationError` where a device has fewer cells than :data:`MIN_FITTED`, or there are
    fewer than two devices.
    """
    names, counts = np.unique(cells.devices, return_counts=True)
    if len(names) < 2 or counts.min() < MIN_FITTED:
        raise ConfigurationError(
            f"expected two devices or more with at least {MIN_FITTED} cells each, received "
            f"{', '.join(f'{name} {count}' for name, count in zip(names, counts, strict=True))}"
        )
    groups, group = np.unique(cells.groups, return_inverse=True)
    fold = np.random.default_rng(seed).integers(0, FOLDS, len(groups))[group]
    distances = np.zeros(len(cells.classes))
    for number in range(FOLDS):
        left_out = cells.part(fold == number)
        seen = cells.part(fold != number)
        directions = _directions(seen)
        means = {name: _means(seen, name, directions) for name in names}
        places = left_out.features @ directions
        own = np.stack([means[d][c] for d, c in zip(left_out.devices, left_out.classes, strict=True)])
        distances[fold == number] = np.linalg.norm(places - own, axis=1)
    directions = _directions(cells)
    statistics = {
        str(name): FeatureStatistics(
            model.version,
            rounded(_means(cells, name, directions)),
            usual_limits(distances[cells.devices == name], cells.classes[cells.devices == name]),
        )
        for name in names
    }
    kept = Projection(model.version, model.sha256 or "", directions.astype(np.float32))
    return kept, statistics


def features_table(statistics: FeatureStatistics) -> str:
    """The table ``[features]`` of a profile's file."""
    means = ",\n  ".join(json.dumps(list(row)) for row in statistics.means)
    return (
        f"[features]\nmodel_version = {statistics.model_version}\n"
        f"means = [\n  {means},\n]\nlimits = {json.dumps(list(statistics.limits))}\n"
    )


def write_features(path: Path, statistics: FeatureStatistics, source: str) -> None:
    """Put the table at the end of a profile's file, in place of one that is there; ``source``: what of."""
    text = path.read_text(encoding="utf-8")
    without = re.sub(r"\n*^\[features\](.|\n)*?(?=^\[(?!features)|\Z)", "\n", text, flags=re.MULTILINE)
    table = features_table(statistics).replace("[features]", f"[features]  # {source}", 1)
    path.write_text(f"{without.rstrip()}\n\n{table}", encoding="utf-8")


def write_projection(path: Path, projection: Projection) -> None:
    """The file that the service reads."""
    with path.open("wb") as file:
        np.savez_compressed(
            file,
            model_version=projection.model_version,
            model_sha256=projection.model_sha256,
            directions=projection.directions,
        )


def _directions(cells: DeviceCells) -> Array:
    """float ``[F, D]``: scaled so that the spread within class and device is about 1 along each."""
    centred = cells.features - cells.features.mean(axis=0)
    basis = np.linalg.eigh(np.cov(centred.T))[1][:, ::-1][:, :COMPONENTS]
    inner = centred @ basis
    names = np.unique(cells.devices)
    means = np.stack(
        [class_means(inner[cells.devices == n], cells.classes[cells.devices == n]) for n in names]
    )
    residuals = []
    for name in names:
        for class_index in range(NUM_CLASSES):
            of = inner[(cells.devices == name) & (cells.classes == class_index)]
            residuals.append(of - of.mean(axis=0) if len(of) else of)
    within = np.cov(np.concatenate(residuals).T)
    within += RIDGE * np.trace(within) / len(within) * np.eye(len(within))
    whitening = np.linalg.cholesky(np.linalg.inv(within))
    between = (means - means.mean(axis=0)).reshape(-1, inner.shape[1]) @ whitening
    axes = np.linalg.svd(between, full_matrices=False)[2][:DIRECTIONS]
    return np.asarray(basis @ whitening @ axes.T, np.float64)


def _means(cells: DeviceCells, name: str, directions: Array) -> Array:
    of = cells.devices == name
    return class_means(cells.features[of] @ directions, cells.classes[of])


def profile_files(folder: Path, devices: Mapping[str, str], found: Sequence[str]) -> dict[str, Path]:
    """By device the file of its profile. Raises :class:`ConfigurationError` where one has none."""
    files = {device: folder / f"{devices[device]}.toml" for device in found if device in devices}
    if missing := [device for device in found if device not in files or not files[device].is_file()]:
        raise ConfigurationError(f"expected a profile of {', '.join(missing)}; name it with --profile-of")
    return files
