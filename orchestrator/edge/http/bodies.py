"""Bodies of requests, counted as they arrive; and small JSON documents."""

from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from orchestrator.errors import CompressedBody, InvalidParameter, UploadTooLarge, WbcError

MAX_JSON_BYTES: Final = 32 * 2**10
"""Holds the longest comment, of which JSON may write a character as two escapes: twelve bytes."""

Body = TypeVar("Body", bound=BaseModel)


async def bounded(request: Request, max_bytes: int, too_large: WbcError) -> AsyncGenerator[bytes, None]:
    """The body in pieces; raises ``too_large`` where it has more than ``max_bytes``, unread where it says so
    itself, and otherwise whatever it says. Raises ``CompressedBody`` where it has a content coding, and
    ``ClientDisconnect`` where the sender went away."""
    if request.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
        raise CompressedBody
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > max_bytes:
        raise too_large
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > max_bytes:
            raise too_large
        yield chunk


async def read_json(request: Request, model: type[Body]) -> Body:
    """The body as ``model``, whatever its media type says.

    Raises:
        UploadTooLarge: it has more than ``MAX_JSON_BYTES`` bytes.
        CompressedBody: it has a content coding.
        InvalidParameter: it is no JSON, or not what ``model`` describes.
        ClientDisconnect: the sender went away.
    """
    too_large = UploadTooLarge(f"The body is too large; at most {MAX_JSON_BYTES} bytes are accepted.")
    body = b"".join([chunk async for chunk in bounded(request, MAX_JSON_BYTES, too_large)])
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        raise InvalidParameter.from_validation(error.errors(include_url=False)) from error


def json_schema(model: type[BaseModel]) -> Mapping[str, Any]:
    """OpenAPI's description of such a body."""
    return {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}
