"""What both clients put into calls and make of answers."""

import uuid
from collections.abc import Iterator, Sequence

import grpc

from ..protos.wbc.v1 import wbc_pb2 as pb
from .differentials import Differential
from .errors import AnalyzerError
from .options import SpecimenOrder
from .resending import Resending
from .results import Analysis, Key, StreamResult

ANALYSIS_TIMEOUT_S = 30.0
ORDER_TIMEOUT_S = 300.0
WINDOW = 16
"""Images of a stream that wait for their answers; the service works on fewer of them at a time."""


def new_key() -> str:
    """An idempotency key, so that an order that is sent again is analysed once."""
    return str(uuid.uuid4())


def order_messages(
    order: SpecimenOrder, images: Sequence[bytes], key: str
) -> Iterator[pb.CreateDifferentialRequest]:
    """The order, then its images."""
    yield pb.CreateDifferentialRequest(order=order.message(key, len(images)))
    for image in images:
        yield pb.CreateDifferentialRequest(image=image)


def ordered(response: pb.CreateDifferentialResponse) -> tuple[Differential, bool]:
    """The differential, and whether the order was new."""
    return Differential.of(response.differential), response.created


def stream_result(
    response: pb.AnalyzeStreamResponse, keys: dict[int, Key], resending: Resending
) -> StreamResult[Key] | None:
    """An answer of a stream; None for one that nobody waits for."""
    correlation_id = response.correlation_id
    number = int(correlation_id) if correlation_id.isascii() and correlation_id.isdigit() else -1
    if not resending.answered(number):
        return None
    key = keys.pop(number)
    if response.WhichOneof("outcome") == "analysis":
        return StreamResult(key, Analysis.of(response.analysis), None)
    return StreamResult(key, None, AnalyzerError.of_image(response.error))


def unanswered(count: int) -> AnalyzerError:
    """Of a stream that ended well although answers are missing."""
    return AnalyzerError(grpc.StatusCode.DATA_LOSS, f"The stream ended with {count} images unanswered.")
