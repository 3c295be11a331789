from typing import get_args

import pytest

from orchestrator.client.reading import word_at
from orchestrator.domain import DeviceState, FocusJudgement, Language, RoutingMode
from orchestrator.edge.grpc import words as grpc_words
from orchestrator.edge.grpc.projection import numbers_of
from orchestrator.errors import InvalidParameter
from orchestrator.labels import CELL_LABELS, Denominator
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb
from orchestrator.specimen import CellState, SpecimenState
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.tta import TtaMode


@pytest.mark.parametrize(
    ("words", "enum", "expected"),
    [
        (grpc_words.LANGUAGES, pb.Language, get_args(Language)),
        (grpc_words.TTA_MODES, pb.TestTimeAugmentation, get_args(TtaMode)),
        (grpc_words.COLOUR_MAPS, pb.ColourMap, get_args(ColourMap)),
        (grpc_words.HEATMAP_FORMATS, pb.HeatmapFormat, get_args(OverlayFormat)),
        (grpc_words.HEATMAP_STYLES, pb.HeatmapStyle, get_args(OverlayStyle)),
    ],
)
def test_every_value_that_a_caller_may_send_is_a_word_of_the_domain(words, enum, expected):
    assert [words.word(number, "field") for number in enum.values()] == [None, *expected]
    with pytest.raises(InvalidParameter, match="field: there is no such value"):
        words.word(99, "field")


@pytest.mark.parametrize(
    ("enum", "expected"),
    [
        ("CellClass", (*CELL_LABELS, "Other")),
        ("Denominator", get_args(Denominator)),
        ("Language", get_args(Language)),
        ("TestTimeAugmentation", get_args(TtaMode)),
        ("ColourMap", get_args(ColourMap)),
        ("Routing", get_args(RoutingMode)),
        ("FocusJudgement", get_args(FocusJudgement)),
        ("SpecimenState", get_args(SpecimenState)),
        ("DeviceState", get_args(DeviceState)),
        ("CellState", get_args(CellState)),
        ("Flag", ("low", "high")),
    ],
)
def test_every_word_of_the_domain_is_a_value_that_the_client_reads_as_that_word(enum, expected):
    values = pb.DESCRIPTOR.enum_types_by_name[enum]

    numbers = [numbers_of(values)[word] for word in expected]

    assert numbers == [value.number for value in values.values[1:]]
    assert [word_at(values, number) for number in numbers] == list(expected)
    assert word_at(values, 99) is None
