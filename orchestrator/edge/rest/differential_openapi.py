"""What OpenAPI cannot be told by types about ordering and following a differential."""

from collections.abc import Mapping
from typing import Any, Final

from orchestrator.edge.http.uploads import FILES_FIELD
from orchestrator.edge.parameters import OrderParameters
from orchestrator.edge.rest.forms import form_schema

LOCATION: Final = {
    "Location": {
        "description": "Of the differential, relative to this request.",
        "schema": {"type": "string", "format": "uri-reference"},
    }
}

EVENTS: Final[Mapping[str, Any]] = {
    "description": "Server-sent events.",
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event.",
                "required": ["event", "data"],
                "properties": {
                    "event": {"type": "string", "enum": ["progress", "done", "error"]},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                    "id": {"type": "string"},
                    "retry": {"type": "integer"},
                },
            },
            "examples": {
                "progress": {
                    "value": 'event: progress\ndata: {"id": "…", "state": "running", "total": 100, '
                    '"waiting": 40, "analysed": 59, "failed": 1, …}\nid: running-60\n\n'
                    'event: done\ndata: {"id": "…", "state": "analysed", …}\nid: analysed-100\n\n'
                }
            },
        }
    },
}


def order_form() -> dict[str, Any]:
    """The form of an order: as that of one image, with many files and what an order says."""
    form = dict(form_schema(OrderParameters, FILES_FIELD))
    schema = form["content"]["multipart/form-data"]["schema"]
    schema["required"] = [FILES_FIELD, "specimen_id"]
    schema["properties"][FILES_FIELD] = {
        "type": "array",
        "minItems": 1,
        "items": {"type": "string", "contentMediaType": "application/octet-stream"},
        "description": "One cell each, or by `kind` one field: JPEG, PNG, BMP, TIFF, WebP or DICOM; or one "
        "zip archive of them.",
    }
    return form
