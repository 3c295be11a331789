"""Messages as values: field by field, by their names."""

import re
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC
from typing import Any, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

Value = TypeVar("Value")

NAMES = {
    "class_name": ("cell_class",),
    "label": ("label_name", "label", "cell_class"),
    "image_size": ("image",),
}
"""Fields of values, and what messages call them; of several, the first one that is not empty."""

PARTS = ("decision", "shares", "order")
"""Messages within a message whose fields are the value's own."""


def value_of(message: Message, kind: type[Value]) -> Value:
    """A value of the dataclass ``kind``. Metadata of its fields may say what stands for what is absent
    (``absent``), and which dataclass a message within becomes (``kind``)."""
    return kind(**{field.name: _found(message, field.name, field.metadata) for field in fields(kind)})  # type: ignore[arg-type]


def _found(message: Message, name: str, metadata: Mapping[str, Any]) -> Any:
    for holder in (message, *(getattr(message, part) for part in PARTS if hasattr(message, part))):
        known = [one for one in NAMES.get(name, (name,)) if one in holder.DESCRIPTOR.fields_by_name]
        for one in known:
            value = _read(holder, holder.DESCRIPTOR.fields_by_name[one], metadata.get("kind"))
            if one == known[-1] or value != "":
                return metadata.get("absent", value) if value in (None, {}) else value
    raise TypeError(f"{message.DESCRIPTOR.name} has no {name}")


def _read(message: Message, field: FieldDescriptor, kind: Any) -> Any:
    value = getattr(message, field.name)
    if field.has_presence and not message.HasField(field.name):
        return None
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return dict(value)
    if field.is_repeated:
        if field.message_type is not None and field.message_type.name == "ClassProbability":
            return {word_of(one, "cell_class") or "": one.probability for one in value}
        return tuple(one if field.message_type is None else _within(one, kind) for one in value)
    if field.enum_type is not None:
        return word_of(message, field.name)
    return value if field.message_type is None else _within(value, kind)


def _within(message: Message, kind: Any) -> Any:
    if isinstance(message, Timestamp):
        return message.ToDatetime(UTC)
    if kind is not None:
        return value_of(message, kind)
    values = tuple(_read(message, field, None) for field in message.DESCRIPTOR.fields)
    return values if len(values) > 1 else values[0]  # a pair; or what its only field repeats


def word_of(message: Message, name: str) -> str | None:
    """The word of an enumeration, a class as it is written and else in small letters; None where it is
    unspecified, or newer than this client."""
    field = message.DESCRIPTOR.fields_by_name[name]
    return word_at(field.enum_type, getattr(message, name))


def word_at(enum: Any, number: int) -> str | None:
    """The word of one of its values."""
    if number == 0 or number not in enum.values_by_number:
        return None
    prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", enum.name).upper()
    word: str = enum.values_by_number[number].name.removeprefix(f"{prefix}_").lower()
    return word.capitalize() if enum.name == "CellClass" else word
