"""A whole field's result as a document: the answer of ``POST /v1/fields``."""

from typing import Annotated, Any, Final

from pydantic import AliasPath, BeforeValidator, Field

from orchestrator.documents.analysis import Decision, Heatmap, Image, Outlines, Review, size_of
from orchestrator.documents.fields import (
    EXAMPLE_ID,
    BoundingBox,
    DeviceStateWord,
    Document,
    FocusRatio,
    HeadUsed,
    ModelAnswered,
    NotWbc,
    Probabilities,
    ProfileHash,
    ProfileUsed,
    Views,
)
from orchestrator.domain import DISCLAIMER, FieldAnalysis
from orchestrator.model_contract import CLASS_NAMES

NO_CELL: Final = "No white cell was found in this field."


class FieldCellResult(Document):
    """One cell of a field."""

    box: BoundingBox
    outlines: Outlines
    decision: Decision = Field(validation_alias="finding")
    review: Review = Field(validation_alias="finding")
    probabilities: Probabilities = Field(validation_alias=AliasPath("finding", "probabilities"))
    not_wbc: NotWbc = Field(validation_alias=AliasPath("finding", "not_wbc"))
    views: Views
    is_cut: bool = Field(description="Whether the frame of the field cuts it.", examples=[False])
    is_clump: bool = Field(
        description="Whether several cells may lie on each other here, counted as one.", examples=[False]
    )
    focus_ratio: FocusRatio = None
    heatmap: Heatmap | None = Field(
        default=None,
        validation_alias="overlay",
        description="Over the cell's own crop, where it was asked for.",
    )


def _by_class(counts: Any) -> Any:
    return dict(zip(CLASS_NAMES, counts, strict=True)) if isinstance(counts, tuple) else counts


class FieldResult(Document):
    """The answer of ``POST /v1/fields``."""

    request_id: str = Field(examples=[EXAMPLE_ID])
    model: ModelAnswered | None = Field(description="Null where nothing was found, and no model asked.")
    profile: ProfileUsed
    profile_sha256: ProfileHash = None
    head: HeadUsed = None
    device_state: DeviceStateWord = "unknown"
    image: Annotated[Image, BeforeValidator(size_of)] = Field(validation_alias="image_size")
    red_cell_px: float | None = Field(
        description="Diameter of the field's red cells in pixels, by which it was searched; null where "
        "nothing tells.",
        examples=[61.5],
    )
    counts: Annotated[dict[str, int], BeforeValidator(_by_class)] = Field(
        description="Cells of each class.", examples=[dict(zip(CLASS_NAMES, (0, 0, 1, 0, 2), strict=True))]
    )
    cells: list[FieldCellResult] = Field(description="White cells, from top to bottom.")
    unidentified: list[FieldCellResult] = Field(
        description="What may be no white cell, such as a smudge or a nucleated red cell; not counted."
    )
    message: str | None = Field(
        default=None, description="What is to be said where no cell was found.", examples=[None]
    )
    timings_ms: dict[str, Annotated[float, BeforeValidator(lambda duration: round(duration, 3))]] = Field(
        examples=[{"decode": 8.1, "search": 24.8, "predict": 31.0, "total": 118.4}]
    )
    disclaimer: str = DISCLAIMER


def field_document(analysis: FieldAnalysis) -> FieldResult:
    """A field's analysis as its document."""
    result = FieldResult.model_validate(analysis)
    return result if analysis.cells else result.model_copy(update={"message": NO_CELL})
