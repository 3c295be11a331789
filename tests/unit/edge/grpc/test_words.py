from typing import get_args

import pytest

from orchestrator.domain import FocusJudgement, Language, RoutingMode
from orchestrator.edge.grpc import words as grpc_words
from orchestrator.errors import InvalidParameter
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import CELL_LABELS, CellState, SpecimenState
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.tta import TtaMode


@pytest.mark.parametrize(
    ("words", "enum", "expected"),
    [
        (grpc_words.CELL_CLASSES, pb.CellClass, CELL_LABELS),
        (grpc_words.LANGUAGES, pb.Language, get_args(Language)),
        (grpc_words.TTA_MODES, pb.TestTimeAugmentation, get_args(TtaMode)),
        (grpc_words.COLOUR_MAPS, pb.ColourMap, get_args(ColourMap)),
        (grpc_words.HEATMAP_FORMATS, pb.HeatmapFormat, get_args(OverlayFormat)),
        (grpc_words.HEATMAP_STYLES, pb.HeatmapStyle, get_args(OverlayStyle)),
        (grpc_words.ROUTINGS, pb.Routing, get_args(RoutingMode)),
        (grpc_words.JUDGEMENTS, pb.FocusJudgement, get_args(FocusJudgement)),
        (grpc_words.SPECIMEN_STATES, pb.SpecimenState, get_args(SpecimenState)),
        (grpc_words.CELL_STATES, pb.CellState, get_args(CellState)),
        (grpc_words.FLAGS, pb.Flag, ("low", "high")),
    ],
)
def test_every_value_of_an_enum_is_a_word_of_the_domain_and_back(words, enum, expected):
    assert [words.word(number, "field") for number in enum.values()] == [None, *expected]
    assert [words.number(word) for word in expected] == list(enum.values())[1:]
    with pytest.raises(InvalidParameter, match="field: there is no such value"):
        words.word(99, "field")
