"""Reads a small JSON document from a request, counting its bytes as they arrive."""

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.requests import Request

from orchestrator.errors import InvalidParameter, UploadTooLarge

MAX_JSON_BYTES: Final = 16 * 2**10

Body = TypeVar("Body", bound=BaseModel)


async def read_json(request: Request, model: type[Body]) -> Body:
    """The body as ``model``, whatever its media type says.

    Raises:
        UploadTooLarge: it has more than ``MAX_JSON_BYTES`` bytes.
        InvalidParameter: it is no JSON, or not what ``model`` describes.
        ClientDisconnect: the sender went away.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_JSON_BYTES:
            raise UploadTooLarge(f"The body is too large; at most {MAX_JSON_BYTES} bytes are accepted.")
    try:
        return model.model_validate_json(bytes(body))
    except ValidationError as error:
        raise InvalidParameter.from_validation(error.errors(include_url=False)) from error


def json_schema(model: type[BaseModel]) -> Mapping[str, Any]:
    """OpenAPI's description of such a body."""
    return {"required": True, "content": {"application/json": {"schema": model.model_json_schema()}}}
