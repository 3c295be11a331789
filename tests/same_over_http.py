"""The documents that HTTP must have answered, from what gRPC did: field by field, under their names there."""

import dataclasses
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from orchestrator.client import Differential
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb

RENAMED: Final = {
    "cell_class": "class",
    "class_name": "class",
    "judgement": "verdict",
    "cell_id": "id",
    "differential_id": "id",
    "field_id": "id",
}


def analysis_over_http(answer: pb.Analysis) -> dict[str, Any]:
    """Of an analysis, but for its id and its times, which are another request's."""
    document = _of_message(answer)
    del document["request_id"], document["timings_ms"]
    document["review"] = {"needed": document.pop("needs_review"), "reasons": document.pop("review_reasons")}
    document["probabilities"] = {one["class"]: one["probability"] for one in document["probabilities"]}
    if document["outlines"] is not None:
        document["outlines"] = {
            name: [[[point["row"], point["column"]] for point in polygon["points"]] for polygon in polygons]
            for name, polygons in document["outlines"].items()
        }
    return document


def differential_over_http(found: Differential) -> dict[str, Any]:
    """Of a differential, but for the moment of its computation, which is another request's."""
    document: dict[str, Any] = _of_value(found)
    del document["computed_at"]
    return document


def with_times(document: Any) -> Any:
    """JSON with its times as times."""
    if isinstance(document, dict):
        return {
            name: datetime.fromisoformat(value) if name.endswith("_at") and value else with_times(value)
            for name, value in document.items()
        }
    return [with_times(value) for value in document] if isinstance(document, list) else document


def _of_message(message: Message) -> dict[str, Any]:
    """None for what is not there, words for enumerations."""
    document = {}
    for field in message.DESCRIPTOR.fields:
        value = getattr(message, field.name)
        if field.has_presence and not message.HasField(field.name):
            value = None
        elif isinstance(value, Mapping):
            value = dict(value)
        elif field.is_repeated:
            value = [_of_field(field, one) for one in value]
        else:
            value = _of_field(field, value)
        document[RENAMED.get(field.name, field.name)] = value
    return document


def _of_field(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
        word = field.enum_type.values_by_number[value].name.removeprefix(prefix).lower()
        return word.capitalize() if field.enum_type.name == "CellClass" else word
    return _of_message(value) if field.message_type is not None else value


def _of_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {
            RENAMED.get(field.name, field.name): _of_value(getattr(value, field.name))
            for field in dataclasses.fields(value)
        }
    if isinstance(value, tuple):
        return [_of_value(one) for one in value]
    return dict(value) if isinstance(value, Mapping) else value
