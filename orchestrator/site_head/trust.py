"""Whether a learnt head may be switched on: what it does to cells of groups that it was not learnt from."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from orchestrator.model_contract import CLASS_NAMES, NUM_CLASSES
from orchestrator.site_head.examples import MIN_GROUPS, Examples, Logits, folds_of
from orchestrator.site_head.learning import FOLDS, Learnt, Space, applied, cross_fit, losses

DRAWS: Final = 2000
CONFIDENCE: Final = 0.95
LIKELY_ERROR: Final = 0.05
"""A label that a head learnt from the other groups gives no more than this probability."""

CURVE: Final = (3, 5, 10, 20, 50)
MORE: Final = 10

Decision = Literal["recommended", "not better", "too few"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The model's own head (``before``) and the site's (``after``) on the same cells.

    Balanced accuracies in [0, 1], of the classes with examples; ``gain`` with its 95 % interval by drawing
    groups anew. ``recalls_before`` and ``recalls_after`` are by class, None without a cell.
    """

    cells: int
    groups: int
    before: float
    after: float
    after_interval: tuple[float, float]
    gain: float
    gain_interval: tuple[float, float]
    recalls_before: tuple[float | None, ...]
    recalls_after: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Trust:
    """What a person must see before a head is switched on.

    ``kept`` are the classes that stay as the model has them, for want of examples; ``wrong`` and
    ``likely_label_errors`` are ids of cells, the worst first; ``curve`` is balanced accuracy on left-out
    cells by cells learnt of each class; ``ten_more`` what ten more of each class would add to it, as the last
    halving tells (0 where it tells nothing).
    """

    decision: Decision
    why: str
    left_out: Comparison
    hold_out: Comparison | None
    counts: tuple[int, ...]
    kept: tuple[str, ...]
    wrong: tuple[str, ...]
    likely_label_errors: tuple[str, ...]
    curve: tuple[tuple[int, float], ...]
    ten_more: tuple[float, ...]


def judge(examples: Examples, learnt: Learnt, hold_out: Examples | None = None) -> Trust:
    """Judge a head by the groups left out while it was learnt, and by a hold-out where there is one."""
    left_out = compare(examples, examples.mean_logits, learnt.left_out)
    held = None
    if hold_out is not None:
        new = applied(hold_out.mean_features, hold_out.mean_logits, learnt.delta)
        held = compare(hold_out, hold_out.mean_logits, new)
    decision, why = decide(examples, learnt, left_out, held)
    loss = losses(learnt.left_out / learnt.temperature, examples.labels)
    worst = np.argsort(-loss, kind="stable")
    wrong = [i for i in worst if learnt.left_out[i].argmax() != examples.labels[i]]
    suspect = [i for i in wrong if loss[i] >= -np.log(LIKELY_ERROR)]
    curve, ten_more = _curves(examples, learnt)
    return Trust(
        decision=decision,
        why=why,
        left_out=left_out,
        hold_out=held,
        counts=examples.counts,
        kept=tuple(CLASS_NAMES[c] for c in range(NUM_CLASSES) if c not in learnt.learnt),
        wrong=tuple(examples.ids[i] for i in wrong),
        likely_label_errors=tuple(examples.ids[i] for i in suspect),
        curve=curve,
        ten_more=ten_more,
    )


def compare(cells: Examples, before: Logits, after: Logits) -> Comparison:
    """Two answers about the same cells."""
    right = np.stack([before.argmax(axis=1) == cells.labels, after.argmax(axis=1) == cells.labels])
    drawn = accuracies_drawn(cells, right)
    ends = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(drawn[:, 1], ends)
    gain_low, gain_high = np.quantile(drawn[:, 1] - drawn[:, 0], ends)
    old, new = (balanced_accuracy(one, cells.labels) for one in right)
    return Comparison(
        cells=len(cells),
        groups=len(set(cells.groups)),
        before=old,
        after=new,
        after_interval=(float(low), float(high)),
        gain=new - old,
        gain_interval=(float(gain_low), float(gain_high)),
        recalls_before=_recalls(right[0], cells.labels),
        recalls_after=_recalls(right[1], cells.labels),
    )


def balanced_accuracy(right: NDArray[np.bool_], labels: NDArray[np.intp]) -> float:
    """The mean over the classes that are there of the share that is right."""
    return float(np.mean([r for r in _recalls(right, labels) if r is not None]))


def _recalls(right: NDArray[np.bool_], labels: NDArray[np.intp]) -> tuple[float | None, ...]:
    return tuple(
        float(right[labels == c].mean()) if (labels == c).any() else None for c in range(NUM_CLASSES)
    )


def accuracies_drawn(cells: Examples, right: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Balanced accuracies before and after, ``[DRAWS, 2]``, of groups drawn anew: of those of a class as many
    as it has, so that no draw lacks one. ``right`` ``[2, N]`` is which cells are so, before and after."""
    group = np.unique(cells.groups, return_inverse=True)[1]
    rng = np.random.default_rng(0)
    total = np.zeros((DRAWS, 2))
    classes = np.unique(cells.labels)
    for c in classes:
        of = cells.labels == c
        mine, place = np.unique(group[of], return_inverse=True)
        sizes = np.bincount(place)
        sums = np.stack([np.bincount(place, weights=right[k][of]) for k in range(2)])
        taken = rng.integers(len(mine), size=(DRAWS, len(mine)))
        total += (sums[:, taken].sum(axis=2) / sizes[taken].sum(axis=1)).T / len(classes)
    return total


def decide(
    examples: Examples, learnt: Learnt, left_out: Comparison, held: Comparison | None
) -> tuple[Decision, str]:
    """Whether it may be switched on without a reason, and why not."""
    for c in learnt.learnt:
        groups = {g for g, label in zip(examples.groups, examples.labels, strict=True) if label == c}
        if len(groups) < MIN_GROUPS:
            return "too few", (
                f"all {CLASS_NAMES[c].lower()}s are of one specimen, and nothing tells how those of another "
                f"fare: label some of at least {MIN_GROUPS}"
            )
    if left_out.gain_interval[0] <= 0:
        return "not better", (
            f"on specimens left out it is {left_out.gain:+.3f} ({left_out.gain_interval[0]:+.3f} to "
            f"{left_out.gain_interval[1]:+.3f}): not better than before with 95 % confidence"
        )
    if held is not None and held.gain < 0:
        return "not better", f"on the hold-out it is worse than before ({held.gain:+.3f})"
    return "recommended", (
        f"on specimens left out it is better by {left_out.gain:.3f} ({left_out.gain_interval[0]:.3f} to "
        f"{left_out.gain_interval[1]:.3f})"
    )


def _curves(examples: Examples, learnt: Learnt) -> tuple[tuple[tuple[int, float], ...], tuple[float, ...]]:
    """The curve by cells of each class, and what ten more of each class would bring."""
    space = Space.of(examples.features)
    folds = folds_of(examples.groups, examples.labels, FOLDS)
    rank = _ranks(examples)

    def accuracy(used: NDArray[np.bool_]) -> float:
        said = cross_fit(space, examples, folds, learnt.strength, used)
        return balanced_accuracy(said.argmax(axis=1) == examples.labels, examples.labels)

    largest = max(examples.counts)
    whole = balanced_accuracy(learnt.left_out.argmax(axis=1) == examples.labels, examples.labels)
    sizes = [n for n in CURVE if n < largest]
    curve = [(n, accuracy(rank < n)) for n in sizes] + [(largest, whole)]
    more = []
    for c, count in enumerate(examples.counts):
        if c not in learnt.learnt:
            more.append(0.0)
            continue
        halved = accuracy((examples.labels != c) | (rank < count / 2))
        more.append(max(0.0, whole - halved) * float(np.log2((count + MORE) / count)))
    return tuple(curve), tuple(more)


def _ranks(examples: Examples) -> NDArray[np.intp]:
    """The place of each cell among those of its class: one of each group in turn."""
    turn: dict[tuple[int, str], int] = {}
    turns = []
    for label, group in zip(examples.labels.tolist(), examples.groups, strict=True):
        turns.append(turn.setdefault((label, group), 0))
        turn[label, group] += 1
    order = np.argsort(np.array(turns), kind="stable")
    rank = np.empty(len(turns), np.intp)
    seen = [0] * NUM_CLASSES
    for i in order:
        label = int(examples.labels[i])
        rank[i] = seen[label]
        seen[label] += 1
    return rank
