"""The table of a result's fields: each once, with its type, its words, and the formats that leave it out.

A field is an annotated type that the documents use. To add one: declare it here and in the value type
(:class:`~orchestrator.domain.Analysis`, :class:`~orchestrator.specimen.CellResult`), name it in the
documents, and follow the contract test, which goes through every format and fails for one that neither tells
it nor is excused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from orchestrator.domain import DeviceState, ReviewReason, RoutingMode
from orchestrator.model_contract import CLASS_NAMES

AnalysisFormat = Literal[
    "predict", "analysis", "grpc analysis", "client analysis", "open inference", "dicom cell"
]
"""Formats of one image's result."""

SpecimenFormat = Literal[
    "store",
    "differential",
    "grpc differential",
    "client differential",
    "csv",
    "fhir",
    "dicom differential",
    "hl7",
]
"""Formats of the results of a specimen's cells."""

Format = AnalysisFormat | SpecimenFormat

LeftOut = Mapping[Format, str]


def _in_all(kind: Any, reason: str) -> LeftOut:
    return dict.fromkeys(get_args(kind), reason)


_SHARES: Final[LeftOut] = {
    "dicom differential": "it tells what the cells come to, and no single cell",
    "hl7": "it tells what the cells come to, and no single cell",
}
_EVIDENCE: Final = "it is evidence, and `device_state` tells what follows from it"
_REFERENCE: Final = "it has the reference system's fields, and what a person must see beside them"


@dataclass(frozen=True, slots=True)
class Told:
    """Of a field: its unit (UCUM), and the formats that do not tell it, each with the reason."""

    unit: str | None = None
    left_out: LeftOut = field(default_factory=dict, hash=False)


class Document(BaseModel):
    """Made from a value type by the names of its attributes, or read from JSON by its own names."""

    model_config = ConfigDict(
        frozen=True, from_attributes=True, validate_by_name=True, validate_by_alias=True, allow_inf_nan=False
    )


def _by_class(values: Any) -> Any:
    return dict(zip(CLASS_NAMES, values, strict=True)) if isinstance(values, tuple) else values


def _codes(reasons: Any) -> Any:
    return [one.code if isinstance(one, ReviewReason) else one for one in reasons]


EXAMPLE_ID: Final = "3f1c9a52-6f0b-4c83-9d61-0c5d6a3c7d11"
EXAMPLE_SHA256: Final = "0" * 64
EXAMPLE_TIME: Final = "2026-03-02T09:41:12Z"
EXAMPLE_PROBABILITIES: Final = dict(zip(CLASS_NAMES, (0.001, 0.004, 0.002, 0.009, 0.984), strict=True))

# Described and not checked: a sum of float32 may exceed 1 in its last digit, which is no reason to fail.
Probability = Annotated[float, Field(json_schema_extra={"minimum": 0, "maximum": 1})]
Share = Probability
ByClass = Annotated[dict[str, Probability], BeforeValidator(_by_class)]
"""By the name of the class; from a tuple in the order of ``CLASS_NAMES``."""
Time = Annotated[AwareDatetime, Field(examples=[EXAMPLE_TIME])]


class Model(Document):
    """Which model answered."""

    name: str = Field(examples=["wbc"])
    version: int = Field(examples=[1])
    sha256: str | None = Field(
        examples=[EXAMPLE_SHA256], description="Of its files; absent where a server does not tell."
    )
    server: str = Field(
        default="embedded",
        examples=["embedded"],
        description="What ran it: `tf-serving`, or `embedded` in this service, be it for want of the former.",
    )


class BoundingBox(Document):
    """Upper left and lower right corner in pixels of the upright image."""

    top: float = Field(examples=[120.5])
    left: float = Field(examples=[340.0])
    bottom: float = Field(examples=[231.0])
    right: float = Field(examples=[452.5])


ClassName = Annotated[
    str,
    Field(
        validation_alias="class",
        serialization_alias="class",
        json_schema_extra={"enum": list(CLASS_NAMES)},
        examples=[CLASS_NAMES[-1]],
        description="The class that was decided on.",
    ),
    Told(left_out=_SHARES),
]
Confidence = Annotated[
    Probability,
    Field(examples=[0.984], description="Calibrated probability of the class."),
    Told(
        "1",
        left_out=_SHARES
        | {
            "store": "it follows from class and probabilities",
            "csv": "it stands in the column of its class",
            "fhir": "it is the probability of the model's class",
            "dicom cell": "it is the probability of the class",
        },
    ),
]
Margin = Annotated[
    Probability,
    Field(examples=[0.975], description="Confidence less that of the second class."),
    Told("1", left_out=_SHARES | {"predict": _REFERENCE, "fhir": "it follows from the probabilities"}),
]
DecidedBy = Annotated[
    RoutingMode,
    Field(description="The rule of the profile's routing that made the decision.", examples=["none"]),
    Told(left_out=_SHARES),
]
Probabilities = Annotated[
    ByClass,
    Field(examples=[EXAMPLE_PROBABILITIES], description="Calibrated, after routing; they sum to 1."),
    Told("1", left_out=_SHARES),
]
AuxNeutrophil = Annotated[
    Probability,
    Field(examples=[0.998], description="The auxiliary head's probability of Neutrophil against Lymphocyte."),
    Told(
        "1",
        left_out=_in_all(SpecimenFormat, "it decides where routing says so, and `decided_by` tells of that")
        | {"predict": _REFERENCE, "dicom cell": "it decides where routing says so, and that is told"},
    ),
]
Energy = Annotated[
    float,
    Field(
        examples=[-5.21],
        description="The higher, the less the image is like those that the model was trained on. Over the "
        "profile's `max_energy`, the result is marked for review as `out_of_distribution`.",
    ),
    Told(
        "1",
        left_out=_SHARES | {"predict": _REFERENCE, "fhir": "its verdict is among the reasons for a review"},
    ),
]
NotWbc = Annotated[
    Probability,
    Field(
        examples=[0.012],
        description="The probability that what is shown is none of the five classes: an empty window, a "
        "platelet, a smudge, an erythroblast, an immature cell. Over the profile's `max_not_wbc`, the result "
        "is marked for review as `not_wbc`.",
    ),
    Told("1", left_out=_SHARES | {"predict": _REFERENCE}),
]
ReviewCodes = Annotated[
    list[str],
    BeforeValidator(_codes),
    Field(
        examples=[["close_call"]],
        description="Why a person should look at it, as codes; empty where none need.",
    ),
    Told(left_out=_SHARES),
]
FocusRatio = Annotated[
    Share | None,
    Field(examples=[0.91], description="Share of the heatmap on the cell."),
    Told("1", left_out=_SHARES | {"fhir": "its verdict is among the reasons for a review"}),
]
Views = Annotated[
    int,
    Field(ge=1, examples=[8], description="Views of the image whose answers were averaged: 1 or 8."),
    Told("1", left_out=_SHARES),
]
ImageSize = Annotated[
    tuple[int, int],
    Field(examples=[(360, 360)], description="Height and width in pixels."),
    Told(
        "{pixels}",
        left_out=_SHARES
        | {
            "predict": _REFERENCE,
            "open inference": "the caller has the image",
            "csv": "it is the image's, and not the result's",
            "fhir": "it is the image's, and not the result's",
            "dicom cell": "it is that of the heatmap, which the report refers to",
        },
    ),
]
CellBox = Annotated[
    BoundingBox | None,
    Field(
        description="The smallest rectangle that holds the cell, in pixels of the upright image; null where "
        "no cell was found, and in what older versions kept."
    ),
    Told(
        "{pixels}",
        left_out=_SHARES
        | {
            "predict": _REFERENCE,
            "fhir": "it is a place in the image, and not the result's",
            "dicom cell": "its heatmap, which the report refers to, shows where the cell is",
        },
    ),
]
ModelAnswered = Annotated[
    Model,
    Field(description="Which model answered."),
    Told(left_out={"open inference": "its version is the protocol's `model_version`"}),
]
ProfileUsed = Annotated[str, Field(examples=["cellavision-dm96"], description="The device profile."), Told()]
ProfileHash = Annotated[
    str | None,
    Field(
        examples=["0" * 64],
        description="Of the profile as it was used, with the views that were asked for; null in what older "
        "versions kept.",
    ),
    Told(left_out={"predict": _REFERENCE}),
]
HeadUsed = Annotated[
    str | None,
    Field(
        examples=[None],
        description="The site's own head that answered, as its name, a colon and the SHA-256 of its file's "
        "content; null where the model's own did. See docs/adapt.md.",
    ),
    Told(),
]
DeviceStateWord = Annotated[
    DeviceState,
    Field(
        examples=["known"],
        description="How far the service knows the microscope. `unknown`: it has no profile of its own, or "
        "its cells do not look like those of the profile; `profiled`: a site's own profile, the model was "
        "not trained on that device; `known`: it was; `audited`: an audit on that very device passed, and "
        "still holds. On the first two every answer is a suggestion, marked for review as `device_unknown`.",
    ),
    Told(),
]
LooksLike = Annotated[
    dict[str, bool] | None,
    Field(
        examples=[{"cellavision-dm96": False, "raabin": True}],
        description="By profile whether this cell looks like those of its device; null where nobody can say. "
        "One cell says little: `device_state` tells what follows from many.",
    ),
    Told(
        left_out={
            kind: _EVIDENCE
            for kind in (*get_args(AnalysisFormat), *get_args(SpecimenFormat))
            if kind not in ("analysis", "store", "differential")
        }
    ),
]
AnalysedAt = Annotated[
    Time,
    Field(description="When the image was analysed."),
    Told(
        left_out=_in_all(AnalysisFormat, "it is the moment of the answer")
        | {"dicom differential": "its time is that of the differential"}
    ),
]

RESULT: Final[Mapping[str, Any]] = {
    "class_name": ClassName,
    "confidence": Confidence,
    "margin": Margin,
    "decided_by": DecidedBy,
    "probabilities": Probabilities,
    "aux_neutrophil": AuxNeutrophil,
    "energy": Energy,
    "not_wbc": NotWbc,
    "review_codes": ReviewCodes,
    "focus_ratio": FocusRatio,
    "views": Views,
    "image_size": ImageSize,
    "box": CellBox,
    "model": ModelAnswered,
    "profile": ProfileUsed,
    "profile_sha256": ProfileHash,
    "head": HeadUsed,
    "device_state": DeviceStateWord,
    "looks_like": LooksLike,
    "analysed_at": AnalysedAt,
}
"""The table, by the names that the value types have."""


def told(name: str) -> Told:
    """What the table says of a field."""
    return next(found for found in get_args(RESULT[name]) if isinstance(found, Told))
