"""What may be chosen for an analysis and for an order, whichever edge it is said at."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.domain import Language, WriterKind
from orchestrator.interop.csv_tables import Spreadsheet
from orchestrator.specimen import IDENTIFIER, ImageKind
from orchestrator.vision.heatmap import ColourMap, OverlayFormat, OverlayStyle
from orchestrator.vision.tta import TtaMode

MAX_TOTAL_WBC: Final = 1000.0
"""10^9/L; the highest counts ever measured, in leukaemia, are below it."""


MOST_RED_CELL_PX: Final = 2000.0


ProfileName = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=64,
        description="Device profile; `GET /v1/model` lists them. The service's default where absent.",
        examples=["default"],
    ),
]
ReportLanguage = Annotated[
    Language | None, Field(description="Language of the report. The service's default where absent.")
]


Tta = Annotated[
    TtaMode | None,
    Field(
        description="Test-time augmentation: one view, eight (`light`), or one and the others only where it "
        "is not clear (`adaptive`). That of the profile where absent."
    ),
]


Colours = Annotated[
    ColourMap, Field(description="Colours of the heatmap; all but jet are perceptually uniform.")
]


class PredictParameters(BaseModel):
    """What may be chosen at ``POST /predict``; anything else in the form is ignored."""

    model_config = ConfigDict(frozen=True)

    profile: ProfileName = None
    language: ReportLanguage = None
    tta: Tta = None
    colour_map: Colours = "viridis"
    heatmap_style: Annotated[Literal["overlay", "reference"], Field(description="As of `/v1/analyses`.")] = (
        "overlay"
    )


class AnalysisParameters(BaseModel):
    """What may be chosen at ``POST /v1/analyses``, in the query or in the form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: ProfileName = None
    language: Annotated[
        Language | None,
        Field(description="Language of the report. That of `Accept-Language`, or the service's default."),
    ] = None
    tta: Tta = None
    heatmap: Annotated[bool, Field(description="Explain the decision by a Grad-CAM heatmap.")] = True
    heatmap_format: Annotated[OverlayFormat, Field(description="File format of the heatmap.")] = "png"
    heatmap_style: Annotated[
        OverlayStyle,
        Field(
            description="`overlay`: drawn over the image; `levels`: the heat alone, as a grey PNG, for who "
            "colours it themselves; `reference`: over the image what the reference system shows of it, "
            "masked, to the power of 1.6, above the 82nd percentile on the cell (its colours are `jet`)."
        ),
    ] = "overlay"
    outlines: Annotated[bool, Field(description="Also the outlines of cell and nucleus.")] = False
    colour_map: Colours = "viridis"
    report: Annotated[
        Literal["none", "inline", "stream"],
        Field(
            description="Whether to write a report. `inline`: with the answer. `stream`: the answer at once "
            "and the report when it is written, as server-sent events."
        ),
    ] = "inline"
    writer: Annotated[
        WriterKind,
        Field(
            description="Who writes the report. `configured`: the service's writers in their order, see "
            "`report_writers` of `/v1/model`. `rule-based`: the service itself, so that nothing is sent on."
        ),
    ] = "configured"


class FieldParameters(BaseModel):
    """What may be chosen at ``POST /v1/fields``, in the query or in the form."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: ProfileName = None
    tta: Tta = None
    format: Annotated[
        Literal["json", "geojson", "csv", "png", "jpeg", "dicom"],
        Field(
            description="`geojson`: outlines as QuPath reads them; `csv`: a row for each cell; `png`, "
            "`jpeg`: the field with boxes and classes drawn on it; `dicom`: a Comprehensive SR with a region "
            "for each cell, of the study of a DICOM image, else of one without a patient."
        ),
    ] = "json"
    spreadsheet: Annotated[
        Spreadsheet | None,
        Field(description="Write the CSV for a spreadsheet of this decimal separator: `point` or `comma`."),
    ] = None
    heatmap: Annotated[bool, Field(description="Explain each cell by a heatmap over its crop.")] = False
    heatmap_format: Annotated[OverlayFormat, Field(description="File format of the heatmaps.")] = "jpeg"
    colour_map: Colours = "viridis"
    red_cell_px: Annotated[
        float | None,
        Field(
            gt=0,
            le=MOST_RED_CELL_PX,
            allow_inf_nan=False,
            description="Diameter of the red cells in pixels, where it is known; else as the field tells.",
            examples=[61.5],
        ),
    ] = None


SpecimenName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=64,
        pattern=IDENTIFIER,
        description="The laboratory's own name of the specimen, opaque here.",
        examples=["S-2026-00417"],
    ),
]


def _without_marks(value: Any) -> Any:
    """A number as other systems write one: Python's own marks of thousands would make 10 of a ``1_0``."""
    if isinstance(value, str) and "_" in value:
        raise ValueError("expected a number of digits and a point")
    return value


TotalWbc = Annotated[
    float | None,
    Field(
        gt=0,
        le=MAX_TOTAL_WBC,
        allow_inf_nan=False,
        description="White cell count in 10^9/L, measured elsewhere; without it no absolute counts.",
        examples=[6.2],
    ),
    BeforeValidator(_without_marks),
]


class OrderParameters(BaseModel):
    """What may be chosen at ``POST /v1/differentials``, beside the files."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    specimen_id: SpecimenName
    total_wbc: TotalWbc = None
    profile: ProfileName = None
    tta: Tta = None
    kind: Annotated[
        ImageKind,
        Field(
            description="What the images show: one `cell` each, a whole `field` each, whose white cells are "
            "counted, or (`auto`) a field where several white cells lie in it or it is wide, and else a cell."
        ),
    ] = "cell"
