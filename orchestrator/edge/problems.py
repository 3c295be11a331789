"""Errors as RFC 9457 problem documents: the only place that knows which status belongs to which error."""

import logging
import math
import traceback
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response

from orchestrator import errors
from orchestrator.domain import DISCLAIMER
from orchestrator.edge import not_found_page
from orchestrator.edge.open_inference_schemas import InferenceTooLarge, MalformedInference, UnknownModel
from orchestrator.edge.security import (
    AccessDenied,
    AuthenticationUnavailable,
    Forbidden,
    RateLimited,
    Unauthenticated,
)
from orchestrator.edge.uploads import MalformedUpload, UnsupportedBody, UploadTimeout, UploadTooLarge
from orchestrator.request_context import current_request_id

MEDIA_TYPE: Final = "application/problem+json"

Handler = Callable[[Request, Any], Coroutine[Any, Any, Response]]

_PLACES: Final = ("query", "header")

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FieldProblem:
    """What is wrong with one parameter, and which values are right where these can be listed."""

    field: str
    message: str
    allowed: tuple[str, ...] = ()


class InvalidParameter(errors.WbcError):
    """Parameters of a request are unknown or wrong."""

    def __init__(self, *fields: FieldProblem) -> None:
        super().__init__("; ".join(f"{field.field}: {field.message}" for field in fields))
        self.fields = fields

    @classmethod
    def from_validation(cls, found: Sequence[Any]) -> "InvalidParameter":
        """Of pydantic's list of errors; the values that were received are not repeated."""
        return cls(
            *(
                FieldProblem(".".join(str(p) for p in error["loc"] if p not in _PLACES), error["msg"])
                for error in found
            )
        )


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem.

    ``name`` ends its type URI and labels its count in the metrics; ``example`` is a typical detail.
    """

    name: str
    status: HTTPStatus
    title: str
    example: str
    retry_after_s: float | None = None


_INTERNAL: Final = Kind(
    "internal-error",
    HTTPStatus.INTERNAL_SERVER_ERROR,
    "The service failed",
    "The service failed. Its log tells more under this request id.",
)

KINDS: Final[Mapping[type[Exception], Kind]] = MappingProxyType(
    {
        errors.InvalidImage: Kind(
            "invalid-image",
            HTTPStatus.BAD_REQUEST,
            "The image cannot be analysed",
            "This image cannot be analysed.",
        ),
        errors.UndecodableImage: Kind(
            "undecodable-image",
            HTTPStatus.BAD_REQUEST,
            "The image cannot be decoded",
            "The JPEG data ends early: the file is truncated.",
        ),
        errors.UnsupportedImage: Kind(
            "unsupported-image",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "This kind of image is not supported",
            "The file is not a JPEG, PNG, BMP, TIFF, WebP or DICOM image.",
        ),
        errors.ImageTooLarge: Kind(
            "image-too-large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The image is too large",
            "The file is too large; at most 10485760 bytes are accepted.",
        ),
        MalformedUpload: Kind(
            "malformed-upload",
            HTTPStatus.BAD_REQUEST,
            "The upload is malformed",
            "There is no file: the form has no field 'file'.",
        ),
        UploadTooLarge: Kind(
            "upload-too-large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The upload is too large",
            "The files together are too large; at most 268435456 bytes are accepted.",
        ),
        MalformedInference: Kind(
            "malformed-inference",
            HTTPStatus.BAD_REQUEST,
            "The inference request is malformed",
            "images: expected the datatype UINT8.",
        ),
        InferenceTooLarge: Kind(
            "inference-too-large",
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "The inference request is too large",
            "images: at most 32 rows are taken at a time.",
        ),
        UnknownModel: Kind(
            "unknown-model",
            HTTPStatus.NOT_FOUND,
            "There is no such model",
            "There is no such model; there are wbc, wbc_analysis.",
        ),
        UnsupportedBody: Kind(
            "unsupported-body",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "This kind of body is not supported",
            "Expected multipart/form-data with the image in the field 'file'.",
        ),
        UploadTimeout: Kind(
            "upload-timeout",
            HTTPStatus.REQUEST_TIMEOUT,
            "The upload took too long",
            "The upload did not arrive within 60 seconds.",
        ),
        ClientDisconnect: Kind(
            "client-disconnected",
            HTTPStatus.BAD_REQUEST,
            "The sender went away",
            "The upload was broken off.",
        ),
        InvalidParameter: Kind(
            "invalid-parameter",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "A parameter is wrong",
            "profile: there is no such profile",
        ),
        # 503 and not 429: all callers together are too many for this process, not this one for its share.
        errors.Overloaded: Kind(
            "overloaded",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The service is busy",
            "64 analyses are under way; no more are taken.",
            retry_after_s=1,
        ),
        Unauthenticated: Kind(
            "unauthenticated",
            HTTPStatus.UNAUTHORIZED,
            "It is not known who asks",
            "Show an API key or a token: 'Authorization: Bearer ...', or an API key in 'X-API-Key'.",
        ),
        Forbidden: Kind(
            "forbidden",
            HTTPStatus.FORBIDDEN,
            "The caller may not do this",
            "This needs the role sign; yours: analyse.",
        ),
        RateLimited: Kind(
            "rate-limited",
            HTTPStatus.TOO_MANY_REQUESTS,
            "The caller asks too often",
            "You asked more than 100 times in 60 seconds; ask again in 3 seconds.",
        ),
        AuthenticationUnavailable: Kind(
            "authentication-unavailable",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "Who asks cannot be found out now",
            "The issuer of the token does not tell its keys at the moment.",
            retry_after_s=30,
        ),
        errors.DeadlineExceeded: Kind(
            "deadline-exceeded",
            HTTPStatus.GATEWAY_TIMEOUT,
            "The time for this request is over",
            "There was no answer in the time for this request.",
        ),
        errors.ModelServerUnavailable: Kind(
            "model-unavailable",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The model is not available",
            "The model server is not ready.",
            retry_after_s=5,
        ),
        errors.ModelServerTimeout: Kind(
            "model-timeout",
            HTTPStatus.GATEWAY_TIMEOUT,
            "The model did not answer in time",
            "The model server did not answer before the deadline.",
        ),
        errors.UnknownDifferential: Kind(
            "unknown-differential",
            HTTPStatus.NOT_FOUND,
            "There is no such differential",
            "There is no differential of this id.",
        ),
        errors.UnknownCell: Kind(
            "unknown-cell",
            HTTPStatus.NOT_FOUND,
            "There is no such cell",
            "The differential has no cell of this id.",
        ),
        errors.ImageNotKept: Kind(
            "image-not-kept",
            HTTPStatus.NOT_FOUND,
            "The image is not kept",
            "Images are not kept here, or not any more.",
        ),
        errors.IdempotencyConflict: Kind(
            "idempotency-conflict",
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "This key stands for another order",
            "The Idempotency-Key was used before, for another order or other images.",
        ),
        errors.SpecimenClosed: Kind(
            "specimen-closed",
            HTTPStatus.CONFLICT,
            "The differential is closed",
            "The differential is signed or cancelled, and nothing changes it any more.",
        ),
        errors.NotReady: Kind(
            "not-ready",
            HTTPStatus.CONFLICT,
            "The differential is not ready",
            "Cells wait to be analysed.",
        ),
        errors.StoreOff: Kind(
            "store-off",
            HTTPStatus.NOT_IMPLEMENTED,
            "This service keeps nothing",
            "Differentials need a store: set WBC_STORE__URL.",
        ),
        errors.DicomOff: Kind(
            "dicom-off",
            HTTPStatus.NOT_IMPLEMENTED,
            "This service writes no DICOM",
            "DICOM objects need the extra 'dicom': pip install 'wbc-analyzer[dicom]'.",
        ),
        errors.StoreUnavailable: Kind(
            "store-unavailable",
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The store is not available",
            "The store does not answer.",
            retry_after_s=5,
        ),
        errors.StoreError: Kind(
            "store-error",
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "The store failed",
            "The store could not do this.",
        ),
        errors.ContractViolation: Kind(
            "contract-violation",
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "The served model is not the one expected",
            "The model server sent no class activation maps.",
        ),
        errors.ModelServerError: Kind(
            "model-error",
            HTTPStatus.INTERNAL_SERVER_ERROR,
            "The model failed",
            "The model server could not answer.",
        ),
    }
)


NAMES: Final = (_INTERNAL.name, *(kind.name for kind in KINDS.values()))
"""Of all kinds but those of the framework, which are named by their status."""


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


def kind_of(error: Exception) -> Kind:
    """The kind of the nearest ancestor that has one; an internal error for everything unexpected."""
    if isinstance(error, HTTPException):  # the framework's own: no such path, wrong method
        status = HTTPStatus(error.status_code)
        return Kind(f"http-{status.value}", status, status.phrase, status.description)
    if isinstance(error, RequestValidationError):
        return KINDS[InvalidParameter]
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), _INTERNAL)


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
        detail=_detail(error, kind),
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
    log_failure(error)
    kind = kind_of(error)
    headers = dict(error.headers or {}) if isinstance(error, HTTPException | AccessDenied) else {}
    retry_after_s = error.retry_after_s if isinstance(error, errors.Overloaded) else kind.retry_after_s
    if retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(retry_after_s)))
    problem = problem_of(error)
    document = problem.model_dump_json(exclude=None if problem.errors else {"errors"})
    return Response(document, kind.status, headers, MEDIA_TYPE)


def document_of(error: Exception) -> str:
    """The problem document alone, for an answer that has begun and whose status is sent."""
    log_failure(error)
    return problem_of(error).model_dump_json()


def log_failure(error: Exception) -> None:
    """Log what a caller cannot mend."""
    kind = kind_of(error)
    # A refusal costs next to nothing, and so it stays: in an overload a line for each would be the log.
    if kind.status >= HTTPStatus.INTERNAL_SERVER_ERROR and not isinstance(error, errors.Overloaded):
        _log(error, kind)


async def _handle(_: Request, error: Any) -> Response:
    return respond(error)


async def _handle_http(request: Request, error: Any) -> Response:
    if (
        error.status_code == HTTPStatus.NOT_FOUND
        and request.method == "GET"
        and not_found_page.prefers_html(",".join(request.headers.getlist("accept")))
    ):
        return HTMLResponse(not_found_page.render(request.scope.get("root_path", "")), error.status_code)
    return respond(error)


HANDLERS: Final[dict[int | type[Exception], Handler]] = {
    HTTPException: _handle_http,
    RequestValidationError: _handle,
    ClientDisconnect: _handle,
    errors.WbcError: _handle,
}
"""Everything else is unexpected and caught by the outermost middleware."""


def responses(*kinds: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """OpenAPI's description of the problems that an operation may answer with."""
    described: dict[int | str, dict[str, Any]] = {}
    for kind in (KINDS[cls] for cls in kinds):
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


def _example(kind: Kind) -> dict[str, Any]:
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


def _detail(error: Exception, kind: Kind) -> str:
    if isinstance(error, HTTPException):
        return str(error.detail)
    if isinstance(error, errors.WbcError) and kind is not _INTERNAL:
        return str(error) or kind.title  # written for the person who can do something about it
    return kind.example


def _log(error: Exception, kind: Kind) -> None:
    """Message only of our own errors: a foreign one may quote what was in the image or in the form."""
    if kind is not _INTERNAL:
        _logger.warning("request %s: %s: %s", current_request_id(), kind.name, error)
        return
    chain, seen = [], error
    frames = "".join(traceback.format_tb(error.__traceback__))
    while seen is not None:
        chain.append(type(seen).__qualname__)
        seen = seen.__cause__ or seen.__context__  # type: ignore[assignment]
    _logger.error("request %s: unexpected %s\n%s", current_request_id(), " from ".join(chain), frames)
