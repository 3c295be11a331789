"""The white cells of a field as typed, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..protos.wbc.v1 import wbc_pb2 as pb
from .reading import value_of
from .results import Box, Model, Outlines, Reason
from .words import Tta, number


@dataclass(frozen=True, slots=True)
class FieldOptions:
    """None stands for the service's default; for ``tta``, for the profile's.

    Args:
        profile: device profile; ``Client.model()`` lists them.
        tta: test-time augmentation: one view, eight, or eight only where one is not clear.
        red_cell_px: diameter of the field's red cells in pixels, where it is known.
    """

    profile: str | None = None
    tta: Tta | None = None
    red_cell_px: float | None = None

    def message(self) -> pb.FieldOptions:
        """As it travels. Raises ``ValueError`` where a word is unknown."""
        return pb.FieldOptions(
            profile=self.profile or "",
            tta=number(pb.TestTimeAugmentation, "TEST_TIME_AUGMENTATION", self.tta),
            red_cell_px=self.red_cell_px,
        )


DEFAULT_FIELD_OPTIONS = FieldOptions()


@dataclass(frozen=True, slots=True)
class FieldCell:
    """One cell of a field; what it has in common with an analysis means the same there.

    ``is_cut`` by the frame; ``is_clump`` where several cells may lie on each other, counted as one.
    """

    box: Box = field(metadata={"kind": Box})
    outlines: Outlines = field(metadata={"kind": Outlines})
    class_name: str = field(metadata={"absent": ""})
    confidence: float
    margin: float
    decided_by: str | None
    needs_review: bool
    review_reasons: tuple[Reason, ...] = field(metadata={"kind": Reason})
    probabilities: Mapping[str, float]
    not_wbc: float
    views: int
    is_cut: bool
    is_clump: bool


@dataclass(frozen=True, slots=True)
class FieldAnalysis:
    """The white cells of one field, from top to bottom. Never a diagnosis.

    ``counts`` has the classes that were found; ``unidentified`` is what may be no white cell, and is not
    counted. ``model`` is None, and ``message`` says so, where no cell was found. ``red_cell_px`` is the
    diameter of the red cells, None where nothing tells; ``image_size`` is height and width in pixels.
    """

    request_id: str
    model: Model | None = field(metadata={"kind": Model})
    profile: str
    profile_sha256: str | None
    head: str | None
    device_state: str = field(metadata={"absent": "unknown"})
    image_size: tuple[int, int]
    red_cell_px: float | None
    counts: Mapping[str, int] = field(metadata={"absent": {}})
    cells: tuple[FieldCell, ...] = field(metadata={"kind": FieldCell})
    unidentified: tuple[FieldCell, ...] = field(metadata={"kind": FieldCell})
    message: str | None
    timings_ms: Mapping[str, float]
    disclaimer: str

    @classmethod
    def of(cls, message: pb.FieldAnalysis) -> "FieldAnalysis":
        """From the wire."""
        return value_of(message, cls)
