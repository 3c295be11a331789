"""Which unlabelled cells to label next: unsure ones, unlike each other, of every class that the head sees.

References
----------
Sener and Savarese 2018, "Active learning for convolutional neural networks: a core-set approach", ICLR
(k-centre).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from orchestrator.domain import Float32Array
from orchestrator.model_contract import NUM_CLASSES
from orchestrator.site_head.examples import Logits
from orchestrator.site_head.learning import SPREAD_FLOOR, softmax

UNSURE: Final = 0.5
"""How much more a cell counts of which the two best classes are equally likely."""


def suggest(
    features: Float32Array,
    logits: Logits,
    wanted: int,
    *,
    labelled: Float32Array | None = None,
    counts: tuple[int, ...] = (0,) * NUM_CLASSES,
) -> tuple[int, ...]:
    """Places of the cells to label next, the first first: ``wanted`` of the N at most.

    ``features`` are float32 ``[N, F]``, ``logits`` ``[N, 5]`` by the head that answers now; ``labelled`` are
    the features of the cells that are labelled already, ``counts`` how many each class has of them. The class
    with the fewest, of those that a cell is still taken for, comes next; of its cells the one farthest from
    all that are chosen or labelled, where an unsure cell counts as farther.
    """
    probabilities = np.sort(softmax(logits), axis=1)
    unsure = 1 - (probabilities[:, -1] - probabilities[:, -2])
    taken_for = logits.argmax(axis=1)
    places = _standardised(features)
    nearest = np.full(len(places), np.inf)
    if labelled is not None and len(labelled):
        both = _standardised(np.concatenate([features, labelled]))
        places = both[: len(features)]
        nearest = np.min([_distances(places, one) for one in both[len(features) :]], axis=0)
    nearest = np.minimum(nearest, _distances(places, places.mean(axis=0)) + 1.0)
    have, free = list(counts), np.ones(len(places), bool)
    chosen: list[int] = []
    while free.any() and len(chosen) < wanted:
        left = np.unique(taken_for[free])
        rarest = min(left.tolist(), key=lambda c: (have[c], c))
        candidates = np.flatnonzero(free & (taken_for == rarest))
        best = int(candidates[np.argmax((nearest * (1 + UNSURE * unsure))[candidates])])
        chosen.append(best)
        free[best] = False
        have[rarest] += 1
        nearest = np.minimum(nearest, _distances(places, places[best]))
    return tuple(chosen)


def _standardised(features: Float32Array) -> NDArray[np.float64]:
    raw = features.astype(np.float64)
    spread = raw.std(axis=0)
    scale = spread + SPREAD_FLOOR * spread.mean()
    return np.asarray((raw - raw.mean(axis=0)) / np.where(scale > 0, scale, 1.0) / np.sqrt(raw.shape[1]))


def _distances(places: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(places - one, axis=1))
