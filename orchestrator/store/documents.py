"""What the service found in a cell as a JSON document, and back, to the last digit."""

import json
from dataclasses import asdict
from dataclasses import fields as fields_of
from datetime import datetime
from typing import Any

from orchestrator.domain import Box, ModelIdentity
from orchestrator.specimen import CellResult, FieldPlace
from orchestrator.store.base import FoundField


def result_document(result: CellResult, place: FieldPlace | None = None) -> str:
    """Doubles are written so that they read back as themselves."""
    document = asdict(result) | {"analysed_at": result.analysed_at.isoformat()}
    if place is not None:
        document["place"] = asdict(place)
    return json.dumps(document, sort_keys=True, allow_nan=False)


def field_document(found: FoundField) -> str:
    """What is kept of a field beside its cells."""
    document = {"image_size": found.image_size, "red_cell_px": found.red_cell_px, "cells": found.white_cells}
    return json.dumps(document, sort_keys=True, allow_nan=False)


def place_of(document: str) -> FieldPlace | None:
    """Where the cell of a :func:`result_document` lies in a field; None where it came alone."""
    place: dict[str, Any] | None = json.loads(document).get("place")
    return None if place is None else FieldPlace(**_known(FieldPlace, place))


def result_of(document: str) -> CellResult:
    """The inverse of :func:`result_document`.

    A replica of a newer version may have kept more, while an upgrade is under way: that is left aside here,
    and stays in the store.
    """
    fields: dict[str, Any] = json.loads(document)
    box = fields.get("box")
    return CellResult(
        **_known(CellResult, fields)
        | {
            "probabilities": tuple(fields["probabilities"]),
            "review_codes": tuple(fields["review_codes"]),
            "image_size": (fields["image_size"][0], fields["image_size"][1]),
            "model": ModelIdentity(**_known(ModelIdentity, fields["model"])),
            "box": None if box is None else Box(**_known(Box, box)),
            "analysed_at": datetime.fromisoformat(fields["analysed_at"]),
        }
    )


def _known(kind: type[Any], document: dict[str, Any]) -> dict[str, Any]:
    """Of a document what a dataclass has."""
    return {field.name: document[field.name] for field in fields_of(kind) if field.name in document}
