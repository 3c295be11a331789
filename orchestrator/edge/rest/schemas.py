"""What the HTTP edge receives and answers, as typed documents, and how an analysis becomes one."""

import base64
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from orchestrator import __version__, domain
from orchestrator.analyse import Services
from orchestrator.domain import (
    DISCLAIMER,
    Analysis,
    CellOutlines,
    DeviceState,
    Finding,
    FocusJudgement,
    FocusVerdict,
    Language,
    MefVersion,
    ModelIdentity,
    Overlay,
    Report,
    RoutingMode,
    WriterIdentity,
)
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE, SIGNATURES
from orchestrator.profiles import Profile, ProfiledDevice
from orchestrator.vision.heatmap import ColourMap
from orchestrator.vision.tta import TtaMode

_EXAMPLE_ID: Final = "3f1c9a52-6f0b-4c83-9d61-0c5d6a3c7d11"
_EXAMPLE_SHA256: Final = "0" * 64
_EXAMPLE_PROBABILITIES: Final = dict(zip(CLASS_NAMES, (0.001, 0.004, 0.002, 0.009, 0.984), strict=True))
_EXAMPLE_REPORT: Final = (
    "Classified as a neutrophil with very high confidence (98.4 %). The heatmap lies mainly on the nucleus, "
    "where this class is recognised by three to five lobes joined by filaments."
)

ClassName = Annotated[str, Field(json_schema_extra={"enum": list(CLASS_NAMES)}, examples=[CLASS_NAMES[-1]])]
# Described and not checked: a sum of float32 may exceed 1 in its last digit, which is no reason to fail.
Probability = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Share = Probability
ProfileHash = Annotated[
    str | None,
    Field(
        examples=["0" * 64],
        description="Of the profile as it was used, with the views that were asked for; null in what older "
        "versions kept.",
    ),
]
DeviceStateWord = Annotated[
    DeviceState,
    Field(
        examples=["known"],
        description="How far the service knows the microscope. `unknown`: it has no profile of its own; "
        "`profiled`: a site's own profile, the model was not trained on "
        "that device; `known`: it was; `audited`: an audit on that very device passed, and still holds. On "
        "the first two every answer is a suggestion, marked for review as `device_unknown`.",
    ),
]
Views = Annotated[
    int, Field(ge=1, examples=[8], description="Views of the image whose answers were averaged: 1 or 8.")
]


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, validate_by_name=True, validate_by_alias=True, allow_inf_nan=False)


class Model(_Document):
    """Which model answered."""

    name: str = Field(examples=["wbc"])
    version: int = Field(examples=[1])
    sha256: str | None = Field(
        examples=[_EXAMPLE_SHA256], description="Of its files; absent where a server does not tell."
    )
    server: str = Field(
        default="embedded",
        examples=["embedded"],
        description="What ran it: `tf-serving`, or `embedded` in this service, be it for want of the former.",
    )

    @classmethod
    def of(cls, identity: ModelIdentity) -> Self:
        return cls(
            name=identity.name, version=identity.version, sha256=identity.sha256, server=identity.server
        )


class PredictResult(_Document):
    """The answer of ``POST /predict``: the five fields of the reference system, and what was added."""

    class_name: ClassName = Field(alias="class")
    confidence: Probability = Field(examples=[0.984])
    all_probabilities: dict[str, Probability] = Field(examples=[_EXAMPLE_PROBABILITIES])
    gradcam_image: str = Field(
        description="The heatmap over the image: a JPEG in base64.", examples=["/9j/4AAQSkZJRgABAQ..."]
    )
    llm_report: str = Field(examples=[_EXAMPLE_REPORT])
    report_writer: str = Field(
        examples=["rule-based"], description="Who wrote it; `report_writers` of `/v1/model` lists them."
    )
    report_model: str | None = Field(
        default=None,
        examples=[None],
        description="The language model that wrote it, as the provider calls it.",
    )
    decided_by: RoutingMode = Field(
        examples=["none"], description="The routing rule that decided; see `POST /v1/analyses`."
    )
    request_id: str = Field(examples=[_EXAMPLE_ID])
    needs_review: bool = Field(description="Whether a person should look at this result.")
    review_reasons: list[str] = Field(examples=[[]], description="Why, as codes.")
    focus_ratio: Share | None = Field(examples=[0.91], description="Share of the heatmap on the cell.")
    views: Views
    model: Model
    profile: str = Field(examples=["cellavision-dm96"])
    device_state: DeviceStateWord = "unknown"
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, analysis: Analysis, overlay: Overlay, report: Report) -> Self:
        finding = analysis.finding
        return cls(
            class_name=finding.class_name,
            confidence=finding.confidence,
            all_probabilities=_by_class(finding),
            gradcam_image=_base64(overlay.data),
            llm_report=report.text,
            report_writer=report.writer,
            report_model=report.model,
            decided_by=finding.decided_by,
            request_id=analysis.request_id,
            needs_review=finding.needs_review,
            review_reasons=[reason.code for reason in finding.review_reasons],
            focus_ratio=None if analysis.focus is None else analysis.focus.focus_ratio,
            views=analysis.views,
            model=Model.of(analysis.model),
            profile=analysis.profile,
            device_state=analysis.device_state,
            disclaimer=analysis.disclaimer,
        )


class Image(_Document):
    """The image as it was analysed: upright, in pixels."""

    height: int = Field(ge=1, examples=[575])
    width: int = Field(ge=1, examples=[575])


class Decision(_Document):
    """The decision, and the rule of the profile's routing that made it."""

    class_name: ClassName = Field(alias="class")
    confidence: Probability = Field(examples=[0.984], description="Calibrated probability of the class.")
    margin: Probability = Field(examples=[0.975], description="Confidence less that of the second class.")
    decided_by: RoutingMode


class Reason(_Document):
    """One reason for a review: a stable code and a sentence."""

    code: str = Field(examples=["low_confidence"])
    message: str


class Review(_Document):
    """Whether a person should look at this result, and why."""

    needed: bool
    reasons: list[Reason] = Field(examples=[[]])


class Shares(_Document):
    """Shares of the heatmap by region; together 1, or all 0 where the heatmap is empty."""

    nucleus: Share = Field(examples=[0.62])
    cytoplasm: Share = Field(examples=[0.29])
    background: Share = Field(examples=[0.09])


class Focus(_Document):
    """Where the heatmap lies, and whether that speaks for the decision."""

    ratio: Share = Field(examples=[0.91], description="Share of the heatmap on the cell.")
    shares: Shares
    verdict: FocusJudgement | None = Field(
        default=None,
        examples=["sound"],
        description="`sound`: on the cell; `doubtful`: look where; `background`: the decision may rest on "
        "what lies beside the cell. From the ratio, the shares, and the opinion of the report's writer where "
        "a language model wrote it.",
    )
    reasons: list[Reason] = Field(
        default=[], examples=[[{"code": "on_cell", "message": "91% of the heatmap lies on the cell."}]]
    )

    @classmethod
    def of(cls, focus: domain.Focus, verdict: FocusVerdict | None = None) -> Self:
        shares = focus.shares
        return cls(
            ratio=focus.focus_ratio,
            shares=Shares(nucleus=shares.nucleus, cytoplasm=shares.cytoplasm, background=shares.background),
            verdict=verdict.judgement if verdict else None,
            reasons=[Reason(code=r.code, message=r.message) for r in verdict.reasons] if verdict else [],
        )


class Heatmap(_Document):
    """The heatmap in the image's own size: drawn over it, or its levels alone."""

    media_type: Literal["image/png", "image/jpeg"]
    colour_map: ColourMap
    data: str = Field(
        json_schema_extra={"contentEncoding": "base64"}, examples=["iVBORw0KGgoAAAANSUhEUgAA..."]
    )


class Outlines(_Document):
    """Outer edges of the cell and its nucleus: polygons of [row, column] in pixels of the upright image."""

    cell: list[list[tuple[float, float]]] = Field(examples=[[[[20.5, 31.0], [88.0, 30.5], [60.0, 92.5]]]])
    nucleus: list[list[tuple[float, float]]] = Field(examples=[[[[40.5, 41.0], [70.0, 44.5], [60.0, 72.5]]]])

    @classmethod
    def of(cls, outlines: CellOutlines) -> Self:
        return cls(
            cell=[list(polygon) for polygon in outlines.cell],
            nucleus=[list(polygon) for polygon in outlines.nucleus],
        )


class WrittenReport(_Document):
    """A short text about the result, at most 80 words, and who wrote it. Never a diagnosis."""

    text: str = Field(examples=[_EXAMPLE_REPORT])
    writer: str = Field(examples=["rule-based"])
    language: Language
    model: str | None = Field(
        default=None, examples=[None], description="The language model that answered; null where rules wrote."
    )


class AnalysisResult(_Document):
    """The answer of ``POST /v1/analyses``."""

    request_id: str = Field(examples=[_EXAMPLE_ID])
    model: Model
    profile: str = Field(examples=["cellavision-dm96"])
    profile_sha256: ProfileHash = None
    device_state: DeviceStateWord = "unknown"
    image: Image
    views: Views
    decision: Decision
    review: Review
    probabilities: dict[str, Probability] = Field(
        examples=[_EXAMPLE_PROBABILITIES], description="Calibrated, after routing; they sum to 1."
    )
    aux_neutrophil_probability: Probability = Field(
        examples=[0.998], description="The auxiliary head's probability of Neutrophil against Lymphocyte."
    )
    energy: float = Field(
        examples=[-5.21],
        description="The higher, the less the image is like those that the model was trained on. Over the "
        "profile's `max_energy`, the result is marked for review as `out_of_distribution`.",
    )
    not_wbc: Probability = Field(
        examples=[0.012],
        description="The probability that what is shown is none of the five classes: an empty window, a "
        "platelet, a smudge, an erythroblast, an immature cell. Over the profile's `max_not_wbc`, the result "
        "is marked for review as `not_wbc`.",
    )
    focus: Focus | None
    heatmap: Heatmap | None
    outlines: Outlines | None = Field(description="Where they were asked for.")
    report: WrittenReport | None
    timings_ms: dict[str, float] = Field(
        examples=[{"decode": 2.1, "preprocess": 9.8, "predict": 88.0, "total": 118.4}]
    )
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, analysis: Analysis, colour_map: ColourMap = "viridis") -> Self:
        """``colour_map`` is the one that the analysis was asked to draw with."""
        finding, report = analysis.finding, analysis.report
        height, width = analysis.image_size
        return cls(
            request_id=analysis.request_id,
            model=Model.of(analysis.model),
            profile=analysis.profile,
            profile_sha256=analysis.profile_sha256,
            device_state=analysis.device_state,
            image=Image(height=height, width=width),
            views=analysis.views,
            decision=Decision(
                class_name=finding.class_name,
                confidence=finding.confidence,
                margin=finding.margin,
                decided_by=finding.decided_by,
            ),
            review=Review(
                needed=finding.needs_review,
                reasons=[Reason(code=r.code, message=r.message) for r in finding.review_reasons],
            ),
            probabilities=_by_class(finding),
            aux_neutrophil_probability=finding.aux_neutrophil,
            energy=finding.energy,
            not_wbc=finding.not_wbc,
            focus=None if analysis.focus is None else Focus.of(analysis.focus, analysis.focus_verdict),
            heatmap=None if analysis.overlay is None else _heatmap(analysis.overlay, colour_map),
            outlines=None if analysis.outlines is None else Outlines.of(analysis.outlines),
            report=report
            and WrittenReport(
                text=report.text, writer=report.writer, language=report.language, model=report.model
            ),
            timings_ms={name: round(duration, 3) for name, duration in analysis.timings_ms.items()},
            disclaimer=analysis.disclaimer,
        )


def analysis_document(analysis: Analysis, *, include_heatmap: bool = True) -> dict[str, Any]:
    """An analysis as ``POST /v1/analyses`` answers it, ready for :func:`json.dumps`."""
    document = AnalysisResult.of(analysis).model_dump(mode="json", by_alias=True)
    if not include_heatmap:
        del document["heatmap"]
    return document


class ProfileDescription(_Document):
    """A device profile: how images of one device are prepared and decided on."""

    name: str = Field(examples=["default"])
    description: str
    default: bool = Field(description="Whether requests that name no profile get this one.")
    device: ProfiledDevice = Field(
        examples=["known"],
        description="What is known of the device before any audit; see `device_state` of results.",
    )
    preprocessing: MefVersion
    crop_scale: float | None = Field(description="Side of the crop in cell sizes; null for the whole frame.")
    reinhard: bool = Field(description="Whether colours are normalised after Reinhard.")
    tta: TtaMode
    adaptive_margin: float = Field(
        examples=[0.33], description="Margin from which on `adaptive` is content with the first view."
    )
    routing: RoutingMode
    temperature: float
    review_threshold: float
    review_margin: float
    max_energy: float | None = Field(
        examples=[-4.0], description="Energy from which on a result is marked for review; null for never."
    )
    max_not_wbc: float = Field(
        examples=[0.5], description="`not_wbc` from which on a result is marked for review."
    )
    prior: list[float] | None = Field(
        examples=[None], description="Shares of the classes that routing `prior` weighs by; null without it."
    )
    training_prior: list[float] | None = Field(
        examples=[None], description="Shares of the classes in training; null without routing `prior`."
    )

    @classmethod
    def of(cls, profile: Profile, *, default: bool) -> Self:
        recipe, routing = profile.recipe, profile.routing
        return cls(
            name=profile.name,
            description=profile.description,
            default=default,
            device=profile.device,
            preprocessing=recipe.mef_version,
            crop_scale=recipe.crop_scale,
            reinhard=recipe.reinhard is not None,
            tta=profile.tta,
            adaptive_margin=profile.adaptive_margin,
            routing=routing.mode,
            temperature=routing.temperature,
            review_threshold=routing.review_threshold,
            review_margin=routing.review_margin,
            max_energy=routing.max_energy,
            max_not_wbc=routing.max_not_wbc,
            prior=None if routing.prior is None else list(routing.prior),
            training_prior=None if routing.training_prior is None else list(routing.training_prior),
        )


class WriterDescription(_Document):
    """A writer of reports."""

    name: str = Field(examples=["rule-based"])
    model: str | None = Field(examples=[None], description="That it asks; null for rules.")
    leaves: bool = Field(
        description="Whether the facts of a result leave this process for it: class, percentages, regions, "
        "reasons for a review; never an image, a file name or an identifier."
    )
    sends_to: str | None = Field(examples=[None], description="The host that they go to.")

    @classmethod
    def of(cls, writer: WriterIdentity) -> Self:
        return cls(
            name=writer.name, model=writer.model, leaves=writer.sends_to is not None, sends_to=writer.sends_to
        )


class ModelDescription(_Document):
    """The answer of ``GET /v1/model``."""

    model: Model
    class_names: list[str] = Field(examples=[list(CLASS_NAMES)])
    input_size: int = Field(examples=[IMAGE_SIZE], description="Side in pixels of what the model sees.")
    signatures: dict[str, list[str]] = Field(
        examples=[{"classify": ["main_out", "aux_binary_out", "logits"]}],
        description="Their outputs, by name.",
    )
    profiles: list[ProfileDescription]
    report_writers: list[WriterDescription] = Field(description="In the order in which they are asked.")
    service_version: str = Field(
        examples=[__version__], description="Of the service; models have versions of their own."
    )
    disclaimer: str = DISCLAIMER

    @classmethod
    def of(cls, identity: ModelIdentity, services: Services) -> Self:
        return cls(
            model=Model.of(identity),
            class_names=list(CLASS_NAMES),
            input_size=IMAGE_SIZE,
            signatures={
                name: [tensor.name for tensor in signature.outputs] for name, signature in SIGNATURES.items()
            },
            profiles=[
                ProfileDescription.of(profile, default=name == services.default_profile)
                for name, profile in services.profiles.items()
            ],
            report_writers=[WriterDescription.of(writer) for writer in services.writers],
            service_version=__version__,
        )


class Health(_Document):
    """The answer of the probes."""

    status: Literal["live", "ready"]
    disclaimer: str = DISCLAIMER


def _by_class(finding: Finding) -> dict[str, float]:
    return dict(zip(CLASS_NAMES, finding.probabilities, strict=True))


def _heatmap(overlay: Overlay, colour_map: ColourMap) -> Heatmap:
    return Heatmap.model_validate(
        {"media_type": overlay.media_type, "colour_map": colour_map, "data": _base64(overlay.data)}
    )


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def form_schema(parameters: type[BaseModel], file_field: str) -> Mapping[str, Any]:
    """OpenAPI's description of a form with one image and these parameters."""
    properties = parameters.model_json_schema()["properties"]
    image = {
        "type": "string",
        "contentMediaType": "application/octet-stream",
        "description": "One cell: JPEG, PNG, BMP, TIFF, WebP or DICOM.",
    }
    return {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": [file_field],
                    "properties": {file_field: image, **properties},
                }
            }
        },
    }
