"""The words of the domain as enums of ``wbc.v1``, and back: a word is its enum's value but for the prefix."""

from typing import Any, Final, Generic, TypeVar, get_args

from orchestrator.domain import DeviceState, FocusJudgement, Language, RoutingMode
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import CELL_LABELS, CellState, SpecimenState
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.tta import TtaMode

W = TypeVar("W", bound=str)


class EnumCodec(Generic[W]):
    """One enum. Raises ``ValueError`` where it lacks one of ``words``."""

    def __init__(self, enum: Any, prefix: str, words: tuple[W, ...]) -> None:
        self._numbers: dict[str, int] = {word: enum.Value(f"{prefix}_{word.upper()}") for word in words}
        self._words: dict[int, W] = {self._numbers[word]: word for word in words}

    def number(self, word: str) -> Any:
        """The enum's value of a word; ``Any``, as the generated types take no plain number."""
        return self._numbers[word]

    def word(self, number: int, field: str) -> W | None:
        """The word of a value that a caller sent in ``field``; None where it is unspecified.

        Raises:
            InvalidParameter: it has no word.
        """
        if number == 0:
            return None
        if number not in self._words:
            raise InvalidParameter(FieldProblem(field, "there is no such value", tuple(self._numbers)))
        return self._words[number]


CELL_CLASSES: Final = EnumCodec[str](pb.CellClass, "CELL_CLASS", CELL_LABELS)
LANGUAGES: Final = EnumCodec[Language](pb.Language, "LANGUAGE", get_args(Language))
TTA_MODES: Final = EnumCodec[TtaMode](pb.TestTimeAugmentation, "TEST_TIME_AUGMENTATION", get_args(TtaMode))
COLOUR_MAPS: Final = EnumCodec[ColourMap](pb.ColourMap, "COLOUR_MAP", get_args(ColourMap))
HEATMAP_FORMATS: Final = EnumCodec[OverlayFormat](pb.HeatmapFormat, "HEATMAP_FORMAT", get_args(OverlayFormat))
HEATMAP_STYLES: Final = EnumCodec[OverlayStyle](pb.HeatmapStyle, "HEATMAP_STYLE", get_args(OverlayStyle))
ROUTINGS: Final = EnumCodec[RoutingMode](pb.Routing, "ROUTING", get_args(RoutingMode))
JUDGEMENTS: Final = EnumCodec[FocusJudgement](pb.FocusJudgement, "FOCUS_JUDGEMENT", get_args(FocusJudgement))
SPECIMEN_STATES: Final = EnumCodec[SpecimenState](pb.SpecimenState, "SPECIMEN_STATE", get_args(SpecimenState))
DEVICE_STATES: Final = EnumCodec[DeviceState](pb.DeviceState, "DEVICE_STATE", get_args(DeviceState))
CELL_STATES: Final = EnumCodec[CellState](pb.CellState, "CELL_STATE", get_args(CellState))
FLAGS: Final = EnumCodec[str](pb.Flag, "FLAG", ("low", "high"))
