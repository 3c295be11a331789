"""Analyses as typed, frozen values."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from ..protos.wbc.v1 import wbc_pb2 as pb
from .errors import AnalyzerError
from .words import device_state_of, label, word

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

    @classmethod
    def of(cls, message: pb.Model) -> "Model":
        """From the wire."""
        sha256 = message.sha256 if message.HasField("sha256") else None
        return cls(message.name, message.version, sha256, message.server)


@dataclass(frozen=True, slots=True)
class Reason:
    """A code that stays, and a sentence in English."""

    code: str
    message: str

    @classmethod
    def all_of(cls, messages: Iterable[pb.Reason]) -> "tuple[Reason, ...]":
        """From the wire."""
        return tuple(cls(message.code, message.message) for message in messages)


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
    reasons: tuple[Reason, ...]

    @classmethod
    def of(cls, message: pb.Focus) -> "Focus":
        """From the wire."""
        shares = message.shares
        return cls(
            ratio=message.ratio,
            nucleus=shares.nucleus,
            cytoplasm=shares.cytoplasm,
            background=shares.background,
            judgement=word(pb.FocusJudgement, "FOCUS_JUDGEMENT", message.judgement),
            reasons=Reason.all_of(message.reasons),
        )


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
    ``probabilities`` are of all five classes; ``image_size`` is height and width in pixels.
    """

    request_id: str
    class_name: str
    confidence: float
    margin: float
    decided_by: str | None
    needs_review: bool
    review_reasons: tuple[Reason, ...]
    probabilities: Mapping[str, float]
    aux_neutrophil_probability: float
    energy: float
    not_wbc: float
    focus: Focus | None
    heatmap: Heatmap | None
    outlines: Outlines | None
    report: Report | None
    model: Model
    profile: str
    image_size: tuple[int, int]
    views: int
    timings_ms: Mapping[str, float]
    disclaimer: str
    profile_sha256: str | None
    device_state: str
    """``unknown``, ``profiled``, ``known`` or ``audited``; on the first two every answer is a suggestion."""

    @classmethod
    def of(cls, message: pb.Analysis) -> "Analysis":
        """From the wire."""
        decision, report = message.decision, message.report
        return cls(
            request_id=message.request_id,
            class_name=label(decision.cell_class) or "",
            confidence=decision.confidence,
            margin=decision.margin,
            decided_by=word(pb.Routing, "ROUTING", decision.decided_by),
            needs_review=message.needs_review,
            review_reasons=Reason.all_of(message.review_reasons),
            probabilities=probabilities_of(message.probabilities),
            aux_neutrophil_probability=message.aux_neutrophil_probability,
            energy=message.energy,
            not_wbc=message.not_wbc,
            focus=Focus.of(message.focus) if message.HasField("focus") else None,
            heatmap=(
                Heatmap(message.heatmap.media_type, message.heatmap.data)
                if message.HasField("heatmap")
                else None
            ),
            outlines=(
                Outlines(_polygons(message.outlines.cell), _polygons(message.outlines.nucleus))
                if message.HasField("outlines")
                else None
            ),
            report=(
                Report(
                    text=report.text,
                    writer=report.writer,
                    language=word(pb.Language, "LANGUAGE", report.language),
                    model=report.model if report.HasField("model") else None,
                )
                if message.HasField("report")
                else None
            ),
            model=Model.of(message.model),
            profile=message.profile,
            image_size=(message.image.height, message.image.width),
            views=message.views,
            timings_ms=dict(message.timings_ms),
            disclaimer=message.disclaimer,
            profile_sha256=message.profile_sha256 if message.HasField("profile_sha256") else None,
            device_state=device_state_of(message.device_state) or "unknown",
        )


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
            model=Model.of(message.model),
            class_names=tuple(label(number) or "" for number in message.classes),
            input_size=message.input_size,
            profiles=tuple(profile.name for profile in message.profiles),
            default_profile=next((p.name for p in message.profiles if p.is_default), ""),
            report_writers=tuple(writer.name for writer in message.report_writers),
            service_version=message.service_version,
            disclaimer=message.disclaimer,
        )


def probabilities_of(messages: Iterable[pb.ClassProbability]) -> dict[str, float]:
    """By the name of the class."""
    return {label(message.cell_class) or "": message.probability for message in messages}


def _polygons(messages: Iterable[pb.Polygon]) -> tuple[Polygon, ...]:
    return tuple(tuple((point.row, point.column) for point in polygon.points) for polygon in messages)
