"""Errors as RFC 9457 problem documents."""

import math
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from orchestrator import errors
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.access.security import AccessDenied
from orchestrator.edge.failures import detail_of, log_failure
from orchestrator.edge.http import not_found_page
from orchestrator.edge.http.paths import path_within
from orchestrator.errors import InvalidParameter, ProblemType
from orchestrator.observability.request_context import current_request_id

MEDIA_TYPE: Final = "application/problem+json"

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]


class ParameterProblem(BaseModel):
    """What is wrong with one parameter."""

    field: str = Field(examples=["profile"])
    message: str = Field(examples=["there is no such profile"])
    allowed: list[str] = Field(default=[], description="The values that are right, where they can be listed.")


class Problem(BaseModel):
    """An RFC 9457 problem document."""

    type: str = Field(examples=["urn:wbc-analyzer:problem:undecodable-image"])
    title: str = Field(examples=["The image cannot be decoded"])
    status: int = Field(ge=400, le=599, examples=[400])
    detail: str = Field(examples=["The JPEG data ends early: the file is truncated."])
    instance: str = Field(examples=["urn:wbc-analyzer:request:3f1c9a52-6f0b-4c83-9d61-0c5d6a3c7d11"])
    request_id: str = Field(examples=["3f1c9a52-6f0b-4c83-9d61-0c5d6a3c7d11"])
    errors: list[ParameterProblem] = Field(default=[], description="Only where parameters are wrong.")
    disclaimer: str = DISCLAIMER


def kind_of(error: Exception) -> ProblemType:
    """As :func:`orchestrator.errors.kind_of`, and of the errors of the framework."""
    if isinstance(error, HTTPException):  # the framework's own: no such path, wrong method
        status = HTTPStatus(error.status_code)
        return ProblemType(f"http-{status.value}", status, status.phrase, status.description)
    if isinstance(error, RequestValidationError):
        return InvalidParameter.kind
    return errors.DISCONNECTED if isinstance(error, ClientDisconnect) else errors.kind_of(error)


def problem_of(error: Exception) -> Problem:
    """The document that tells a caller what went wrong, and nothing of what is inside."""
    kind = kind_of(error)
    if isinstance(error, RequestValidationError):
        error = InvalidParameter.from_validation(error.errors())
    request_id = current_request_id()
    return Problem(
        type="about:blank" if isinstance(error, HTTPException) else f"urn:wbc-analyzer:problem:{kind.name}",
        title=kind.title,
        status=kind.status,
        detail=str(error.detail) if isinstance(error, HTTPException) else detail_of(error, kind),
        instance=f"urn:wbc-analyzer:request:{request_id}",
        request_id=request_id,
        errors=[
            ParameterProblem(field=field.field, message=field.message, allowed=list(field.allowed))
            for field in (error.fields if isinstance(error, InvalidParameter) else ())
        ],
    )


def respond(error: Exception) -> Response:
    """The response for an error; what a caller cannot mend is also logged, but for an overload, which the
    metrics tell of."""
    kind = kind_of(error)
    log_failure(error, kind)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException | AccessDenied) else {}
    retry_after_s = error.retry_after_s if isinstance(error, errors.Overloaded) else kind.retry_after_s
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    if isinstance(error, errors.CompressedBody):
        headers["Accept-Encoding"] = "identity"  # tells that the coding is what is wrong (RFC 9110, 12.5.3)
    problem = problem_of(error)
    document = problem.model_dump_json(exclude=None if problem.errors else {"errors"})
    return Response(document, kind.status, headers, MEDIA_TYPE)


def document_of(error: Exception) -> str:
    """The problem document alone, for an answer that has begun and whose status is sent."""
    log_failure(error, kind_of(error))
    return problem_of(error).model_dump_json()


async def _handle(_: Request, error: Any) -> Response:
    return respond(error)


async def _handle_http(request: Request, error: Any) -> Response:
    if (
        error.status_code == HTTPStatus.NOT_FOUND
        and request.method == "GET"
        and not_found_page.prefers_html(",".join(request.headers.getlist("accept")))
    ):
        return HTMLResponse(not_found_page.render(path_within(request.scope)), error.status_code)
    return respond(error)


HANDLERS: Final[dict[int | type[Exception], Handler]] = {
    HTTPException: _handle_http,
    RequestValidationError: _handle,
    ClientDisconnect: _handle,
    errors.WbcError: _handle,
}
"""Everything else is unexpected and caught by the outermost middleware."""


def responses(*refusals: type[errors.WbcError]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems that an operation may answer with."""
    described: dict[int | str, dict[str, Any]] = {}
    for kind in (cls.kind for cls in refusals):
        response = described.setdefault(
            kind.status.value,
            {
                "description": "",
                "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}}},
            },
        )
        response["description"] += f"{'; ' if response['description'] else ''}{kind.title}"
        response["content"][MEDIA_TYPE]["examples"][kind.name] = {"value": _example(kind)}
        if kind.retry_after_s is not None:
            response["headers"] = {
                "Retry-After": {
                    "description": "Seconds after which to try again.",
                    "schema": {"type": "integer"},
                }
            }
    return described


def _example(kind: ProblemType) -> dict[str, Any]:
    request_id = "3f1c9a52-6f0b-4c83-9d61-0c5d6a3c7d11"
    return {
        "type": f"urn:wbc-analyzer:problem:{kind.name}",
        "title": kind.title,
        "status": kind.status.value,
        "detail": kind.example,
        "instance": f"urn:wbc-analyzer:request:{request_id}",
        "request_id": request_id,
        "disclaimer": DISCLAIMER,
    }
