"""A differential's JSON document, as ``GET /v1/differentials/{id}`` answers it, back as a differential.

So that what was fetched or printed can be written in other formats elsewhere. It was in other hands since:
nothing in it is taken on trust.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Final, TypeVar

from pydantic import ValidationError

from orchestrator.documents.differential import CellDocument, DifferentialResult
from orchestrator.documents.fields import Document
from orchestrator.domain import Box, ModelIdentity
from orchestrator.errors import MalformedMessage
from orchestrator.labels import CELL_LABELS
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import (
    CellDecision,
    CellResult,
    ClassCount,
    Comment,
    Differential,
    FieldPlace,
    Range,
    ReleasedErrors,
    Signature,
    Specimen,
    SpecimenCell,
    SpecimenField,
    SpecimenOrder,
)

Value = TypeVar("Value")

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
    labels = [count.label for count in document.counts]
    if labels[: len(CELL_LABELS)] != list(CELL_LABELS) or len(set(labels)) < len(labels):
        raise MalformedMessage(f"This is no differential: expected counts of {', '.join(CELL_LABELS)}.")
    if not {count.part_of for count in document.counts} <= {None, *labels}:
        raise MalformedMessage("This is no differential: a label is part of one that has no count.")
    shift, errors = document.label_shift, document.released_errors
    if shift is not None and set(shift) != set(CLASS_NAMES):
        raise MalformedMessage("This is no differential: label_shift is of other classes.")
    if errors is not None and not set(errors.limits) <= set(CLASS_NAMES):
        raise MalformedMessage("This is no differential: released_errors is of other classes.")
    if not {comment.cell_id for comment in document.comments} <= {None, *(c.id for c in document.cells)}:
        raise MalformedMessage("This is no differential: a comment is on a cell that it does not have.")
    numbers = {field.number for field in document.fields}
    if not {cell.place.number for cell in document.cells if cell.place is not None} <= numbers:
        raise MalformedMessage("This is no differential: a cell is of a field that it does not have.")
    order = {name: getattr(document, name) for name in _names(SpecimenOrder)}
    specimen = {name: getattr(document, name) for name in ("state", "created_by", "created_at")}
    return _value(
        Differential,
        document,
        specimen=Specimen(
            **specimen,
            differential_id=document.id,
            order=SpecimenOrder(**order),
            cells=tuple(_cell(cell) for cell in document.cells),
            signature=_optional(Signature, document.signature),
            version=_version(document.etag),
            fields=tuple(_value(SpecimenField, field, field_id=field.id) for field in document.fields),
            assignee=document.assignee,
            comments=tuple(_value(Comment, comment) for comment in document.comments),
        ),
        counts=tuple(
            _value(
                ClassCount,
                count,
                interval=_optional(Range, count.interval),
                absolute_interval=_optional(Range, count.absolute_interval),
                reference=_optional(Range, count.reference),
            )
            for count in document.counts
        ),
        cells_counted=document.progress.counted,
        cells_waiting=document.progress.waiting,
        cells_failed=document.progress.failed,
        review_list=tuple(document.review_list),
        label_shift=None if shift is None else _in_order(shift),
        models=tuple(_value(ModelIdentity, model) for model in document.models),
        released_errors=_optional(ReleasedErrors, errors),
    )


def _cell(document: CellDocument) -> SpecimenCell:
    result, decision, place = document.result, document.decision, document.place
    found = None
    if result is not None:
        if result.class_name not in CLASS_NAMES or set(result.probabilities) != set(CLASS_NAMES):
            raise MalformedMessage("This is no differential: a result is of other classes.")
        found = _value(
            CellResult,
            result,
            probabilities=_in_order(result.probabilities),
            review_codes=tuple(result.review_codes),
            model=_value(ModelIdentity, result.model),
            box=_optional(Box, result.box),
        )
    return _value(
        SpecimenCell,
        document,
        cell_id=document.id,
        result=found,
        decision=_optional(CellDecision, decision),
        place=_optional(FieldPlace, place),
        version=_version(document.etag),
    )


def _version(etag: str | None) -> int:
    """The number in the name of a state; 0 in what older versions kept."""
    return 0 if etag is None else int(etag.removeprefix("cell-"))


def _in_order(by_class: Mapping[str, float]) -> tuple[float, ...]:
    return tuple(by_class[name] for name in CLASS_NAMES)


def _names(of: type[Any]) -> list[str]:
    return [field.name for field in fields(of) if field.init]


def _optional(of: type[Value], document: Document | None) -> Value | None:
    return None if document is None else _value(of, document)


def _value(of: type[Value], document: Document, **given: Any) -> Value:
    """The value type: what is ``given``, and the document's fields of the same names."""
    same = {name: getattr(document, name) for name in _names(of) if name not in given}
    return of(**same, **given)
