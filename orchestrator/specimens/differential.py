"""Many cells to one differential: counts, exact intervals, flags, and what a person still has to look at.

Pure computation over what is kept of a specimen; the same cells and rules give the same differential.

References
----------
CLSI H20-A2, "Reference leukocyte (WBC) differential count" (the reference method: 400 cells).
Clopper and Pearson 1934 (:mod:`orchestrator.common.binomial_interval`).
Saerens et al. 2002 (:func:`orchestrator.routing.estimate_prior`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal

import numpy as np

from orchestrator import __version__
from orchestrator.common.binomial_interval import clopper_pearson, misclassified_share, ratio_interval
from orchestrator.labels import CELL_LABELS, LABELS, Label, Labels
from orchestrator.model_contract import CLASS_NAMES, NUM_CLASSES
from orchestrator.profiles import Profile
from orchestrator.routing import estimate_prior
from orchestrator.specimen import (
    UNVERIFIED_DEVICES,
    ClassCount,
    Differential,
    Range,
    ReleasedErrors,
    Specimen,
    SpecimenCell,
)
from orchestrator.specimens.reference_ranges import ADULTS, ReferenceRanges

MIN_CELLS: Final = 100
"""Practice counts 100 or 200 cells; below the former a share says too little to be printed."""

EQUAL_SHARES: Final = (1 / NUM_CLASSES,) * NUM_CLASSES


@dataclass(frozen=True, slots=True)
class DifferentialRules:
    """A site's rules.

    Below ``min_cells`` counted cells there are neither percentages nor a label-shift estimate.
    ``class_shares`` are, by profile, the shares of the classes under which its probabilities hold (see
    :func:`class_shares_of`); cells of a profile that has none take no part in the estimate. ``labels`` are
    what a person may call a cell.
    """

    min_cells: int = MIN_CELLS
    reference: ReferenceRanges = ADULTS
    class_shares: Mapping[str, tuple[float, ...]] = field(default_factory=lambda: MappingProxyType({}))
    labels: Labels = LABELS

    def __post_init__(self) -> None:
        if self.min_cells < 1:
            raise ValueError(f"min_cells: expected at least 1, received {self.min_cells}")


def class_shares_of(
    profiles: Mapping[str, Profile], training_prior: tuple[float, ...] = EQUAL_SHARES
) -> Mapping[str, tuple[float, ...]]:
    """The shares of the classes under which each profile's probabilities hold: with routing ``none`` those
    among the images that the model was trained on, with ``prior`` those that it weighs by. Routing ``main``
    and ``aux`` shut classes out, after which their shares cannot be estimated: such a profile has none."""
    shares: dict[str, tuple[float, ...]] = {}
    for name, profile in profiles.items():
        if profile.routing.mode == "none":
            shares[name] = training_prior
        elif profile.routing.prior is not None:
            shares[name] = profile.routing.prior
    return MappingProxyType(shares)


def differential(
    specimen: Specimen,
    rules: DifferentialRules,
    now: datetime,
    released_errors: ReleasedErrors | None = None,
) -> Differential:
    """What the cells of ``specimen`` come to at ``now`` (aware, UTC).

    Where audits know the error of the cells that nobody looked at (``released_errors``), the intervals carry
    it (:func:`~orchestrator.common.binomial_interval.misclassified_share`); it is that of specimens like
    those of the audit, and can be larger where a class is much rarer than there. What a person decided has
    none.

    A cell counts as what a person said, else as the service's class, else as ``Unidentified`` where the
    service asks for a review. Cells that wait count nowhere, nor do failed ones that no
    person named. What its label says is no white cell is none of the whole that shares are of.
    """
    counted = [cell for cell in specimen.cells if cell.label is not None and cell.state != "waiting"]
    rows = _rows(counted, rules.labels)
    white = sum(number for label, number in rows if label.is_whole)
    unseen = Counter(cell.label for cell in counted if cell.is_unseen)
    errors = None if released_errors is None else released_errors.limits
    reviewed = sorted(
        (cell.result.confidence, cell.number, cell.cell_id)
        for cell in specimen.cells
        if cell.result is not None and cell.needs_review
    )
    return Differential(
        specimen=specimen,
        counts=tuple(
            _class_count(
                label,
                number,
                white,
                specimen.order.total_wbc,
                rules,
                _limits(label, number, white, unseen, errors),
            )
            for label, number in rows
        ),
        cells_counted=white,
        cells_waiting=_in_state(specimen, "waiting"),
        # A cell that the service could not analyse and a person named is counted, and no failure any more.
        cells_failed=sum(cell.state == "failed" and cell.label is None for cell in specimen.cells),
        min_cells=rules.min_cells,
        review_list=tuple(cell_id for _, _, cell_id in reviewed),
        label_shift=_label_shift(specimen, rules),
        models=tuple(dict.fromkeys(cell.result.model for cell in specimen.cells if cell.result is not None)),
        service_version=__version__,
        computed_at=now,
        reference_source=rules.reference.source,
        released_errors=released_errors,
    )


def _in_state(specimen: Specimen, state: Literal["waiting", "failed"]) -> int:
    return sum(cell.state == state for cell in specimen.cells)


def _rows(cells: Iterable[SpecimenCell], labels: Labels) -> list[tuple[Label, int]]:
    """What the cells count as, and how many of each: those of which there is always a row, then those that a
    person used, in the site's order, then names that the site has no more."""
    tally = Counter(cell.label for cell in cells if cell.label is not None)
    for name, number in list(tally.items()):
        if (whole := labels.of(name).part_of) is not None:
            tally[whole] += number
    known = [label for label in labels if label.name in CELL_LABELS or tally[label.name]]
    gone = [labels.of(name) for name in sorted(tally) if name not in labels]
    return [(label, tally[label.name]) for label in (*known, *gone)]


def _limits(
    label: Label,
    count: int,
    white: int,
    unseen: Mapping[str | None, int],
    errors: Mapping[str, float] | None,
) -> tuple[float, float]:
    """Of the share of a label, in [0, 1], or of its ratio to the ``white`` cells; ``unseen`` are cells that
    no person looked at, by label."""
    if not white:
        return 0.0, 1.0
    if label.denominator != "white_cells":
        return ratio_interval(count, white)
    if errors is None:
        return clopper_pearson(count, white)
    wrong = errors.get(label.name, 0.0) * unseen.get(label.name, 0) / max(count, 1)
    others = [
        (number, errors[name]) for name, number in unseen.items() if name and name != label.name and number
    ]
    largest = max((error for _, error in others), default=0.0)
    others_wrong = largest * sum(number for number, _ in others) / max(white - count, 1)
    return misclassified_share(count, white, wrong, others_wrong)


def _class_count(
    label: Label,
    count: int,
    white: int,
    total_wbc: float | None,
    rules: DifferentialRules,
    limits: tuple[float, float],
) -> ClassCount:
    reference = rules.reference.ranges.get(label.name)
    told = ClassCount(
        label.name, count, None, None, None, None, reference, None, label.denominator, label.part_of
    )
    if white < rules.min_cells or label.denominator == "none":
        return told
    low, high = limits
    percentage = 100 * count / white
    flag: Literal["low", "high"] | None = None
    if reference is not None and percentage < reference.low:
        flag = "low"
    elif reference is not None and percentage > reference.high:
        flag = "high"
    told = replace(told, percentage=percentage, interval=Range(100 * low, 100 * high), flag=flag)
    if total_wbc is None or label.denominator != "white_cells":
        return told
    return replace(
        told,
        absolute=total_wbc * count / white,
        absolute_interval=Range(total_wbc * low, total_wbc * high),
    )


def _label_shift(specimen: Specimen, rules: DifferentialRules) -> tuple[float, ...] | None:
    """The shares of the five classes by EM over the cells' probabilities, where a person's decision is
    certain.

    A cell that a person calls none of the five, as unidentified ones, is left out; so are finds that do not
    count, and cells of a profile whose shares are unknown. Cells of profiles with different shares do not go
    into one estimate. On an unverified device nobody knows what the probabilities are worth: there is none
    before all its cells are decided.
    """
    counted = [cell for cell in specimen.cells if cell.label is not None]
    if any(cell.decision is None and _is_suggestion(cell) for cell in counted):
        return None
    rows: list[tuple[float, ...]] = []
    shares: set[tuple[float, ...]] = set()
    for cell in counted:
        if cell.result is None or (known := rules.class_shares.get(cell.result.profile)) is None:
            continue
        if (row := _known_or_probable(cell, rules.labels)) is not None:
            rows.append(row)
            shares.add(known)
    if len(rows) < rules.min_cells or len(shares) != 1:
        return None
    (training_prior,) = shares
    return tuple(float(share) for share in estimate_prior(np.array(rows), training_prior))


def _is_suggestion(cell: SpecimenCell) -> bool:
    return cell.result is not None and cell.result.device_state in UNVERIFIED_DEVICES


def _known_or_probable(cell: SpecimenCell, labels: Labels) -> tuple[float, ...] | None:
    if cell.decision is None:
        return None if cell.result is None else cell.result.probabilities
    if (found := labels.class_of(cell.decision.label)) is None:
        return None
    return tuple(float(name == found) for name in CLASS_NAMES)
