"""Orders and differentials as messages of ``wbc.v1``: projections of the documents that HTTP answers."""

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from orchestrator.analyse import Services
from orchestrator.documents.differential import DifferentialResult
from orchestrator.edge import orders
from orchestrator.edge.grpc.messages import fields_of
from orchestrator.edge.grpc.projection import fill, message_of
from orchestrator.edge.grpc.words import TTA_MODES
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import Differential, SpecimenOrder

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
    document = DifferentialResult.of(differential, cells=cells)
    message = message_of(document, pb.Differential)
    fill(message.order, document)
    message.order.images = document.progress.total
    return message
