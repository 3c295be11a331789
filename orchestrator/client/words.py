"""Values of the protos' enums as plain words, and back."""

from typing import Any, Literal, get_args

from ..protos.wbc.v1 import wbc_pb2 as pb
from .reading import word_at

ClassName = Literal["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil"]
Label = Literal["Basophil", "Eosinophil", "Lymphocyte", "Monocyte", "Neutrophil", "Unidentified"]
"""Those that every service has; a person may use others, by their names."""

Language = Literal["en", "tr"]
Tta = Literal["none", "light", "adaptive"]
ImageKind = Literal["cell", "field", "auto"]
ColourMap = Literal["viridis", "inferno", "cividis", "jet"]
HeatmapFormat = Literal["png", "jpeg"]
HeatmapStyle = Literal["overlay", "levels", "reference"]


def number(enum: Any, prefix: str, chosen: str | None) -> Any:
    """The value of a word; unspecified where None. Raises ``ValueError`` where there is no such word."""
    return 0 if chosen is None else enum.Value(f"{prefix}_{chosen.upper()}")


def said(label: str) -> dict[str, Any]:
    """What a person says that a cell is, as fields of a message."""
    if label in get_args(Label):
        return {"label": number(pb.CellClass, "CELL_CLASS", label)}
    return {"label_name": label}


def label(number: int) -> str | None:
    """The name of a class, such as ``Neutrophil``; None where it is unspecified."""
    return word_at(pb.DESCRIPTOR.enum_types_by_name["CellClass"], number)
