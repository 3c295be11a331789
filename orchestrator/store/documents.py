"""What the service found in a cell as a JSON document, and back, to the last digit."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import Any

from orchestrator.domain import Box, ModelIdentity
from orchestrator.specimen import CellResult


def result_document(result: CellResult) -> str:
    """Doubles are written so that they read back as themselves."""
    document = asdict(result) | {"analysed_at": result.analysed_at.isoformat()}
    return json.dumps(document, sort_keys=True, allow_nan=False)


def result_of(document: str) -> CellResult:
    """The inverse of :func:`result_document`."""
    fields: dict[str, Any] = json.loads(document)
    box = fields.get("box")
    return CellResult(
        **fields
        | {
            "probabilities": tuple(fields["probabilities"]),
            "review_codes": tuple(fields["review_codes"]),
            "image_size": (fields["image_size"][0], fields["image_size"][1]),
            "model": ModelIdentity(**fields["model"]),
            "box": None if box is None else Box(**box),
            "analysed_at": datetime.fromisoformat(fields["analysed_at"]),
        }
    )
