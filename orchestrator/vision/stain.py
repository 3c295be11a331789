"""Stain normalisation: Reinhard (statistics in LAB) and Macenko (stain vectors in optical density).

References
----------
Reinhard et al. 2001, "Color transfer between images", IEEE CG&A 21(5):34-41.
Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis", ISBI.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import UInt8Array

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LabStatistics:
    """Mean and standard deviation of an image per channel of OpenCV's 8-bit LAB (each 0 to 255)."""

    mean: Triple
    std: Triple


@dataclass(frozen=True, slots=True)
class MacenkoReference:
    """Two unit stain vectors (RGB optical density) and the 99th percentile of each one's concentration among
    the stained pixels of a cell."""

    first_stain: Triple
    second_stain: Triple
    max_concentrations: tuple[float, float]


UNCALIBRATED_MACENKO = MacenkoReference(
    first_stain=(0.5626, 0.7201, 0.4062),
    second_stain=(0.2159, 0.8012, 0.5581),
    max_concentrations=(1.9705, 1.0308),
)
"""The haematoxylin-eosin reference in common use. A Giemsa smear is stained with neither, and mapping it
there ruins it: this is the variant that fails in the reference's table, kept to show just that."""

CALIBRATED_MACENKO = MacenkoReference(
    first_stain=(0.6345, 0.7072, 0.3118),
    second_stain=(0.3447, 0.9287, 0.1363),
    max_concentrations=(1.1461, 2.8129),
)
"""Median over the cells of every second image of the Train split (Raabin-WBC and Barcelona PBC)."""


def lab_statistics(rgb: UInt8Array) -> LabStatistics:
    """LAB statistics of one image, uint8 ``[H, W, 3]``."""
    mean, std = cv2.meanStdDev(cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB))
    return LabStatistics(_triple(mean.ravel()), _triple(std.ravel()))


def fit_reinhard_reference(images: Iterable[UInt8Array]) -> LabStatistics:
    """The mean over images of each image's LAB mean and standard deviation.

    Raises ``ValueError`` where there is no image.
    """
    statistics = [lab_statistics(rgb) for rgb in images]
    if not statistics:
        raise ValueError("expected at least one image to take the Reinhard reference from, received none")
    return LabStatistics(
        _triple(np.mean([s.mean for s in statistics], axis=0)),
        _triple(np.mean([s.std for s in statistics], axis=0)),
    )


def reinhard(rgb: UInt8Array, reference: LabStatistics) -> UInt8Array:
    """Give the image the reference's LAB mean and standard deviation.

    The transfer is affine per channel, so that it is one look-up table of 256 entries per channel.
    A channel without variation only moves its mean.
    """
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    mean, std = cv2.meanStdDev(lab)
    target_mean, target_std = np.array([reference.mean, reference.std])[:, :, np.newaxis]
    scale = np.divide(target_std, std, out=np.ones_like(std), where=std > 1e-6)
    table = (np.arange(256.0) - mean) * scale + target_mean
    table_u8 = np.clip(np.rint(table), 0, 255).astype(np.uint8)
    mapped = cv2.LUT(lab, np.ascontiguousarray(table_u8.T).reshape(256, 1, 3))
    return np.asarray(cv2.cvtColor(mapped, cv2.COLOR_LAB2RGB), np.uint8)


def optical_density(rgb: UInt8Array) -> NDArray[np.float64]:
    """Beer-Lambert optical density, float64 ``[H * W, 3]``, with 240 as the light's intensity."""
    return np.maximum(-np.log((rgb.reshape(-1, 3).astype(np.float64) + 1) / 240), 0)


MIN_DENSITY = 0.15
"""Least optical density of a stained pixel, in every channel."""


def stained_pixels(rgb: UInt8Array) -> NDArray[np.bool_]:
    """Where an image is stained, bool ``[H, W]``."""
    return np.asarray((optical_density(rgb) > MIN_DENSITY).all(axis=1)).reshape(rgb.shape[:2])


def macenko_stains(
    rgb: UInt8Array, where: NDArray[np.bool_] | None = None, angle_percentile: float = 1.0
) -> MacenkoReference | None:
    """The two stain vectors of an image and the 99th percentile of their concentrations.

    Both of its stained pixels alone, and of those only the ones at ``where``, bool ``[H, W]``: neither empty
    field around a cell nor red cells change anything. None where fewer than 50 are stained, or where those
    lie on one line so that there are no two stains to tell apart.
    """
    stained_here = stained_pixels(rgb) if where is None else stained_pixels(rgb) & where
    stained = optical_density(rgb[stained_here])
    if len(stained) < 50:
        return None
    eigenvalues, eigenvectors = np.linalg.eigh(np.cov(stained.T))
    if eigenvalues[1] < 1e-9:
        return None
    plane = eigenvectors[:, [2, 1]]
    plane = plane * np.where(plane.sum(axis=0) < 0, -1.0, 1.0)
    projected = stained @ plane
    angles = np.arctan2(projected[:, 1], projected[:, 0])
    low, high = np.percentile(angles, [angle_percentile, 100 - angle_percentile])
    one, other = (plane @ np.array([np.cos(angle), np.sin(angle)]) for angle in (low, high))
    # The convention of the paper's code: the vector with more red density is the nuclear (blue) stain.
    stains = np.stack([one, other] if one[0] > other[0] else [other, one])
    stains = np.abs(stains) / np.linalg.norm(stains, axis=1, keepdims=True)
    if abs(float(stains[0] @ stains[1])) > 0.9999:
        return None
    high_concentrations = np.percentile(_concentrations(stained, stains), 99, axis=1)
    if (high_concentrations <= 0).any():
        return None
    return MacenkoReference(
        _triple(stains[0]),
        _triple(stains[1]),
        (float(high_concentrations[0]), float(high_concentrations[1])),
    )


def fit_macenko_reference(cells: Iterable[tuple[UInt8Array, NDArray[np.bool_]]]) -> MacenkoReference:
    """The median stains over images, each with where its cell is: what calibrates Macenko for a stain that is
    not H&E.

    Raises ``ValueError`` where no cell shows two stains.
    """
    found = [stains for rgb, where in cells if (stains := macenko_stains(rgb, where)) is not None]
    if not found:
        raise ValueError("expected at least one cell that shows two stains, found none")
    first = np.median([s.first_stain for s in found], axis=0)
    second = np.median([s.second_stain for s in found], axis=0)
    concentrations = np.median([s.max_concentrations for s in found], axis=0)
    return MacenkoReference(
        _triple(first / np.linalg.norm(first)),
        _triple(second / np.linalg.norm(second)),
        (float(concentrations[0]), float(concentrations[1])),
    )


def macenko(
    rgb: UInt8Array, reference: MacenkoReference, where: NDArray[np.bool_] | None = None
) -> UInt8Array:
    """Express the image's stain concentrations, as its pixels at ``where`` have them, in the reference's
    stains.

    An image in which no two stains can be told apart is returned as it is.
    """
    own = macenko_stains(rgb, where)
    if own is None:
        return rgb
    concentrations = _concentrations(optical_density(rgb), np.array([own.first_stain, own.second_stain]))
    scale = np.array(reference.max_concentrations) / np.array(own.max_concentrations)
    target = np.array([reference.first_stain, reference.second_stain])
    mapped_density = (concentrations * scale[:, np.newaxis]).T @ target
    mapped = 240 * np.exp(-np.maximum(mapped_density, -1))  # 240 e is white already, and more may overflow
    return np.asarray(np.clip(np.rint(mapped), 0, 255), np.uint8).reshape(rgb.shape)


def _concentrations(density: NDArray[np.float64], stains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Least-squares concentrations, float64 ``[2, pixels]``; stains are float64 ``[2, 3]``."""
    return np.asarray(np.linalg.lstsq(stains.T, density.T, rcond=None)[0])


def _triple(values: NDArray[Any]) -> Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third
