"""Values of the protos' enums as plain words, and back."""

from typing import Any, Literal

from ..protos.wbc.v1 import wbc_pb2 as pb

ClassName = Literal["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"]
Label = Literal["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil", "Unidentified"]
Language = Literal["en", "tr"]
Tta = Literal["none", "light", "adaptive"]
ColourMap = Literal["viridis", "inferno", "cividis", "jet"]
HeatmapFormat = Literal["png", "jpeg"]
HeatmapStyle = Literal["overlay", "levels", "reference"]


def word(enum: Any, prefix: str, number: int) -> str | None:
    """The word of a value, in small letters; None where it is unspecified, or newer than this client."""
    if number == 0 or number not in enum.values():
        return None
    name: str = enum.Name(number)
    return name.removeprefix(f"{prefix}_").lower()


def number(enum: Any, prefix: str, chosen: str | None) -> Any:
    """The value of a word; unspecified where None. Raises ``ValueError`` where there is no such word."""
    return 0 if chosen is None else enum.Value(f"{prefix}_{chosen.upper()}")


def device_state_of(number: int) -> str | None:
    """Such as ``known``; None where it is unspecified."""
    return word(pb.DeviceState, "DEVICE_STATE", number)


def label(number: int) -> str | None:
    """The name of a class, such as ``Neutrophil``; None where it is unspecified."""
    found = word(pb.CellClass, "CELL_CLASS", number)
    return None if found is None else found.capitalize()
