"""What the size of a cell's nucleus, measured in red cells, speaks for.

A crop of a fixed number of cell sizes takes absolute size away. It is given back as evidence: the log density
of the size (log2 of the nucleus' diameter over the red cells' median) in each class, a normal one, which is
added to the logits where the size is known (naive Bayes: given its class, size tells nothing more of how a
cell looks). No network has to be trained for it.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from orchestrator.domain import Float32Array
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.vision.found_cell import find_cell
from orchestrator.vision.red_cells import relative_size
from training.datasets import Sample

FEW: Final = 10
"""A device with fewer cells of a class whose size is known says nothing about that class."""


def sizes_of(samples: Sequence[Sample], console: Console | None = None) -> NDArray[np.float64]:
    """The size of each sample's cell, float64 ``[N]``; NaN where it is not to be seen.

    Raises :class:`orchestrator.errors.InvalidImage` for a file that cannot be decoded.
    """

    def size(sample: Sample) -> float:
        rgb = sample.load()
        found = find_cell(rgb)
        value = None if found is None else relative_size(rgb, found)
        return float("nan") if value is None else value

    with ThreadPoolExecutor() as pool:
        sizes = pool.map(size, samples)
        if console is not None:
            sizes = iter(track(sizes, "measuring cells in red cells", total=len(samples), console=console))
        return np.array(list(sizes))


def fit_size_evidence(samples: Sequence[Sample], sizes: NDArray[np.float64]) -> Float32Array | None:
    """``[1, s, s^2] @`` this is the evidence of a size s, float32 ``[3, 5]``; None where no device has
    ``FEW`` known sizes of some class.

    The mean of a class is that of its devices' means, its variance the mean within them plus that of their
    means, so that what differs between devices makes it less sure. Several images of a cell count as one. On
    average it neither raises nor lowers the logit of the true class: the energy of an image stays comparable
    to that of one whose size is unknown.
    """
    images: dict[tuple[str, str], int] = {}
    for sample in samples:
        images[sample.device, sample.cell] = images.get((sample.device, sample.cell), 0) + 1
    weights = np.array([1 / images[s.device, s.cell] if s.cell else 1.0 for s in samples])
    classes = np.array([sample.class_index for sample in samples])
    devices = np.array([sample.device for sample in samples])
    known = np.isfinite(sizes)
    evidence = np.zeros((3, NUM_CLASSES))
    for index in range(NUM_CLASSES):
        groups = [known & (classes == index) & (devices == device) for device in sorted(set(devices))]
        groups = [group for group in groups if np.count_nonzero(group) >= FEW]
        if not groups:
            return None
        means = [float(np.average(sizes[group], weights=weights[group])) for group in groups]
        within = [
            float(np.average((sizes[group] - mean) ** 2, weights=weights[group]))
            for group, mean in zip(groups, means, strict=True)
        ]
        mean, variance = float(np.mean(means)), float(np.mean(within) + np.var(means))
        evidence[:, index] = (
            -(mean**2) / (2 * variance) - np.log(variance) / 2,
            mean / variance,
            -0.5 / variance,
        )
    powers = np.stack([np.ones(known.sum()), sizes[known], sizes[known] ** 2], axis=1)
    of_truth = (powers @ evidence)[np.arange(len(powers)), classes[known]]
    evidence[0] -= np.average(of_truth, weights=weights[known])
    return evidence.astype(np.float32)
