"""A specimen's differential as a document: the answer of ``GET /v1/differentials/{id}``, and back."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AliasPath, Field, ValidationInfo, field_validator

from orchestrator.documents.fields import (
    AnalysedAt,
    ByClass,
    CellBox,
    ClassName,
    Confidence,
    DecidedBy,
    DeviceStateWord,
    Document,
    Energy,
    FocusRatio,
    HeadUsed,
    ImageSize,
    LooksLike,
    Margin,
    Model,
    ModelAnswered,
    NotWbc,
    Probabilities,
    ProfileHash,
    ProfileUsed,
    ReviewCodes,
    Share,
    Time,
    Views,
)
from orchestrator.domain import DISCLAIMER, DeviceState
from orchestrator.labels import MAX_LENGTH, NAME, Denominator
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import CellState, Differential, ImageKind, SpecimenState

EXAMPLE_ID: Final = "0d6f9a3e5b7c4e0f8a1b2c3d4e5f6a7b"
EXAMPLE_CELL: Final = "7b1c6d5e4f3a4b2c9d8e7f6a5b4c3d2e"

Label = Annotated[str, Field(pattern=NAME, max_length=MAX_LENGTH, examples=[CLASS_NAMES[-1]])]
"""One of `GET /v1/labels`."""

DifferentialId = Annotated[str, Field(examples=[EXAMPLE_ID])]
CellId = Annotated[str, Field(examples=[EXAMPLE_CELL])]
State = Annotated[
    SpecimenState,
    Field(
        description="`waiting` and `running`: cells are still to be analysed; `analysed`: people may decide "
        "and sign; `signed` and `cancelled` are final."
    ),
]

Assignee = Annotated[
    str | None,
    Field(examples=[None], description="Who has taken it to review, which keeps nobody else from it."),
]

WITHOUT_CELLS: Final = "without cells"


class Limits(Document):
    """An interval, both ends part of it."""

    low: float = Field(examples=[49.7])
    high: float = Field(examples=[69.7])


class LabelCount(Document):
    """One label's part of the differential."""

    label: Label
    count: int = Field(ge=0, examples=[60])
    percentage: float | None = Field(
        examples=[60.0],
        description="Of all counted cells, which are the white ones; null below the least number of cells, "
        "and of what is no share of them. Of cells that are told per 100 white cells, their number: it can "
        "be over 100.",
    )
    interval: Limits | None = Field(
        description="Exact 95 % interval of the percentage (Clopper-Pearson); on an audited microscope it "
        "carries the classifier's error too (see `released_errors`)."
    )
    absolute: float | None = Field(examples=[3.72], description="In 10^9/L; null where no total was given.")
    absolute_interval: Limits | None = Field(
        description="That of the percentage times the total; the total's own error is not in it."
    )
    reference: Limits | None = Field(description="The site's range in percent; null where it has none.")
    flag: Literal["low", "high"] | None = Field(
        description="Whether the percentage lies outside of the site's range."
    )
    denominator: Denominator = Field(
        default="white_cells",
        description="What the percentage is of: rows of `white_cells` that are part of no other sum to 100; "
        "`per_100_white_cells` are none of these; of `none` there is the count alone.",
    )
    part_of: Label | None = Field(
        default=None, examples=[None], description="The label whose row counts these cells too."
    )


class CellCounts(Document):
    """The cells of a specimen by where they stand."""

    total: int = Field(ge=0, examples=[100])
    counted: int = Field(ge=0, examples=[100])
    waiting: int = Field(ge=0, examples=[0])
    failed: int = Field(ge=0, examples=[0], description="Images that could not be analysed.")
    unreviewed: int = Field(ge=0, examples=[7], description="Cells that wait for a person's decision.")


class Statement(Document):
    """What a reader must know before using the figures."""

    code: str = Field(examples=["unreviewed"])
    message: str = Field(examples=["7 cells wait for a person's decision."])


class ReleasedErrorsDocument(Document):
    """What audits know of the answers that no person looked at."""

    limits: dict[str, Share] = Field(
        examples=[{"Neutrophil": 0.0433}],
        description="By class, the upper limit of the share of its answers that is wrong (Clopper-Pearson, "
        "one-sided 98.75 %).",
    )
    ended: bool = Field(
        examples=[False], description="Whether an audit that released some of them has ended since."
    )


class SignatureDocument(Document):
    """Who closed the differential, and when."""

    person: str = Field(examples=["local"])
    signed_at: Time


class CommentDocument(Document):
    """What a person wrote."""

    number: int = Field(ge=1, examples=[1], description="Within the specimen, from 1.")
    cell_id: CellId | None = Field(description="The cell that it is about; the specimen where null.")
    person: str = Field(examples=["local"])
    said_at: Time
    text: str = Field(examples=["Smudged; stained anew."])
    is_addendum: bool = Field(
        examples=[False], description="Whether it came after the signature, of which it changes nothing."
    )


class CellFinding(Document):
    """What the service found in one image."""

    class_name: ClassName
    confidence: Confidence
    margin: Margin
    decided_by: DecidedBy | None = Field(
        default=None, description="As of one image; null in what older versions kept."
    )
    probabilities: Probabilities
    energy: Energy
    not_wbc: NotWbc | None = None
    review_codes: ReviewCodes
    focus_ratio: FocusRatio
    views: Views
    image_size: ImageSize
    box: CellBox = None
    model: ModelAnswered
    profile: ProfileUsed
    profile_sha256: ProfileHash = None
    head: HeadUsed = None
    device_state: DeviceStateWord = "unknown"
    looks_like: LooksLike = None
    analysed_at: AnalysedAt


class CellDecisionDocument(Document):
    """What a person said that a cell is."""

    label: Label
    person: str = Field(examples=["local"])
    decided_at: Time


class PlaceDocument(Document):
    """In which field a cell lies; where in it says the box of its result."""

    number: int = Field(ge=1, examples=[1], description="Of its field in the order.")
    is_cut: bool = Field(examples=[False], description="Whether the frame of the field cuts it.")
    is_clump: bool = Field(
        examples=[False], description="Whether several cells may lie on each other here, counted as one."
    )
    is_identified: bool = Field(
        examples=[True],
        description="False of what may be no white cell: it counts once a person says what it is.",
    )
    same_as: CellId | None = Field(
        default=None,
        examples=[None],
        description="The cell of an earlier field that it is once more, where fields overlap; not counted.",
    )
    added_by: str | None = Field(
        default=None,
        examples=[None],
        description="Who drew its box, where the service had missed it; null of what the service found.",
    )


class FieldDocument(Document):
    """A field whose cells were found."""

    id: CellId = Field(validation_alias="field_id")
    number: int = Field(ge=1, examples=[1])
    image_sha256: str = Field(examples=["0" * 64], description="Of the file as it was sent.")
    image_size: tuple[int, int] = Field(examples=[(675, 1080)], description="Height and width in pixels.")
    red_cell_px: float | None = Field(
        examples=[61.5], description="Diameter of its red cells in pixels; null where nothing tells."
    )
    cells: int = Field(
        ge=0,
        examples=[3],
        description="White cells in it, as the service found and persons added them, also those that another "
        "field has too.",
    )


class CellDocument(Document):
    """One image of a specimen, or one cell of a field; ``number`` is its place in the order, from 1."""

    id: CellId = Field(validation_alias="cell_id")
    number: int = Field(ge=1, examples=[1])
    image_sha256: str = Field(
        examples=["0" * 64], description="Of the file as it was sent, or of the PNG cut out of a field."
    )
    state: CellState
    label: Label | None = Field(description="What it counts as: the decision, else the class if it is sure.")
    needs_review: bool
    failure: str | None = Field(examples=[None], description="Why the image could not be analysed.")
    place: PlaceDocument | None = Field(
        default=None, description="Where it lies, of a cell of a field; null of a cell that came alone."
    )
    result: CellFinding | None
    decision: CellDecisionDocument | None
    etag: str | None = Field(
        default=None,
        pattern=r"^cell-\d{1,18}$",
        examples=["cell-1"],
        description="Of its state, for `If-Match` of a decision about it; null in what older versions kept.",
    )


class DifferentialResult(Document):
    """A specimen's differential as it is now. Never a diagnosis."""

    id: DifferentialId = Field(validation_alias=AliasPath("specimen", "differential_id"))
    specimen_id: str = Field(
        validation_alias=AliasPath("specimen", "order", "specimen_id"), examples=["S-2026-00417"]
    )
    state: State = Field(validation_alias=AliasPath("specimen", "state"))
    total_wbc: float | None = Field(
        validation_alias=AliasPath("specimen", "order", "total_wbc"),
        examples=[6.2],
        description="10^9/L, as it was given.",
    )
    profile: str | None = Field(
        validation_alias=AliasPath("specimen", "order", "profile"),
        examples=[None],
        description="As ordered; the service's default where null.",
    )
    tta: str | None = Field(
        validation_alias=AliasPath("specimen", "order", "tta"),
        examples=[None],
        description="As ordered; the profile's where null.",
    )
    kind: ImageKind = Field(
        default="cell",
        validation_alias=AliasPath("specimen", "order", "kind"),
        examples=["cell"],
        description="What the images show, as ordered.",
    )
    created_at: Time = Field(validation_alias=AliasPath("specimen", "created_at"))
    created_by: str = Field(validation_alias=AliasPath("specimen", "created_by"), examples=["local"])
    progress: CellCounts
    counts: list[LabelCount] = Field(
        description="The five classes, then Unidentified, then each other label that a person used."
    )
    min_cells: int = Field(examples=[100], description="Below it there are no percentages.")
    reference_source: str | None = Field(description="Where the reference ranges come from.")
    fields: list[FieldDocument] = Field(
        default=[],
        validation_alias=AliasPath("specimen", "fields"),
        description="Those of the images whose cells were found.",
    )
    cells_per_field: float | None = Field(
        default=None, examples=[None], description="In the mean; null where there are no fields."
    )
    label_shift: ByClass | None = Field(
        examples=[dict(zip(CLASS_NAMES, (0.004, 0.031, 0.305, 0.06, 0.6), strict=True))],
        description="Shares of the five classes estimated from all cells' probabilities (EM, Saerens et al. "
        "2002), beside the counts; null where there are too few cells, and while cells of an unknown or "
        "merely profiled device wait for a person.",
    )
    device_state: DeviceState | None = Field(
        default=None,
        validation_alias=AliasPath("specimen", "device_state"),
        examples=["known"],
        description="The least of the cells'; null before the first result.",
    )
    released_errors: ReleasedErrorsDocument | None = Field(
        default=None,
        description="There where audits released all cells that count without a person's decision.",
    )
    review_list: list[CellId] = Field(
        examples=[[EXAMPLE_CELL]], description="Cells that wait for a person, the least confident first."
    )
    limitations: list[Statement]
    models: list[Model] = Field(description="All that answered.")
    service_version: str = Field(examples=["0.5.0"])
    computed_at: Time
    signature: SignatureDocument | None = Field(validation_alias=AliasPath("specimen", "signature"))
    comments: list[CommentDocument] = Field(
        default=[],
        validation_alias=AliasPath("specimen", "comments"),
        description="On the specimen and its cells, in the order in which they were written; addenda to what "
        "is signed come last.",
    )
    assignee: Assignee = Field(default=None, validation_alias=AliasPath("specimen", "assignee"))
    etag: str | None = Field(
        default=None,
        validation_alias=AliasPath("specimen", "etag"),
        pattern=r"^\d{1,18}$",
        examples=["17"],
        description="Of its state, as in the header `ETag`; null in what older versions kept.",
    )
    cells: list[CellDocument] | None = Field(
        validation_alias=AliasPath("specimen", "cells"), description="Null where `cells=false` was asked for."
    )
    disclaimer: str = DISCLAIMER

    @field_validator("cells", mode="before")
    @classmethod
    def _all_or_none(cls, cells: Any, info: ValidationInfo) -> Any:
        return None if info.context == WITHOUT_CELLS else cells

    @classmethod
    def of(cls, differential: Differential, *, cells: bool = True) -> Self:
        """The document, with its cells or without."""
        return cls.model_validate(differential, context=None if cells else WITHOUT_CELLS)


class DifferentialSummary(Document):
    """One line of the list."""

    id: DifferentialId = Field(validation_alias="differential_id")
    specimen_id: str = Field(examples=["S-2026-00417"])
    state: State
    created_at: Time
    cells: int = Field(ge=0, examples=[100])
    waiting: int = Field(ge=0, examples=[0])
    failed: int = Field(ge=0, examples=[0])
    unreviewed: int = Field(ge=0, examples=[7])
    signature: SignatureDocument | None
    assignee: Assignee = None
