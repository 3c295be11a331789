"""One image's result as documents: the answers of ``POST /v1/analyses`` and ``POST /predict``."""

import base64
from typing import Annotated, Any, Final, Literal

from pydantic import AliasPath, BeforeValidator, Field

from orchestrator.documents.fields import (
    EXAMPLE_ID,
    AuxNeutrophil,
    CellBox,
    ClassName,
    Confidence,
    DecidedBy,
    DeviceStateWord,
    Document,
    Energy,
    FocusRatio,
    HeadUsed,
    LooksLike,
    Margin,
    ModelAnswered,
    NotWbc,
    Probabilities,
    ProfileHash,
    ProfileUsed,
    ReviewCodes,
    Share,
    Views,
)
from orchestrator.domain import DISCLAIMER, Analysis, FocusJudgement, Language
from orchestrator.vision.heatmap import ColourMap

_EXAMPLE_REPORT: Final = (
    "Classified as a neutrophil with very high confidence (98.4 %). The heatmap lies mainly on the nucleus, "
    "where this class is recognised by three to five lobes joined by filaments."
)


def _base64(data: Any) -> Any:
    return base64.b64encode(data).decode("ascii") if isinstance(data, bytes) else data


def size_of(size: Any) -> Any:
    """Height and width by their names."""
    return dict(zip(("height", "width"), size, strict=True)) if isinstance(size, tuple) else size


File = Annotated[str, BeforeValidator(_base64)]
"""In base64."""


class PredictResult(Document):
    """The answer of ``POST /predict``: the five fields of the reference system, and what was added."""

    class_name: ClassName = Field(
        validation_alias=AliasPath("finding", "class_name"), serialization_alias="class"
    )
    confidence: Confidence = Field(validation_alias=AliasPath("finding", "confidence"))
    all_probabilities: Probabilities = Field(validation_alias=AliasPath("finding", "probabilities"))
    gradcam_image: File = Field(
        validation_alias=AliasPath("overlay", "data"),
        description="The heatmap over the image: a JPEG in base64.",
        examples=["/9j/4AAQSkZJRgABAQ..."],
    )
    llm_report: str = Field(validation_alias=AliasPath("report", "text"), examples=[_EXAMPLE_REPORT])
    report_writer: str = Field(
        validation_alias=AliasPath("report", "writer"),
        examples=["rule-based"],
        description="Who wrote it; `report_writers` of `/v1/model` lists them.",
    )
    report_model: str | None = Field(
        validation_alias=AliasPath("report", "model"),
        examples=[None],
        description="The language model that wrote it, as the provider calls it.",
    )
    request_id: str = Field(examples=[EXAMPLE_ID])
    needs_review: bool = Field(
        validation_alias=AliasPath("finding", "needs_review"),
        description="Whether a person should look at this result.",
    )
    review_reasons: ReviewCodes = Field(validation_alias=AliasPath("finding", "review_reasons"))
    decided_by: DecidedBy = Field(validation_alias=AliasPath("finding", "decided_by"))
    focus_ratio: FocusRatio
    views: Views
    model: ModelAnswered
    profile: ProfileUsed
    head: HeadUsed = None
    device_state: DeviceStateWord
    disclaimer: str = DISCLAIMER


class Image(Document):
    """The image as it was analysed: upright, in pixels."""

    height: int = Field(ge=1, examples=[575])
    width: int = Field(ge=1, examples=[575])


class Decision(Document):
    """The decision, and the rule of the profile's routing that made it."""

    class_name: ClassName
    confidence: Confidence
    margin: Margin
    decided_by: DecidedBy


class Reason(Document):
    """One reason for a review: a stable code and a sentence."""

    code: str = Field(examples=["low_confidence"])
    message: str


class Review(Document):
    """Whether a person should look at this result, and why."""

    needed: bool = Field(validation_alias="needs_review")
    reasons: list[Reason] = Field(validation_alias="review_reasons", examples=[[]])


class Shares(Document):
    """Shares of the heatmap by region; together 1, or all 0 where the heatmap is empty."""

    nucleus: Share = Field(examples=[0.62])
    cytoplasm: Share = Field(examples=[0.29])
    background: Share = Field(examples=[0.09])


class Focus(Document):
    """Where the heatmap lies, and whether that speaks for the decision."""

    ratio: Share = Field(
        validation_alias="focus_ratio", examples=[0.91], description="Share of the heatmap on the cell."
    )
    shares: Shares
    verdict: FocusJudgement | None = Field(
        default=None,
        validation_alias=AliasPath("verdict", "judgement"),
        examples=["sound"],
        description="`sound`: on the cell; `doubtful`: look where; `background`: the decision may rest on "
        "what lies beside the cell. From the ratio, the shares, and the opinion of the report's writer where "
        "a language model wrote it.",
    )
    reasons: list[Reason] = Field(
        default=[],
        validation_alias=AliasPath("verdict", "reasons"),
        examples=[[{"code": "on_cell", "message": "91% of the heatmap lies on the cell."}]],
    )


class Heatmap(Document):
    """The heatmap in the image's own size: drawn over it, or its levels alone."""

    media_type: Literal["image/png", "image/jpeg"]
    colour_map: ColourMap
    data: File = Field(
        json_schema_extra={"contentEncoding": "base64"}, examples=["iVBORw0KGgoAAAANSUhEUgAA..."]
    )


class Outlines(Document):
    """Outer edges of the cell and its nucleus: polygons of [row, column] in pixels of the upright image."""

    cell: list[list[tuple[float, float]]] = Field(examples=[[[[20.5, 31.0], [88.0, 30.5], [60.0, 92.5]]]])
    nucleus: list[list[tuple[float, float]]] = Field(examples=[[[[40.5, 41.0], [70.0, 44.5], [60.0, 72.5]]]])


class WrittenReport(Document):
    """A short text about the result, at most 80 words, and who wrote it. Never a diagnosis."""

    text: str = Field(examples=[_EXAMPLE_REPORT])
    writer: str = Field(examples=["rule-based"])
    language: Language
    model: str | None = Field(
        default=None, examples=[None], description="The language model that answered; null where rules wrote."
    )


class AnalysisResult(Document):
    """The answer of ``POST /v1/analyses``."""

    request_id: str = Field(examples=[EXAMPLE_ID])
    model: ModelAnswered
    profile: ProfileUsed
    profile_sha256: ProfileHash = None
    head: HeadUsed = None
    device_state: DeviceStateWord = "unknown"
    looks_like: LooksLike = None
    image: Annotated[Image, BeforeValidator(size_of)] = Field(validation_alias="image_size")
    box: CellBox = None
    views: Views
    decision: Decision = Field(validation_alias="finding")
    review: Review = Field(validation_alias="finding")
    probabilities: Probabilities = Field(validation_alias=AliasPath("finding", "probabilities"))
    aux_neutrophil_probability: AuxNeutrophil = Field(validation_alias=AliasPath("finding", "aux_neutrophil"))
    energy: Energy = Field(validation_alias=AliasPath("finding", "energy"))
    not_wbc: NotWbc = Field(validation_alias=AliasPath("finding", "not_wbc"))
    focus: Focus | None
    heatmap: Heatmap | None = Field(validation_alias="overlay")
    outlines: Outlines | None = Field(description="Where they were asked for.")
    report: WrittenReport | None
    timings_ms: dict[str, Annotated[float, BeforeValidator(lambda duration: round(duration, 3))]] = Field(
        examples=[{"decode": 2.1, "preprocess": 9.8, "predict": 88.0, "total": 118.4}]
    )
    disclaimer: str = DISCLAIMER


def analysis_document(analysis: Analysis, *, include_heatmap: bool = True) -> dict[str, Any]:
    """An analysis as ``POST /v1/analyses`` answers it, ready for :func:`json.dumps`."""
    document = AnalysisResult.model_validate(analysis).model_dump(mode="json", by_alias=True)
    if not include_heatmap:
        del document["heatmap"]
    return document
