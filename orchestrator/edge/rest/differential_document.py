"""A differential's JSON document, as ``GET /v1/differentials/{id}`` answers it, back as a differential.

So that what was fetched or printed can be written in other formats elsewhere. It was in other hands since:
nothing in it is taken on trust.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from pydantic import ValidationError

from orchestrator.domain import ModelIdentity
from orchestrator.edge.rest.differential_schemas import (
    CellDocument,
    DifferentialResult,
    LabelCount,
    Limits,
)
from orchestrator.edge.rest.schemas import Model
from orchestrator.errors import MalformedMessage
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CELL_LABELS,
    CellDecision,
    CellResult,
    ClassCount,
    Differential,
    Range,
    ReleasedErrors,
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenOrder,
)

MAX_BYTES: Final = 64 * 2**20


def write_differential(differential: Differential) -> bytes:
    """The document, in UTF-8."""
    return DifferentialResult.of(differential).model_dump_json(by_alias=True, indent=1).encode()


def read_differential(data: bytes) -> Differential:
    """The differential of a document.

    Raises :class:`~orchestrator.errors.MalformedMessage` where something is missing, of another type, not
    finite, without its time zone or of other classes, and where the document was asked for without its cells.
    """
    if len(data) > MAX_BYTES:
        raise MalformedMessage(f"This is no differential: it has over {MAX_BYTES} bytes.")
    try:
        document = DifferentialResult.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the document"
        raise MalformedMessage(f"This is no differential: {place}: {first['msg']}.") from error
    if document.cells is None:
        raise MalformedMessage("This differential has no cells: ask for it without `cells=false`.")
    if [count.label for count in document.counts] != list(CELL_LABELS):
        raise MalformedMessage(f"This is no differential: expected counts of {', '.join(CELL_LABELS)}.")
    shift, errors = document.label_shift, document.released_errors
    if shift is not None and set(shift) != set(CLASS_NAMES):
        raise MalformedMessage("This is no differential: label_shift is of other classes.")
    if errors is not None and not set(errors.limits) <= set(CLASS_NAMES):
        raise MalformedMessage("This is no differential: released_errors is of other classes.")
    if any(moment.tzinfo is None for moment in _moments(document, document.cells)):
        raise MalformedMessage("This is no differential: a time has no zone.")
    signature = document.signature
    return Differential(
        specimen=Specimen(
            differential_id=document.id,
            order=SpecimenOrder(document.specimen_id, document.total_wbc, document.profile, document.tta),
            state=document.state,
            created_by=document.created_by,
            created_at=document.created_at,
            cells=tuple(_cell(cell) for cell in document.cells),
            signature=None if signature is None else Signature(signature.person, signature.signed_at),
        ),
        counts=tuple(_count(count) for count in document.counts),
        cells_counted=document.progress.counted,
        cells_waiting=document.progress.waiting,
        cells_failed=document.progress.failed,
        min_cells=document.min_cells,
        review_list=tuple(document.review_list),
        label_shift=None if shift is None else tuple(shift[name] for name in CLASS_NAMES),
        models=tuple(_model(model) for model in document.models),
        service_version=document.service_version,
        computed_at=document.computed_at,
        reference_source=document.reference_source,
        released_errors=None if errors is None else ReleasedErrors(errors.limits, errors.ended),
    )


def _moments(document: DifferentialResult, cells: list[CellDocument]) -> Iterator[datetime]:
    yield document.created_at
    yield document.computed_at
    if document.signature is not None:
        yield document.signature.signed_at
    for cell in cells:
        if cell.result is not None:
            yield cell.result.analysed_at
        if cell.decision is not None:
            yield cell.decision.decided_at


def _cell(document: CellDocument) -> SpecimenCell:
    result, decision = document.result, document.decision
    if decision is not None and decision.label not in CELL_LABELS:
        raise MalformedMessage("This is no differential: a decision has an unknown label.")
    found = None
    if result is not None:
        if result.class_name not in CLASS_NAMES or set(result.probabilities) != set(CLASS_NAMES):
            raise MalformedMessage("This is no differential: a result is of other classes.")
        found = CellResult(
            class_name=result.class_name,
            probabilities=tuple(result.probabilities[name] for name in CLASS_NAMES),
            margin=result.margin,
            energy=result.energy,
            not_wbc=result.not_wbc,
            review_codes=tuple(result.review_codes),
            focus_ratio=result.focus_ratio,
            views=result.views,
            image_size=result.image_size,
            model=_model(result.model),
            profile=result.profile,
            profile_sha256=result.profile_sha256,
            device_state=result.device_state,
            analysed_at=result.analysed_at,
        )
    return SpecimenCell(
        cell_id=document.id,
        number=document.number,
        image_sha256=document.image_sha256,
        state=document.state,
        result=found,
        failure=document.failure,
        decision=None
        if decision is None
        else CellDecision(decision.label, decision.person, decision.decided_at),
    )


def _count(document: LabelCount) -> ClassCount:
    return ClassCount(
        label=document.label,
        count=document.count,
        percentage=document.percentage,
        interval=_range(document.interval),
        absolute=document.absolute,
        absolute_interval=_range(document.absolute_interval),
        reference=_range(document.reference),
        flag=document.flag,
    )


def _range(limits: Limits | None) -> Range | None:
    return None if limits is None else Range(limits.low, limits.high)


def _model(document: Model) -> ModelIdentity:
    return ModelIdentity(document.name, document.version, document.sha256, document.server)
