"""What went wrong, as one error that a program can look at."""

from collections.abc import Mapping
from typing import Any

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from ..protos.wbc.v1 import wbc_pb2 as pb

DOMAIN = "wbc-analyzer"

_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class AnalyzerError(Exception):
    """The service refused, failed or cannot be reached.

    Attributes:
        code: the gRPC code, such as ``grpc.StatusCode.INVALID_ARGUMENT``.
        reason: the name of the problem, such as ``UNDECODABLE_IMAGE``; empty where it is not the service that
            speaks.
        message: a sentence for the person who can do something about it.
        request_id: under which the service's log tells more.
        fields: what is wrong with which parameter.
        retry_after_s: after which to try again; None where that would not help.
    """

    def __init__(
        self,
        code: grpc.StatusCode,
        message: str,
        *,
        reason: str = "",
        request_id: str = "",
        fields: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.request_id = request_id
        self.fields = dict(fields or {})
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.reason or self.code.name}: {self.message}"

    @classmethod
    def of_call(cls, error: Any) -> "AnalyzerError":
        """Of a call that ended with an error, ``grpc.RpcError``, with the details that it brings."""
        found = cls(error.code(), error.details() or error.code().name)
        try:
            status = rpc_status.from_call(error)
        except ValueError:  # details that contradict the status are nobody's
            return found
        for detail in () if status is None else status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo.FromString(detail.value)
                found.reason = info.reason if info.domain == DOMAIN else ""
            elif detail.Is(error_details_pb2.RequestInfo.DESCRIPTOR):
                found.request_id = error_details_pb2.RequestInfo.FromString(detail.value).request_id
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                delay = error_details_pb2.RetryInfo.FromString(detail.value).retry_delay
                found.retry_after_s = delay.ToMilliseconds() / 1000
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest.FromString(detail.value)
                found.fields = {field.field: field.description for field in bad.field_violations}
        return found

    @classmethod
    def of_image(cls, message: pb.AnalysisError) -> "AnalyzerError":
        """Of one image of a stream."""
        return cls(
            _CODES.get(message.code, grpc.StatusCode.UNKNOWN),
            message.message,
            reason=message.reason,
            request_id=message.request_id,
            fields={violation.field: violation.message for violation in message.field_violations},
            retry_after_s=(
                message.retry_after.ToMilliseconds() / 1000 if message.HasField("retry_after") else None
            ),
        )
