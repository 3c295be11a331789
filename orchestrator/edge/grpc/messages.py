"""Analyses and the model as messages of ``wbc.v1``: projections of the documents that HTTP answers."""

from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.analyse import AnalysisOptions, Services
from orchestrator.analyse_field import FieldOptions
from orchestrator.documents.analysis import AnalysisResult
from orchestrator.documents.field import field_document
from orchestrator.documents.model import ModelDescription
from orchestrator.domain import Analysis, FieldAnalysis, ModelIdentity
from orchestrator.edge.grpc.projection import fill, message_of
from orchestrator.edge.grpc.words import COLOUR_MAPS, HEATMAP_FORMATS, HEATMAP_STYLES, LANGUAGES, TTA_MODES
from orchestrator.edge.parameters import MOST_RED_CELL_PX
from orchestrator.errors import FieldProblem, InvalidParameter
from orchestrator.image_steps import RenderOptions
from orchestrator.protos.wbc.v1 import wbc_pb2 as pb


def options_of(message: pb.AnalysisOptions) -> AnalysisOptions:
    """What a caller chose.

    Raises:
        InvalidParameter: a value is unknown.
    """
    return AnalysisOptions(
        profile=message.profile or None,
        tta=TTA_MODES.word(message.tta, "tta"),
        language=LANGUAGES.word(message.language, "language"),
        heatmap=message.heatmap if message.HasField("heatmap") else True,
        report=message.report if message.HasField("report") else True,
        drawing=RenderOptions(
            COLOUR_MAPS.word(message.colour_map, "colour_map") or "viridis",
            HEATMAP_FORMATS.word(message.heatmap_format, "heatmap_format") or "png",
            HEATMAP_STYLES.word(message.heatmap_style, "heatmap_style") or "overlay",
        ),
        outlines=message.outlines,
    )


@contextmanager
def fields_of(message: str) -> Iterator[None]:
    """Name parameters that are wrong within the message that they stand in."""
    try:
        yield
    except InvalidParameter as error:
        raise error.within(message) from error


def analysis_message(analysis: Analysis) -> pb.Analysis:
    """An analysis; its heatmap as bytes, where the document has base64."""
    document = AnalysisResult.model_validate(analysis)
    message = message_of(document.model_copy(update={"heatmap": None}), pb.Analysis)
    fill(message, {"needs_review": document.review.needed, "review_reasons": document.review.reasons})
    if analysis.overlay is not None:
        fill(message, {"heatmap": analysis.overlay})
    return message


def field_options_of(message: pb.FieldOptions) -> FieldOptions:
    """What a caller chose of a field.

    Raises:
        InvalidParameter: a value is unknown, or no length.
    """
    red_cell_px = message.red_cell_px if message.HasField("red_cell_px") else None
    if red_cell_px is not None and not 0 < red_cell_px <= MOST_RED_CELL_PX:
        what = f"expected over 0 and at most {MOST_RED_CELL_PX}"
        raise InvalidParameter(FieldProblem("red_cell_px", what))
    return FieldOptions(message.profile or None, TTA_MODES.word(message.tta, "tta"), red_cell_px=red_cell_px)


def field_message(analysis: FieldAnalysis) -> pb.FieldAnalysis:
    """A field; no heatmaps."""
    document = field_document(analysis)
    message = message_of(document, pb.FieldAnalysis)
    for told, cells in ((message.cells, document.cells), (message.unidentified, document.unidentified)):
        for one, cell in zip(told, cells, strict=True):
            fill(one, {"needs_review": cell.review.needed, "review_reasons": cell.review.reasons})
    return message


def model_description(identity: ModelIdentity, services: Services) -> pb.GetModelResponse:
    """What answers, and how it may be asked."""
    return message_of(ModelDescription.of(identity, services), pb.GetModelResponse)
