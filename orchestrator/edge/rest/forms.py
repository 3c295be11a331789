"""Forms as OpenAPI describes them."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

ONE_CELL: Final = "One cell: JPEG, PNG, BMP, TIFF, WebP or DICOM."


def form_schema(parameters: type[BaseModel], file_field: str, what: str = ONE_CELL) -> Mapping[str, Any]:
    """OpenAPI's description of a form with one image, which is ``what``, and these parameters."""
    properties = parameters.model_json_schema()["properties"]
    image = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "description": what,
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [file_field],
                    "properties": {file_field: image, **properties},
                }
            }
        },
    }
