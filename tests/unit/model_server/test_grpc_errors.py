import grpc
import pytest

from orchestrator.errors import (
    ContractViolation,
    ModelServerError,
    ModelServerTimeout,
    ModelServerUnavailable,
    Overloaded,
    WbcError,
)
from orchestrator.model_server.grpc_errors import may_be_retried, translated

ADDRESS = "ipv4:10.1.2.3:8500"
FULL = "The batch scheduling queue to which this task was submitted is full; currently 4 batches"


def rpc_error(code: grpc.StatusCode, details: str | None) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details)


CASES = [
    (grpc.StatusCode.UNAVAILABLE, f"failed to connect to {ADDRESS}", ModelServerUnavailable),
    (grpc.StatusCode.UNAVAILABLE, FULL, Overloaded),
    (grpc.StatusCode.UNAVAILABLE, None, ModelServerUnavailable),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "too many requests", Overloaded),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "Received message larger than max (9 vs. 4)", ContractViolation),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "CLIENT: Sent message larger than max (9 vs. 4)", ContractViolation),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded", ModelServerTimeout),
    (grpc.StatusCode.NOT_FOUND, "Servable not found for request: Latest(wbc)", ModelServerUnavailable),
    (grpc.StatusCode.INVALID_ARGUMENT, "Unrecognized servable version label: x", ModelServerUnavailable),
    (grpc.StatusCode.INVALID_ARGUMENT, "input size does not match", ContractViolation),
    (grpc.StatusCode.UNIMPLEMENTED, "", ContractViolation),
    (grpc.StatusCode.UNAUTHENTICATED, "", ModelServerUnavailable),
    (grpc.StatusCode.PERMISSION_DENIED, "", ModelServerUnavailable),
    (grpc.StatusCode.CANCELLED, "", ModelServerUnavailable),
    (grpc.StatusCode.INTERNAL, f"out of memory on {ADDRESS}", ModelServerError),
    (grpc.StatusCode.UNKNOWN, "", ModelServerError),
]


@pytest.mark.parametrize(("code", "details", "kind"), CASES)
def test_each_status_is_one_error_and_tells_no_address(
    code: grpc.StatusCode, details: str | None, kind: type[WbcError]
):
    error = translated(rpc_error(code, details))
    assert type(error) is kind
    assert "10.1.2.3" not in str(error)


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_only_unavailable_is_tried_again(code: grpc.StatusCode):
    error = translated(rpc_error(code, ""))
    error.__cause__ = rpc_error(code, "")
    assert may_be_retried(error) is (code is grpc.StatusCode.UNAVAILABLE)


def test_a_full_queue_may_be_tried_again_and_says_when_at_the_latest():
    cause = rpc_error(grpc.StatusCode.UNAVAILABLE, FULL)
    error = translated(cause)
    error.__cause__ = cause
    assert may_be_retried(error)
    assert isinstance(error, Overloaded)
    assert error.retry_after_s == 1.0


def test_an_error_of_another_origin_is_not_tried_again():
    assert not may_be_retried(ModelServerUnavailable("the model server is not started"))
