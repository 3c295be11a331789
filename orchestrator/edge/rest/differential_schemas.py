"""What the HTTP edge receives and answers about differentials, as typed documents."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from orchestrator.domain import DISCLAIMER, DeviceState
from orchestrator.edge.rest.schemas import ClassName, DeviceStateWord, Model, Probability, ProfileHash, Share
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CELL_LABELS,
    CellState,
    ClassCount,
    Differential,
    Range,
    ReleasedErrors,
    Specimen,
    SpecimenCell,
    SpecimenState,
)
from orchestrator.specimens.differential import limitations
from orchestrator.specimens.service import Progress
from orchestrator.store.base import AuditEntry

EXAMPLE_ID: Final = "0d6f9a3e5b7c4e0f8a1b2c3d4e5f6a7b"
EXAMPLE_CELL: Final = "7b1c6d5e4f3a4b2c9d8e7f6a5b4c3d2e"
_EXAMPLE_TIME: Final = "2026-03-02T09:41:12Z"

Label = Annotated[str, Field(json_schema_extra={"enum": list(CELL_LABELS)}, examples=[CLASS_NAMES[-1]])]
DifferentialId = Annotated[str, Field(examples=[EXAMPLE_ID])]
CellId = Annotated[str, Field(examples=[EXAMPLE_CELL])]
State = Annotated[
    SpecimenState,
    Field(
        description="`waiting` and `running`: cells are still to be analysed; `analysed`: people may decide "
        "and sign; `signed` and `cancelled` are final."
    ),
]


class DecisionBody(BaseModel):
    """What a person says that a cell is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: Literal["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil", "Unidentified"] = Field(
        description="The service's own class accepts it; another one reclassifies the cell.",
        examples=["Monocyte"],
    )


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True, allow_inf_nan=False)


class Limits(_Document):
    """An interval, both ends part of it."""

    low: float = Field(examples=[49.7])
    high: float = Field(examples=[69.7])

    @classmethod
    def of(cls, limits: Range | None) -> "Limits | None":
        return None if limits is None else cls(low=limits.low, high=limits.high)


class LabelCount(_Document):
    """One label's part of the differential."""

    label: Label
    count: int = Field(ge=0, examples=[60])
    percentage: float | None = Field(
        examples=[60.0], description="Of all counted cells; null below the least number of cells."
    )
    interval: Limits | None = Field(
        description="Exact 95 % interval of the percentage (Clopper-Pearson); on an audited microscope it "
        "carries the classifier's error too (see `released_errors`)."
    )
    absolute: float | None = Field(examples=[3.72], description="In 10^9/L; null where no total was given.")
    absolute_interval: Limits | None = Field(
        description="That of the percentage times the total; the total's own error is not in it."
    )
    reference: Limits | None = Field(description="The site's range in percent; null where it has none.")
    flag: Literal["low", "high"] | None = Field(
        description="Whether the percentage lies outside of the site's range."
    )

    @classmethod
    def of(cls, count: ClassCount) -> Self:
        return cls(
            label=count.label,
            count=count.count,
            percentage=count.percentage,
            interval=Limits.of(count.interval),
            absolute=count.absolute,
            absolute_interval=Limits.of(count.absolute_interval),
            reference=Limits.of(count.reference),
            flag=count.flag,
        )


class CellCounts(_Document):
    """The cells of a specimen by where they stand."""

    total: int = Field(ge=1, examples=[100])
    counted: int = Field(ge=0, examples=[100])
    waiting: int = Field(ge=0, examples=[0])
    failed: int = Field(ge=0, examples=[0], description="Images that could not be analysed.")
    unreviewed: int = Field(ge=0, examples=[7], description="Cells that wait for a person's decision.")


class Statement(_Document):
    """What a reader must know before using the figures."""

    code: str = Field(examples=["unreviewed"])
    message: str = Field(examples=["7 cells wait for a person's decision."])


class ReleasedErrorsDocument(_Document):
    """What audits know of the answers that no person looked at."""

    limits: dict[str, Share] = Field(
        examples=[{"Neutrophil": 0.0433}],
        description="By class, the upper limit of the share of its answers that is wrong (Clopper-Pearson, "
        "one-sided 98.75 %).",
    )
    ended: bool = Field(
        examples=[False], description="Whether an audit that released some of them has ended since."
    )

    @classmethod
    def of(cls, errors: ReleasedErrors | None) -> "ReleasedErrorsDocument | None":
        return None if errors is None else cls(limits=dict(errors.limits), ended=errors.ended)


class SignatureDocument(_Document):
    """Who closed the differential, and when."""

    person: str = Field(examples=["local"])
    signed_at: datetime = Field(examples=[_EXAMPLE_TIME])


class CellFinding(_Document):
    """What the service found in one image."""

    class_name: ClassName = Field(alias="class")
    confidence: Probability = Field(examples=[0.984])
    margin: Probability = Field(examples=[0.975])
    probabilities: dict[str, Probability] = Field(
        examples=[dict(zip(CLASS_NAMES, (0.001, 0.004, 0.002, 0.009, 0.984), strict=True))]
    )
    energy: float = Field(examples=[-5.21])
    not_wbc: Probability | None = Field(default=None, examples=[0.012])
    review_codes: list[str] = Field(examples=[["close_call"]], description="Why a person should look at it.")
    focus_ratio: Share | None = Field(examples=[0.91])
    views: int = Field(ge=1, examples=[8])
    image_size: tuple[int, int] = Field(examples=[(360, 360)], description="Height and width in pixels.")
    model: Model
    profile: str = Field(examples=["cellavision-dm96"])
    profile_sha256: ProfileHash = None
    device_state: DeviceStateWord = "unknown"
    analysed_at: datetime = Field(examples=[_EXAMPLE_TIME])


class CellDecisionDocument(_Document):
    """What a person said that a cell is."""

    label: Label
    person: str = Field(examples=["local"])
    decided_at: datetime = Field(examples=[_EXAMPLE_TIME])


class CellDocument(_Document):
    """One image of a specimen; ``number`` is its place in the order, from 1."""

    id: CellId
    number: int = Field(ge=1, examples=[1])
    image_sha256: str = Field(examples=["0" * 64], description="Of the file as it was sent.")
    state: CellState
    label: Label | None = Field(description="What it counts as: the decision, else the class if it is sure.")
    needs_review: bool
    failure: str | None = Field(examples=[None], description="Why the image could not be analysed.")
    result: CellFinding | None
    decision: CellDecisionDocument | None

    @classmethod
    def of(cls, cell: SpecimenCell) -> Self:
        result, decision = cell.result, cell.decision
        return cls(
            id=cell.cell_id,
            number=cell.number,
            image_sha256=cell.image_sha256,
            state=cell.state,
            label=cell.label,
            needs_review=cell.needs_review,
            failure=cell.failure,
            result=result
            and CellFinding(
                class_name=result.class_name,
                confidence=result.confidence,
                margin=result.margin,
                probabilities=dict(zip(CLASS_NAMES, result.probabilities, strict=True)),
                energy=result.energy,
                not_wbc=result.not_wbc,
                review_codes=list(result.review_codes),
                focus_ratio=result.focus_ratio,
                views=result.views,
                image_size=result.image_size,
                model=Model.of(result.model),
                profile=result.profile,
                profile_sha256=result.profile_sha256,
                device_state=result.device_state,
                analysed_at=result.analysed_at,
            ),
            decision=decision
            and CellDecisionDocument(
                label=decision.label, person=decision.person, decided_at=decision.decided_at
            ),
        )


class DifferentialResult(_Document):
    """A specimen's differential as it is now. Never a diagnosis."""

    id: DifferentialId
    specimen_id: str = Field(examples=["S-2026-00417"])
    state: State
    total_wbc: float | None = Field(examples=[6.2], description="10^9/L, as it was given.")
    profile: str | None = Field(examples=[None], description="As ordered; the service's default where null.")
    tta: str | None = Field(examples=[None], description="As ordered; the profile's where null.")
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    created_by: str = Field(examples=["local"])
    progress: CellCounts
    counts: list[LabelCount] = Field(description="The five classes, then Unidentified.")
    min_cells: int = Field(examples=[100], description="Below it there are no percentages.")
    reference_source: str | None = Field(description="Where the reference ranges come from.")
    label_shift: dict[str, Share] | None = Field(
        examples=[dict(zip(CLASS_NAMES, (0.004, 0.031, 0.305, 0.06, 0.6), strict=True))],
        description="Shares of the five classes estimated from all cells' probabilities (EM, Saerens et al. "
        "2002), beside the counts; null where there are too few cells, and while cells of an unknown or "
        "merely profiled device wait for a person.",
    )
    device_state: DeviceState | None = Field(
        default=None,
        examples=["known"],
        description="The least of the cells'; null before the first result.",
    )
    released_errors: ReleasedErrorsDocument | None = Field(
        default=None,
        description="There where audits released all cells that count without a person's decision.",
    )
    review_list: list[CellId] = Field(
        examples=[[EXAMPLE_CELL]], description="Cells that wait for a person, the least confident first."
    )
    limitations: list[Statement]
    models: list[Model] = Field(description="All that answered.")
    service_version: str = Field(examples=["0.5.0"])
    computed_at: datetime = Field(examples=[_EXAMPLE_TIME])
    signature: SignatureDocument | None
    cells: list[CellDocument] | None = Field(description="Null where `cells=false` was asked for.")
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, differential: Differential, *, cells: bool = True) -> Self:
        specimen = differential.specimen
        order, signature, shift = specimen.order, specimen.signature, differential.label_shift
        return cls(
            id=specimen.differential_id,
            specimen_id=order.specimen_id,
            state=specimen.state,
            total_wbc=order.total_wbc,
            profile=order.profile,
            tta=order.tta,
            created_at=specimen.created_at,
            created_by=specimen.created_by,
            progress=CellCounts(
                total=len(specimen.cells),
                counted=differential.cells_counted,
                waiting=differential.cells_waiting,
                failed=differential.cells_failed,
                unreviewed=len(differential.review_list),
            ),
            counts=[LabelCount.of(count) for count in differential.counts],
            min_cells=differential.min_cells,
            reference_source=differential.reference_source,
            label_shift=None if shift is None else dict(zip(CLASS_NAMES, shift, strict=True)),
            device_state=specimen.device_state,
            released_errors=ReleasedErrorsDocument.of(differential.released_errors),
            review_list=list(differential.review_list),
            limitations=[
                Statement(code=limit.code, message=limit.message) for limit in limitations(differential)
            ],
            models=[Model.of(model) for model in differential.models],
            service_version=differential.service_version,
            computed_at=differential.computed_at,
            signature=signature and SignatureDocument(person=signature.person, signed_at=signature.signed_at),
            cells=[CellDocument.of(cell) for cell in specimen.cells] if cells else None,
            disclaimer=differential.disclaimer,
        )


class DifferentialSummary(_Document):
    """One line of the list."""

    id: DifferentialId
    specimen_id: str = Field(examples=["S-2026-00417"])
    state: State
    created_at: datetime = Field(examples=[_EXAMPLE_TIME])
    cells: int = Field(ge=1, examples=[100])
    waiting: int = Field(ge=0, examples=[0])
    failed: int = Field(ge=0, examples=[0])
    unreviewed: int = Field(ge=0, examples=[7])
    signature: SignatureDocument | None

    @classmethod
    def of(cls, specimen: Specimen) -> Self:
        progress, signature = Progress.of(specimen), specimen.signature
        return cls(
            id=specimen.differential_id,
            specimen_id=specimen.order.specimen_id,
            state=specimen.state,
            created_at=specimen.created_at,
            cells=progress.total,
            waiting=progress.waiting,
            failed=progress.failed,
            unreviewed=sum(cell.needs_review for cell in specimen.cells),
            signature=signature and SignatureDocument(person=signature.person, signed_at=signature.signed_at),
        )


class DifferentialPage(_Document):
    """One page of the list, the newest first."""

    items: list[DifferentialSummary]
    next_cursor: str | None = Field(
        examples=[None], description="The `cursor` of the next page; null on the last one."
    )
    disclaimer: str = DISCLAIMER


class ProgressEvent(_Document):
    """The data of the events ``progress`` and ``done``."""

    id: DifferentialId
    state: State
    total: int = Field(examples=[100])
    waiting: int = Field(examples=[40])
    analysed: int = Field(examples=[59])
    failed: int = Field(examples=[1])
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, progress: Progress) -> Self:
        return cls(
            id=progress.differential_id,
            state=progress.state,
            total=progress.total,
            waiting=progress.waiting,
            analysed=progress.analysed,
            failed=progress.failed,
        )


class AuditRow(_Document):
    """One row of the trail."""

    sequence: int = Field(examples=[12])
    at: datetime = Field(examples=[_EXAMPLE_TIME])
    actor: str = Field(examples=["local"], description="The person or key that acted.")
    action: str = Field(examples=["decided"])
    cell_id: str | None
    details: dict[str, Any] = Field(examples=[{"label": "Monocyte"}])
    row_hash: str = Field(description="SHA-256 over the row and the hash of the row before it.")


class AuditTrail(_Document):
    """Who did what with a specimen, the earliest first. ``wbc audit verify`` checks the whole chain."""

    entries: list[AuditRow]
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, entries: Sequence[AuditEntry]) -> Self:
        return cls(
            entries=[
                AuditRow(
                    sequence=entry.sequence,
                    at=entry.at,
                    actor=entry.actor,
                    action=entry.action,
                    cell_id=entry.cell_id,
                    details=dict(entry.details),
                    row_hash=entry.row_hash,
                )
                for entry in entries
            ]
        )
