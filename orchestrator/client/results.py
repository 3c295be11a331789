"""Analyses as typed, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..protos.wbc.v1 import wbc_pb2 as pb
from .errors import AnalyzerError
from .reading import value_of
from .words import label

Key = TypeVar("Key")

Polygon = tuple[tuple[float, float], ...]
"""Corners as (row, column) in pixels of the upright image."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which model answered; ``sha256`` is None where a remote model server does not tell."""

    name: str
    version: int
    sha256: str | None
    server: str


@dataclass(frozen=True, slots=True)
class Reason:
    """A code that stays, and a sentence in English."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Focus:
    """Where the heatmap lies. ``ratio`` is its share on the cell; the three others are its shares by region.

    ``judgement`` is ``sound``, ``doubtful`` or ``background``.
    """

    ratio: float
    nucleus: float
    cytoplasm: float
    background: float
    judgement: str | None
    reasons: tuple[Reason, ...] = field(metadata={"kind": Reason})


@dataclass(frozen=True, slots=True)
class Heatmap:
    """An image file in the size of the upright image."""

    media_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Outlines:
    """Outer edges of the cell and of its nucleus."""

    cell: tuple[Polygon, ...]
    nucleus: tuple[Polygon, ...]


@dataclass(frozen=True, slots=True)
class Box:
    """The edges of a rectangle in pixels of the upright image."""

    top: float
    left: float
    bottom: float
    right: float


@dataclass(frozen=True, slots=True)
class Report:
    """A short text about a result, who wrote it, and the language model where one did. Never a diagnosis."""

    text: str
    writer: str
    language: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class Analysis:
    """The whole answer about one image.

    ``class_name`` has the calibrated probability ``confidence``; ``margin`` is that less the second class's.
    ``probabilities`` are of all five classes; ``image_size`` is height and width in pixels; ``box`` holds the
    cell, None where none was found.
    """

    request_id: str
    class_name: str = field(metadata={"absent": ""})
    confidence: float
    margin: float
    decided_by: str | None
    needs_review: bool
    review_reasons: tuple[Reason, ...] = field(metadata={"kind": Reason})
    probabilities: Mapping[str, float]
    aux_neutrophil_probability: float
    energy: float
    not_wbc: float
    focus: Focus | None = field(metadata={"kind": Focus})
    heatmap: Heatmap | None = field(metadata={"kind": Heatmap})
    outlines: Outlines | None = field(metadata={"kind": Outlines})
    report: Report | None = field(metadata={"kind": Report})
    model: Model = field(metadata={"kind": Model})
    profile: str
    image_size: tuple[int, int]
    box: Box | None = field(metadata={"kind": Box})
    views: int
    timings_ms: Mapping[str, float]
    disclaimer: str
    profile_sha256: str | None
    head: str | None
    """The site's own head that answered, ``NAME:SHA256``; None where the model's own did."""
    device_state: str = field(metadata={"absent": "unknown"})
    """``unknown``, ``profiled``, ``known`` or ``audited``; on the first two every answer is a suggestion."""

    @classmethod
    def of(cls, message: pb.Analysis) -> "Analysis":
        """From the wire."""
        return value_of(message, cls)


@dataclass(frozen=True, slots=True)
class StreamResult(Generic[Key]):
    """What became of one image of a stream, under the caller's ``key``: a result, or why there is none."""

    key: Key
    analysis: Analysis | None
    error: AnalyzerError | None

    def unwrap(self) -> Analysis:
        """The result. Raises the error where there is none."""
        if self.analysis is None:
            raise self.error or RuntimeError("the service sent neither a result nor an error")
        return self.analysis


@dataclass(frozen=True, slots=True)
class ModelDescription:
    """What answers, and how it may be asked: the names of the device profiles and of the report writers."""

    model: Model
    class_names: tuple[str, ...]
    input_size: int
    profiles: tuple[str, ...]
    default_profile: str
    report_writers: tuple[str, ...]
    service_version: str
    """Empty from a service that is older than this field."""
    disclaimer: str

    @classmethod
    def of(cls, message: pb.GetModelResponse) -> "ModelDescription":
        """From the wire."""
        return cls(
            model=value_of(message.model, Model),
            class_names=tuple(label(number) or "" for number in message.classes),
            input_size=message.input_size,
            profiles=tuple(profile.name for profile in message.profiles),
            default_profile=next((p.name for p in message.profiles if p.is_default), ""),
            report_writers=tuple(writer.name for writer in message.report_writers),
            service_version=message.service_version,
            disclaimer=message.disclaimer,
        )
