import logging

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from orchestrator import errors
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.security import Forbidden, RateLimited, Unauthenticated
from orchestrator.edge.grpc.problems import DOMAIN, Refusal, code_of
from orchestrator.edge.request_identity import adopt_request_id
from orchestrator.errors import FieldProblem, InvalidParameter, MalformedUpload

CODES = {
    errors.UndecodableImage: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnsupportedImage: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ImageTooLarge: grpc.StatusCode.INVALID_ARGUMENT,
    MalformedUpload: grpc.StatusCode.INVALID_ARGUMENT,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ModelServerUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.ModelServerTimeout: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.ContractViolation: grpc.StatusCode.INTERNAL,
    errors.UnknownDifferential: grpc.StatusCode.NOT_FOUND,
    errors.IdempotencyConflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.CountedAlready: grpc.StatusCode.FAILED_PRECONDITION,
    errors.SpecimenClosed: grpc.StatusCode.FAILED_PRECONDITION,
    errors.StoreOff: grpc.StatusCode.UNIMPLEMENTED,
    errors.StoreUnavailable: grpc.StatusCode.UNAVAILABLE,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    Forbidden: grpc.StatusCode.PERMISSION_DENIED,
}


def details_of(error: Exception) -> tuple[grpc.StatusCode, str, dict[str, object]]:
    status = Refusal.of(error).rich_status()
    ((key, data),) = status.trailing_metadata
    assert key == "grpc-status-details-bin"
    message = status_pb2.Status.FromString(data)
    assert (message.code, message.message) == (status.code.value[0], status.details)
    found: dict[str, object] = {}
    for detail in message.details:
        name = detail.type_url.rpartition(".")[2]
        found[name] = getattr(error_details_pb2, name).FromString(detail.value)
    return status.code, status.details, found


@pytest.mark.parametrize(("kind", "code"), CODES.items())
def test_errors_have_the_code_that_says_what_a_caller_may_do(kind, code):
    adopt_request_id("lab-42")
    found, message, details = details_of(kind("It is so."))
    assert (found, message) == (code, "It is so.")
    info = details["ErrorInfo"]
    assert info.domain == DOMAIN
    assert info.reason == kind.kind.name.upper().replace("-", "_")
    assert info.metadata["disclaimer"] == DISCLAIMER
    assert details["RequestInfo"].request_id == "lab-42"


def test_no_kind_of_problem_is_without_a_code():
    assert all(code_of(kind) is not grpc.StatusCode.UNKNOWN for kind in errors.kinds())


@pytest.mark.parametrize(
    ("error", "code", "seconds"),
    [
        (errors.Overloaded("busy", 2.5), grpc.StatusCode.RESOURCE_EXHAUSTED, 2.5),
        (RateLimited("too often", {"Retry-After": "7"}), grpc.StatusCode.RESOURCE_EXHAUSTED, 7),
        (errors.ModelServerUnavailable("away"), grpc.StatusCode.UNAVAILABLE, 5),
    ],
)
def test_who_may_come_back_is_told_when(error, code, seconds):
    found, _, details = details_of(error)
    assert found is code
    assert details["RetryInfo"].retry_delay.ToMilliseconds() == seconds * 1000


def test_wrong_parameters_are_named_with_what_is_right():
    error = InvalidParameter(FieldProblem("options.profile", "there is no such profile", ("a", "b")))
    _, _, details = details_of(error)
    (violation,) = details["BadRequest"].field_violations
    assert violation.field == "options.profile"
    assert violation.description == "there is no such profile (allowed: a, b)"


def test_an_unexpected_error_shows_nothing_of_the_inside(caplog):
    with caplog.at_level(logging.ERROR):
        code, message, details = details_of(RuntimeError("Yilmaz-Ayse-1957"))
    assert code is grpc.StatusCode.INTERNAL
    assert details["ErrorInfo"].reason == "INTERNAL_ERROR"
    assert "Yilmaz" not in message + str(details) + caplog.text
    assert "unexpected RuntimeError" in caplog.text


def test_an_image_of_a_stream_is_refused_in_the_same_words():
    adopt_request_id("lab-42-1")
    error = errors.Overloaded("busy", 2.5)
    code, message, details = details_of(error)
    told = Refusal.of(error).message_for_a_stream()
    assert (told.code, told.message, told.request_id) == (code.value[0], message, "lab-42-1")
    assert told.reason == details["ErrorInfo"].reason
    assert told.retry_after == details["RetryInfo"].retry_delay
    assert told.disclaimer == DISCLAIMER
