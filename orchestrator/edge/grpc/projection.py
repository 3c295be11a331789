"""Documents as messages of ``wbc.v1``: field by field, by their names.

The documents are the one schema of a result; a message is its projection. What a message calls otherwise
stands in ``NAMES``; what a document has and its message has not is left out, which the contract test of the
formats notices.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

M = TypeVar("M", bound=Message)

NAMES: Final = {
    "cell_class": ("class_name", "label"),
    "label_name": ("label",),
    "judgement": ("verdict",),
    "cell_id": ("id",),
    "differential_id": ("id",),
    "field_id": ("id",),
    "classes": ("class_names",),
    "is_default": ("default",),
    "image": ("image_size",),
}
"""Fields of messages, and what the documents call them."""


def message_of(document: BaseModel, kind: type[M]) -> M:
    """The message of a document, or of a part of one; what is None there is absent here."""
    message: M = kind()
    fill(message, document)
    return message


def fill(message: Message, values: object) -> None:
    """Those fields of a message that ``values`` has, by key or by attribute."""
    known = values if isinstance(values, Mapping) else None
    for field, names in _fields(message.DESCRIPTOR):
        found = (getattr(values, name, None) if known is None else known.get(name) for name in names)
        value = next((one for one in found if one is not None), None)
        if value is None:
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name).update(value)
        elif field.is_repeated:
            _extend(getattr(message, field.name), field, value)
        elif field.message_type is not None:
            part = getattr(message, field.name)
            part.SetInParent()
            _fill_one(part, value)
        else:
            setattr(message, field.name, _plain(field, value))


def _extend(repeated: Any, field: FieldDescriptor, values: Any) -> None:
    if field.message_type is None:
        repeated.extend(_plain(field, value) for value in values)
        return
    if isinstance(values, Mapping):  # by class, or by signature
        names = [one.name for one in field.message_type.fields]
        values = [dict(zip(names, pair, strict=True)) for pair in values.items()]
    for value in values:
        _fill_one(repeated.add(), value)


def _fill_one(message: Message, value: Any) -> None:
    if isinstance(message, Timestamp):
        message.FromDatetime(value)
    elif not isinstance(value, list | tuple):
        fill(message, value)
    else:  # a pair, or a list of what the message's only field repeats
        names = [field.name for field in message.DESCRIPTOR.fields]
        fill(message, dict(zip(names, value if len(names) > 1 else [value], strict=True)))


def _plain(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is None:
        return value
    numbers = numbers_of(field.enum_type)
    return numbers[value] if value in numbers else numbers["other"]


@cache
def _fields(descriptor: Descriptor) -> list[tuple[FieldDescriptor, tuple[str, ...]]]:
    return [(field, (field.name, *NAMES.get(field.name, ()))) for field in descriptor.fields]


@cache
def numbers_of(enum: EnumDescriptor) -> Mapping[str, int]:
    """The values of an enum by their words: in small letters, without the prefix; a class as it is
    written."""
    prefix = enum.values[0].name.removesuffix("UNSPECIFIED")
    words = {value.name.removeprefix(prefix).lower(): value.number for value in enum.values}
    return words | {word.capitalize(): number for word, number in words.items()}
