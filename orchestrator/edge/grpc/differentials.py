"""Orders and differentials as messages of ``wbc.v1``: projections of the documents that HTTP answers."""

from datetime import UTC, datetime
from typing import Annotated, Final, cast

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.analyse import Services
from orchestrator.documents.differential import DifferentialResult, DifferentialSummary
from orchestrator.edge import orders
from orchestrator.edge.grpc.messages import fields_of
from orchestrator.edge.grpc.projection import fill, message_of
from orchestrator.edge.grpc.words import IMAGE_KINDS, LABELS, SPECIMEN_SORTS, SPECIMEN_STATES, TTA_MODES
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import (
    Differential,
    SpecimenOrder,
    SpecimenSearch,
    SpecimenSort,
    SpecimenSummary,
)

DEFAULT_PAGE: Final = 20
MAX_PAGE: Final = 100
"""As over HTTP."""

_KEYS: TypeAdapter[str | None] = TypeAdapter(Annotated[str | None, Field(pattern=orders.IDEMPOTENCY_KEY)])
_TEXTS: TypeAdapter[str] = TypeAdapter(orders.CommentText)
_PERSONS: TypeAdapter[str | None] = TypeAdapter(orders.PersonName | None)


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
            "kind": IMAGE_KINDS.word(message.kind, "kind") or "cell",
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


def search_of(message: pb.ListDifferentialsRequest, person: str) -> tuple[int, SpecimenSearch, SpecimenSort]:
    """How many differentials of a list ``person`` asks for, which, and in what order; raises as
    :func:`order_of`."""
    size = message.page_size if message.HasField("page_size") else DEFAULT_PAGE
    if not 1 <= size <= MAX_PAGE:
        raise InvalidParameter(FieldProblem("page_size", f"expected 1 to {MAX_PAGE}"))
    states = [SPECIMEN_STATES.word(number, "states") for number in message.states]
    if None in states:
        raise InvalidParameter(FieldProblem("states", "one is unspecified"))
    assignee = message.assignee if message.HasField("assignee") else None
    try:
        _PERSONS.validate_python(assignee or None)
    except ValidationError as error:
        what = "expected a name of at most 255 characters"
        raise InvalidParameter(FieldProblem("assignee", what)) from error
    search = SpecimenSearch(
        message.specimen_id or None,
        tuple(state for state in states if state is not None),
        _time_of(message, "created_from"),
        _time_of(message, "created_before"),
        message.text or None,
        person if message.mine else assignee,
        message.needs_review,
    )
    by, _, down = (SPECIMEN_SORTS.word(message.sort, "sort") or "created_descending").partition("_")
    return size, search, cast("SpecimenSort", f"-{by}" if down else by)


def label_of(message: pb.DecideCellRequest) -> str:
    """What a person says that a cell is; raises as :func:`order_of`."""
    label = message.label_name or LABELS.word(message.label, "label")
    if label is None:
        raise InvalidParameter(FieldProblem("label", "expected what the cell is"))
    return label


def text_of(message: pb.CommentOnDifferentialRequest | pb.AddToDifferentialRequest) -> str:
    """What a person writes; raises as :func:`order_of`."""
    try:
        return _TEXTS.validate_python(message.text)
    except ValidationError as error:
        raise InvalidParameter(FieldProblem("text", error.errors(include_url=False)[0]["msg"])) from error


def summary_message(summary: SpecimenSummary) -> pb.DifferentialSummary:
    """One line of a list."""
    return message_of(DifferentialSummary.model_validate(summary), pb.DifferentialSummary)


def _time_of(message: pb.ListDifferentialsRequest, field: str) -> datetime | None:
    if not message.HasField(field):
        return None
    try:
        time: datetime = getattr(message, field).ToDatetime(UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidParameter(FieldProblem(field, "there is no such time")) from error
    return time


def differential_message(differential: Differential, *, cells: bool) -> pb.Differential:
    """A differential; with every cell where ``cells``."""
    document = DifferentialResult.of(differential, cells=cells)
    message = message_of(document, pb.Differential)
    fill(message.order, document)
    message.order.images = document.progress.total
    return message
