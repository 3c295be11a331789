"""Forms as OpenAPI describes them."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def form_schema(parameters: type[BaseModel], file_field: str) -> Mapping[str, Any]:
    """OpenAPI's description of a form with one image and these parameters."""
    properties = parameters.model_json_schema()["properties"]
    image = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "description": "One cell: JPEG, PNG, BMP, TIFF, WebP or DICOM.",
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
