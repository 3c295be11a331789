"""The words of the domain in enums of ``wbc.v1`` that callers send: a word is its enum's value but for the
prefix."""

from typing import Any, Final, Generic, TypeVar, get_args

from orchestrator.domain import Language
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.labels import CELL_LABELS
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import ImageKind, SpecimenSort, SpecimenState
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.tta import TtaMode

W = TypeVar("W", bound=str)


class EnumCodec(Generic[W]):
    """One enum. Raises ``ValueError`` where it lacks one of ``words``."""

    def __init__(self, enum: Any, prefix: str, words: tuple[W, ...]) -> None:
        self._words: dict[int, W] = {enum.Value(f"{prefix}_{word.upper()}"): word for word in words}

    def word(self, number: int, field: str) -> W | None:
        """The word of a value that a caller sent in ``field``; None where it is unspecified.

        Raises:
            InvalidParameter: it has no word.
        """
        if number == 0:
            return None
        if number not in self._words:
            raise InvalidParameter(FieldProblem(field, "there is no such value", tuple(self._words.values())))
        return self._words[number]


LANGUAGES: Final = EnumCodec[Language](pb.Language, "LANGUAGE", get_args(Language))
TTA_MODES: Final = EnumCodec[TtaMode](pb.TestTimeAugmentation, "TEST_TIME_AUGMENTATION", get_args(TtaMode))
IMAGE_KINDS: Final = EnumCodec[ImageKind](pb.ImageKind, "IMAGE_KIND", get_args(ImageKind))
SPECIMEN_STATES: Final = EnumCodec[SpecimenState](pb.SpecimenState, "SPECIMEN_STATE", get_args(SpecimenState))
SPECIMEN_SORTS: Final = EnumCodec[str](
    pb.SpecimenSort,
    "SPECIMEN_SORT",
    tuple(f"{sort[1:]}_descending" if sort.startswith("-") else sort for sort in get_args(SpecimenSort)),
)
LABELS: Final = EnumCodec[str](pb.CellClass, "CELL_CLASS", CELL_LABELS)
COLOUR_MAPS: Final = EnumCodec[ColourMap](pb.ColourMap, "COLOUR_MAP", get_args(ColourMap))
HEATMAP_FORMATS: Final = EnumCodec[OverlayFormat](pb.HeatmapFormat, "HEATMAP_FORMAT", get_args(OverlayFormat))
HEATMAP_STYLES: Final = EnumCodec[OverlayStyle](pb.HeatmapStyle, "HEATMAP_STYLE", get_args(OverlayStyle))
