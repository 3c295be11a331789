"""Errors as gRPC statuses with details.

A kind of errors has the code that google.rpc gives its HTTP status, but for those that gRPC tells apart more
finely.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from orchestrator import errors
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.security import RateLimited
from orchestrator.edge.failures import detail_of, log_failure
from orchestrator.errors import FieldProblem, InvalidParameter, ProblemType
from orchestrator.observability.request_context import current_request_id
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb

DOMAIN: Final = "wbc-analyzer"
"""Of every ``ErrorInfo``: reasons are unique within it."""

_BY_STATUS: Final[Mapping[int, grpc.StatusCode]] = MappingProxyType(
    {
        HTTPStatus.BAD_REQUEST: grpc.StatusCode.INVALID_ARGUMENT,
        HTTPStatus.UNAUTHORIZED: grpc.StatusCode.UNAUTHENTICATED,
        HTTPStatus.FORBIDDEN: grpc.StatusCode.PERMISSION_DENIED,
        HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
        HTTPStatus.REQUEST_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
        HTTPStatus.CONFLICT: grpc.StatusCode.FAILED_PRECONDITION,
        HTTPStatus.PRECONDITION_FAILED: grpc.StatusCode.ABORTED,
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: grpc.StatusCode.INVALID_ARGUMENT,
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: grpc.StatusCode.INVALID_ARGUMENT,
        HTTPStatus.UNPROCESSABLE_ENTITY: grpc.StatusCode.INVALID_ARGUMENT,
        HTTPStatus.TOO_MANY_REQUESTS: grpc.StatusCode.RESOURCE_EXHAUSTED,
        HTTPStatus.INTERNAL_SERVER_ERROR: grpc.StatusCode.INTERNAL,
        HTTPStatus.NOT_IMPLEMENTED: grpc.StatusCode.UNIMPLEMENTED,
        HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
        HTTPStatus.GATEWAY_TIMEOUT: grpc.StatusCode.DEADLINE_EXCEEDED,
    }
)

_BY_KIND: Final[Mapping[str, grpc.StatusCode]] = MappingProxyType(
    {
        # UNAVAILABLE asks for an immediate retry elsewhere; a busy service asks for patience.
        "overloaded": grpc.StatusCode.RESOURCE_EXHAUSTED,
        "idempotency-conflict": grpc.StatusCode.ALREADY_EXISTS,
        "record-altered": grpc.StatusCode.DATA_LOSS,
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error as gRPC tells it."""

    code: grpc.StatusCode
    reason: str
    message: str
    retry_after_s: float | None
    fields: tuple[FieldProblem, ...]
    request_id: str

    @classmethod
    def of(cls, error: Exception) -> "Refusal":
        """What a caller is told; nothing of what is inside. What they cannot mend is also logged."""
        kind = errors.kind_of(error)
        log_failure(error, kind)
        return cls(
            code=code_of(kind),
            reason=re.sub(r"[^A-Z0-9]+", "_", kind.name.upper()),
            message=detail_of(error, kind),
            retry_after_s=_retry_after_s(error, kind),
            fields=error.fields if isinstance(error, InvalidParameter) else (),
            request_id=current_request_id(),
        )

    def rich_status(self) -> Any:
        """A ``grpc.Status`` whose details say all of it."""
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        details: list[Any] = [
            error_details_pb2.ErrorInfo(
                reason=self.reason, domain=DOMAIN, metadata={"disclaimer": DISCLAIMER}
            ),
            error_details_pb2.RequestInfo(request_id=self.request_id),
        ]
        if self.fields:
            details.append(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(
                            field=field.field, description=_with_allowed(field)
                        )
                        for field in self.fields
                    ]
                )
            )
        if self.retry_after_s is not None:
            details.append(error_details_pb2.RetryInfo(retry_delay=_duration(self.retry_after_s)))
        for detail in details:
            status.details.add().Pack(detail)
        return rpc_status.to_status(status)

    def message_for_a_stream(self) -> pb.AnalysisError:
        """The same as a message, where the call goes on."""
        return pb.AnalysisError(
            code=self.code.value[0],
            reason=self.reason,
            message=self.message,
            request_id=self.request_id or current_request_id(),
            field_violations=[
                pb.FieldViolation(field=field.field, message=field.message, allowed=field.allowed)
                for field in self.fields
            ],
            retry_after=None if self.retry_after_s is None else _duration(self.retry_after_s),
            disclaimer=DISCLAIMER,
        )


def code_of(kind: ProblemType) -> grpc.StatusCode:
    """The code of a kind of problem."""
    return _BY_KIND.get(kind.name) or _BY_STATUS.get(kind.status, grpc.StatusCode.UNKNOWN)


def _retry_after_s(error: Exception, kind: ProblemType) -> float | None:
    if isinstance(error, errors.Overloaded):
        return error.retry_after_s
    if isinstance(error, RateLimited):
        return float(error.headers.get("Retry-After", 1))
    return kind.retry_after_s


def _with_allowed(field: FieldProblem) -> str:
    return f"{field.message} (allowed: {', '.join(field.allowed)})" if field.allowed else field.message


def _duration(seconds: float) -> Duration:
    duration = Duration()
    duration.FromMilliseconds(max(1, round(seconds * 1000)))
    return duration
