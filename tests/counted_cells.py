"""Specimens whose cells have known results, without an image."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from orchestrator.domain import DEVICE_UNKNOWN, DeviceState, ModelIdentity
from orchestrator.labels import UNIDENTIFIED
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CellDecision,
    CellResult,
    Specimen,
    SpecimenCell,
    SpecimenOrder,
    SpecimenState,
)

NOW = datetime(2026, 3, 2, 9, 41, 12, tzinfo=UTC)
NOT_PRINTED = (
    "\n\x85\x9b\xa0\xad\u034f\u061c\u115f\u2003\u200f\u2028\u2029\u202e\u2066\ufe0f\ufeff\ufff9\U000e0041"
)
"""Of each kind that no laboratory prints in an identifier, one."""
MODEL = ModelIdentity("wbc", 4, "a" * 64)


def result(
    class_name: str = "Neutrophil",
    *,
    confidence: float = 0.96,
    review: Sequence[str] = (),
    margin: float | None = None,
    profile: str = "raabin",
    model: ModelIdentity = MODEL,
    probabilities: Sequence[float] | None = None,
    device_state: DeviceState = "known",
) -> CellResult:
    rest = (1 - confidence) / (len(CLASS_NAMES) - 1)
    spread = tuple(confidence if name == class_name else rest for name in CLASS_NAMES)
    return CellResult(
        class_name=class_name,
        probabilities=tuple(probabilities) if probabilities is not None else spread,
        margin=confidence - rest if margin is None else margin,
        energy=-5.0,
        review_codes=tuple(review),
        focus_ratio=0.9,
        views=8,
        image_size=(360, 360),
        model=model,
        profile=profile,
        analysed_at=NOW,
        device_state=device_state,
    )


def suggestion(class_name: str = "Neutrophil", confidence: float = 0.96) -> CellResult:
    """What the service says of a cell where nobody chose the microscope's profile."""
    return result(
        class_name,
        confidence=confidence,
        review=(DEVICE_UNKNOWN,),
        profile="default",
        device_state="unknown",
    )


def cell(number: int, of: CellResult | str | None = None, *, decided: str | None = None) -> SpecimenCell:
    """``of`` is a result, the sentence of a failure, or None for a cell that waits."""
    found = of if isinstance(of, CellResult) else None
    return SpecimenCell(
        cell_id=f"cell-{number}",
        number=number,
        image_sha256=f"{number:064x}",
        state="waiting" if of is None else "analysed" if found else "failed",
        result=found,
        failure=of if isinstance(of, str) else None,
        decision=None if decided is None else CellDecision(decided, "ayse", NOW),
    )


def specimen(
    cells: Iterable[SpecimenCell], *, total_wbc: float | None = None, state: SpecimenState = "analysed"
) -> Specimen:
    order = SpecimenOrder("S-1", total_wbc)
    return Specimen("d" * 32, order, state, "local", NOW, tuple(cells))


def counted(total_wbc: float | None = None, **counts: int) -> Specimen:
    """So many sure cells of each class, ``Unidentified`` ones included: ``counted(Neutrophil=60)``."""
    results = [
        result("Neutrophil", review=("low_confidence",)) if name == UNIDENTIFIED else result(name)
        for name, count in counts.items()
        for _ in range(count)
    ]
    return specimen((cell(n, one) for n, one in enumerate(results, start=1)), total_wbc=total_wbc)
