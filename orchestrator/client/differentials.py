"""Differentials as typed, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from ..protos.wbc.v1 import wbc_pb2 as pb
from .results import Model, Reason, probabilities_of
from .words import device_state_of, label, word

OPEN_STATES = ("waiting", "running")
"""While cells are still to be analysed."""


@dataclass(frozen=True, slots=True)
class Range:
    """Limits, both part of the interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One label's part. ``percentage`` and its exact 95 % ``interval`` are None below the least number of
    cells; ``absolute``, in 10^9/L, without a total. ``flag`` is ``low`` or ``high`` against ``reference``."""

    label: str
    count: int
    percentage: float | None
    interval: Range | None
    absolute: float | None
    absolute_interval: Range | None
    reference: Range | None
    flag: str | None

    @classmethod
    def of(cls, message: pb.ClassCount) -> "ClassCount":
        """From the wire."""
        return cls(
            label=label(message.cell_class) or "",
            count=message.count,
            percentage=message.percentage if message.HasField("percentage") else None,
            interval=_range(message.interval) if message.HasField("interval") else None,
            absolute=message.absolute if message.HasField("absolute") else None,
            absolute_interval=(
                _range(message.absolute_interval) if message.HasField("absolute_interval") else None
            ),
            reference=_range(message.reference) if message.HasField("reference") else None,
            flag=word(pb.Flag, "FLAG", message.flag),
        )


@dataclass(frozen=True, slots=True)
class CellResult:
    """What the service found in one image of a specimen."""

    class_name: str
    confidence: float
    margin: float
    probabilities: Mapping[str, float]
    energy: float
    not_wbc: float | None
    review_codes: tuple[str, ...]
    focus_ratio: float | None
    views: int
    image_size: tuple[int, int]
    model: Model
    profile: str
    analysed_at: datetime
    profile_sha256: str | None
    device_state: str

    @classmethod
    def of(cls, message: pb.CellResult) -> "CellResult":
        """From the wire."""
        return cls(
            class_name=label(message.cell_class) or "",
            confidence=message.confidence,
            margin=message.margin,
            probabilities=probabilities_of(message.probabilities),
            energy=message.energy,
            not_wbc=message.not_wbc if message.HasField("not_wbc") else None,
            review_codes=tuple(message.review_codes),
            focus_ratio=message.focus_ratio if message.HasField("focus_ratio") else None,
            views=message.views,
            image_size=(message.image.height, message.image.width),
            model=Model.of(message.model),
            profile=message.profile,
            analysed_at=_time(message.analysed_at),
            profile_sha256=message.profile_sha256 if message.HasField("profile_sha256") else None,
            device_state=device_state_of(message.device_state) or "unknown",
        )


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said that a cell is."""

    label: str
    person: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class Cell:
    """One image of a specimen. ``state`` is ``waiting``, ``analysed`` or ``failed``; ``label`` is what it
    counts as, None where it counts nowhere."""

    cell_id: str
    number: int
    image_sha256: str
    state: str | None
    label: str | None
    needs_review: bool
    failure: str | None
    result: CellResult | None
    decision: Decision | None

    @classmethod
    def of(cls, message: pb.Cell) -> "Cell":
        """From the wire."""
        decision = message.decision
        return cls(
            cell_id=message.cell_id,
            number=message.number,
            image_sha256=message.image_sha256,
            state=word(pb.CellState, "CELL_STATE", message.state),
            label=label(message.label),
            needs_review=message.needs_review,
            failure=message.failure if message.HasField("failure") else None,
            result=CellResult.of(message.result) if message.HasField("result") else None,
            decision=(
                Decision(label(decision.cell_class) or "", decision.person, _time(decision.decided_at))
                if message.HasField("decision")
                else None
            ),
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """The cells of a specimen by where they stand."""

    total: int
    counted: int
    waiting: int
    failed: int
    unreviewed: int


@dataclass(frozen=True, slots=True)
class Signature:
    """Who closed a differential, and when."""

    person: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class ReleasedErrors:
    """What audits know of the answers that no person looked at.

    ``limits`` has, by class, the upper limit of the share of its answers that is wrong (one-sided 98.75 %);
    ``ended`` says whether an audit that released some of them has ended since.
    """

    limits: Mapping[str, float]
    ended: bool


@dataclass(frozen=True, slots=True)
class Differential:
    """A specimen's differential at one moment. Never a diagnosis.

    ``state`` is ``waiting`` or ``running`` while cells are to be analysed, then ``analysed``, and at the end
    ``signed`` or ``cancelled``. ``counts`` has the five classes, then ``Unidentified``. ``label_shift`` is
    None where there are too few cells; ``cells`` is empty where none were asked for. ``device_state`` is the
    least of the cells', None before the first result. ``released_errors`` is None unless audits released all
    cells that count without a person's decision.
    """

    differential_id: str
    specimen_id: str
    total_wbc: float | None
    state: str | None
    created_at: datetime
    created_by: str
    progress: Progress
    counts: tuple[ClassCount, ...]
    min_cells: int
    reference_source: str | None
    label_shift: Mapping[str, float] | None
    review_list: tuple[str, ...]
    limitations: tuple[Reason, ...]
    models: tuple[Model, ...]
    service_version: str
    computed_at: datetime
    signature: Signature | None
    cells: tuple[Cell, ...]
    disclaimer: str
    device_state: str | None
    released_errors: ReleasedErrors | None

    @property
    def ended(self) -> bool:
        """Whether no cell is still to be analysed."""
        return self.state not in OPEN_STATES

    @classmethod
    def of(cls, message: pb.Differential) -> "Differential":
        """From the wire."""
        order, progress, signature = message.order, message.progress, message.signature
        return cls(
            differential_id=message.differential_id,
            specimen_id=order.specimen_id,
            total_wbc=order.total_wbc if order.HasField("total_wbc") else None,
            state=word(pb.SpecimenState, "SPECIMEN_STATE", message.state),
            created_at=_time(message.created_at),
            created_by=message.created_by,
            progress=Progress(
                total=progress.total,
                counted=progress.counted,
                waiting=progress.waiting,
                failed=progress.failed,
                unreviewed=progress.unreviewed,
            ),
            counts=tuple(ClassCount.of(count) for count in message.counts),
            min_cells=message.min_cells,
            reference_source=message.reference_source if message.HasField("reference_source") else None,
            label_shift=probabilities_of(message.label_shift) or None,
            review_list=tuple(message.review_list),
            limitations=Reason.all_of(message.limitations),
            models=tuple(Model.of(model) for model in message.models),
            service_version=message.service_version,
            computed_at=_time(message.computed_at),
            signature=(
                Signature(signature.person, _time(signature.signed_at))
                if message.HasField("signature")
                else None
            ),
            cells=tuple(Cell.of(cell) for cell in message.cells),
            disclaimer=message.disclaimer,
            device_state=device_state_of(message.device_state),
            released_errors=(
                ReleasedErrors(
                    probabilities_of(message.released_errors.limits), message.released_errors.ended
                )
                if message.HasField("released_errors")
                else None
            ),
        )


def _range(message: pb.Range) -> Range:
    return Range(message.low, message.high)


def _time(message: Timestamp) -> datetime:
    moment: datetime = message.ToDatetime(UTC)
    return moment
