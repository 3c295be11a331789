"""Orders and differentials as messages of ``wbc.v1``."""

from datetime import datetime
from typing import Annotated

from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.analyse import Services
from orchestrator.edge import orders
from orchestrator.edge.grpc.messages import fields_of, model_message, probability_messages
from orchestrator.edge.grpc.words import (
    CELL_CLASSES,
    CELL_STATES,
    DEVICE_STATES,
    FLAGS,
    SPECIMEN_STATES,
    TTA_MODES,
)
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import (
    CellDecision,
    CellResult,
    ClassCount,
    Differential,
    Range,
    ReleasedErrors,
    SpecimenCell,
    SpecimenOrder,
)
from orchestrator.specimens.differential import limitations

_KEYS: TypeAdapter[str | None] = TypeAdapter(Annotated[str | None, Field(pattern=orders.IDEMPOTENCY_KEY)])


def order_of(message: pb.SpecimenOrder, services: Services) -> tuple[SpecimenOrder, str | None]:
    """What a laboratory ordered, and its key; checked as over HTTP.

    Raises:
        InvalidParameter: a field is missing or wrong.
    """
    with fields_of("order"):
        said = {
            "specimen_id": message.specimen_id,
            "total_wbc": message.total_wbc if message.HasField("total_wbc") else None,
            "profile": message.profile or None,
            "tta": TTA_MODES.word(message.tta, "tta"),
        }
        order = orders.order_of(said, services)
        try:
            key = _KEYS.validate_python(message.idempotency_key or None)
        except ValidationError as error:
            what = "expected 1 to 255 visible ASCII characters"
            raise InvalidParameter(FieldProblem("idempotency_key", what)) from error
        if message.images < 1:
            raise InvalidParameter(FieldProblem("images", "expected how many images follow, at least 1"))
    return order, key


def differential_message(differential: Differential, *, cells: bool) -> pb.Differential:
    """A differential; with every cell where ``cells``."""
    specimen = differential.specimen
    signature, shift, state = specimen.signature, differential.label_shift, specimen.device_state
    return pb.Differential(
        differential_id=specimen.differential_id,
        order=_order(specimen.order, len(specimen.cells)),
        state=SPECIMEN_STATES.number(specimen.state),
        created_at=_time(specimen.created_at),
        created_by=specimen.created_by,
        progress=pb.CellCounts(
            total=len(specimen.cells),
            counted=differential.cells_counted,
            waiting=differential.cells_waiting,
            failed=differential.cells_failed,
            unreviewed=len(differential.review_list),
        ),
        counts=[_count(count) for count in differential.counts],
        min_cells=differential.min_cells,
        reference_source=differential.reference_source,
        label_shift=[] if shift is None else probability_messages(shift),
        review_list=differential.review_list,
        limitations=[
            pb.Reason(code=found.code, message=found.message) for found in limitations(differential)
        ],
        models=[model_message(model) for model in differential.models],
        service_version=differential.service_version,
        computed_at=_time(differential.computed_at),
        signature=(
            pb.Signature(person=signature.person, signed_at=_time(signature.signed_at)) if signature else None
        ),
        cells=[_cell(cell) for cell in specimen.cells] if cells else [],
        disclaimer=differential.disclaimer,
        device_state=None if state is None else DEVICE_STATES.number(state),
        released_errors=_released_errors(differential.released_errors),
    )


def _released_errors(errors: ReleasedErrors | None) -> pb.ReleasedErrors | None:
    if errors is None:
        return None
    limits = [
        pb.ClassProbability(cell_class=CELL_CLASSES.number(name), probability=limit)
        for name, limit in errors.limits.items()
    ]
    return pb.ReleasedErrors(limits=limits, ended=errors.ended)


def _order(order: SpecimenOrder, images: int) -> pb.SpecimenOrder:
    return pb.SpecimenOrder(
        specimen_id=order.specimen_id,
        total_wbc=order.total_wbc,
        profile=order.profile,
        tta=None if order.tta is None else TTA_MODES.number(order.tta),
        images=images,
    )


def _count(count: ClassCount) -> pb.ClassCount:
    return pb.ClassCount(
        cell_class=CELL_CLASSES.number(count.label),
        count=count.count,
        percentage=count.percentage,
        interval=_range(count.interval),
        absolute=count.absolute,
        absolute_interval=_range(count.absolute_interval),
        reference=_range(count.reference),
        flag=None if count.flag is None else FLAGS.number(count.flag),
    )


def _cell(cell: SpecimenCell) -> pb.Cell:
    return pb.Cell(
        cell_id=cell.cell_id,
        number=cell.number,
        image_sha256=cell.image_sha256,
        state=CELL_STATES.number(cell.state),
        label=None if cell.label is None else CELL_CLASSES.number(cell.label),
        needs_review=cell.needs_review,
        failure=cell.failure,
        result=None if cell.result is None else _result(cell.result),
        decision=None if cell.decision is None else _decision(cell.decision),
    )


def _decision(decision: CellDecision) -> pb.CellDecision:
    return pb.CellDecision(
        cell_class=CELL_CLASSES.number(decision.label),
        person=decision.person,
        decided_at=_time(decision.decided_at),
    )


def _result(result: CellResult) -> pb.CellResult:
    height, width = result.image_size
    return pb.CellResult(
        cell_class=CELL_CLASSES.number(result.class_name),
        confidence=result.confidence,
        margin=result.margin,
        probabilities=probability_messages(result.probabilities),
        energy=result.energy,
        not_wbc=result.not_wbc,
        review_codes=result.review_codes,
        focus_ratio=result.focus_ratio,
        views=result.views,
        image=pb.ImageSize(height=height, width=width),
        model=model_message(result.model),
        profile=result.profile,
        analysed_at=_time(result.analysed_at),
        profile_sha256=result.profile_sha256,
        device_state=DEVICE_STATES.number(result.device_state),
    )


def _range(limits: Range | None) -> pb.Range | None:
    return None if limits is None else pb.Range(low=limits.low, high=limits.high)


def _time(moment: datetime) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp
