"""Differentials as typed, frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from ..protos.wbc.v1 import wbc_pb2 as pb
from .reading import value_of
from .results import Box, Model, Reason
from .words import number

OPEN_STATES = ("waiting", "running")
"""While cells are still to be analysed."""


@dataclass(frozen=True, slots=True)
class Range:
    """Limits, both part of the interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassCount:
    """One label's part. ``percentage`` and its exact 95 % ``interval`` are None below the least number of
    cells; ``absolute``, in 10^9/L, without a total. ``flag`` is ``low`` or ``high`` against ``reference``.
    ``denominator`` is ``white_cells``, ``per_100_white_cells`` of what is none of these, or ``none``: then
    there is the count alone. Cells of a label that is ``part_of`` another are in the row of that one too."""

    label: str = field(metadata={"absent": ""})
    count: int
    percentage: float | None
    interval: Range | None = field(metadata={"kind": Range})
    absolute: float | None
    absolute_interval: Range | None = field(metadata={"kind": Range})
    reference: Range | None = field(metadata={"kind": Range})
    flag: str | None
    denominator: str = field(metadata={"absent": "white_cells"})
    part_of: str | None


@dataclass(frozen=True, slots=True)
class CellResult:
    """What the service found in one image of a specimen."""

    class_name: str = field(metadata={"absent": ""})
    confidence: float
    margin: float
    decided_by: str | None
    probabilities: Mapping[str, float]
    energy: float
    not_wbc: float | None
    review_codes: tuple[str, ...]
    focus_ratio: float | None
    views: int
    image_size: tuple[int, int]
    box: Box | None = field(metadata={"kind": Box})
    model: Model = field(metadata={"kind": Model})
    profile: str
    analysed_at: datetime
    profile_sha256: str | None
    head: str | None
    device_state: str = field(metadata={"absent": "unknown"})


@dataclass(frozen=True, slots=True)
class Decision:
    """What a person said that a cell is."""

    label: str = field(metadata={"absent": ""})
    person: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """In which field a cell lies, by its ``number``; where in it says the result's ``box``.

    ``is_identified`` is False of what may be no white cell; ``same_as`` is the id of the cell of an earlier
    field that it is once more, ``added_by`` who drew its box where the service had missed it.
    """

    number: int
    is_cut: bool
    is_clump: bool
    is_identified: bool
    same_as: str | None
    added_by: str | None


@dataclass(frozen=True, slots=True)
class SpecimenField:
    """A field whose cells were found; ``image_size`` is height and width in pixels."""

    field_id: str
    number: int
    image_sha256: str
    image_size: tuple[int, int]
    red_cell_px: float | None
    cells: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One image of a specimen, or one cell of a field. ``state`` is ``waiting``, ``analysed`` or ``failed``;
    ``label`` is what it counts as, None where it counts nowhere; ``place`` is None of one that came alone."""

    cell_id: str
    number: int
    image_sha256: str
    state: str | None
    label: str | None
    needs_review: bool
    failure: str | None
    result: CellResult | None = field(metadata={"kind": CellResult})
    decision: Decision | None = field(metadata={"kind": Decision})
    etag: str | None
    place: FieldPlace | None = field(metadata={"kind": FieldPlace})


@dataclass(frozen=True, slots=True)
class Progress:
    """The cells of a specimen by where they stand."""

    total: int
    counted: int
    waiting: int
    failed: int
    unreviewed: int


@dataclass(frozen=True, slots=True)
class Comment:
    """What a person wrote about the cell of this id, or where it is None about the specimen; an addendum
    came after the signature."""

    number: int
    cell_id: str | None
    person: str
    said_at: datetime
    text: str
    is_addendum: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """Who closed a differential, and when."""

    person: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class ReleasedErrors:
    """What audits know of the answers that no person looked at.

    ``limits`` has, by class, the upper limit of the share of its answers that is wrong (one-sided 98.75 %);
    ``ended`` says whether an audit that released some of them has ended since.
    """

    limits: Mapping[str, float]
    ended: bool


@dataclass(frozen=True, slots=True)
class Differential:
    """A specimen's differential at one moment. Never a diagnosis.

    ``state`` is ``waiting`` or ``running`` while cells are to be analysed, then ``analysed``, and at the end
    ``signed`` or ``cancelled``. ``counts`` has the five classes, then ``Unidentified``, then each
    other label that a person used. ``label_shift`` is
    None where there are too few cells; ``cells`` is empty where none were asked for. ``device_state`` is the
    least of the cells', None before the first result. ``released_errors`` is None unless audits released all
    cells that count without a person's decision. ``etag`` names its state, as that of a cell the cell's.
    """

    differential_id: str
    specimen_id: str
    total_wbc: float | None
    state: str | None
    created_at: datetime
    created_by: str
    progress: Progress = field(metadata={"kind": Progress})
    counts: tuple[ClassCount, ...] = field(metadata={"kind": ClassCount})
    min_cells: int
    reference_source: str | None
    label_shift: Mapping[str, float] | None = field(metadata={"absent": None})
    review_list: tuple[str, ...]
    limitations: tuple[Reason, ...] = field(metadata={"kind": Reason})
    models: tuple[Model, ...] = field(metadata={"kind": Model})
    service_version: str
    computed_at: datetime
    signature: Signature | None = field(metadata={"kind": Signature})
    cells: tuple[Cell, ...] = field(metadata={"kind": Cell})
    disclaimer: str
    device_state: str | None
    released_errors: ReleasedErrors | None = field(metadata={"kind": ReleasedErrors})
    etag: str | None
    fields: tuple[SpecimenField, ...] = field(metadata={"kind": SpecimenField})
    cells_per_field: float | None
    assignee: str | None
    comments: tuple[Comment, ...] = field(metadata={"kind": Comment})

    @property
    def ended(self) -> bool:
        """Whether no cell is still to be analysed."""
        return self.state not in OPEN_STATES

    @classmethod
    def of(cls, message: pb.Differential) -> "Differential":
        """From the wire."""
        return value_of(message, cls)


@dataclass(frozen=True, slots=True)
class DifferentialSummary:
    """One line of a list: how many cells a specimen has, and how many of them wait to be analysed, could not
    be, and wait for a person's decision."""

    differential_id: str
    specimen_id: str
    state: str | None
    created_at: datetime
    cells: int
    waiting: int
    failed: int
    unreviewed: int
    signature: Signature | None = field(metadata={"kind": Signature})
    assignee: str | None


@dataclass(frozen=True, slots=True)
class DifferentialPage:
    """A part of a list, the newest first where nothing else was asked for; ``next_page_token`` asks for the
    next, and is empty on the last."""

    differentials: tuple[DifferentialSummary, ...] = field(metadata={"kind": DifferentialSummary})
    next_page_token: str
    disclaimer: str

    @classmethod
    def of(cls, message: pb.ListDifferentialsResponse) -> "DifferentialPage":
        """From the wire."""
        return value_of(message, cls)


@dataclass(frozen=True, slots=True)
class Search:
    """Which differentials a list has: of this laboratory's name of the specimen, in one of ``states`` (all
    where empty), ordered from the first time on and before the second (aware); with ``text`` as that name or
    as the beginning of the order's id; taken by ``assignee``, by nobody where empty, or where ``mine`` by who
    asks; with cells that wait for a person where ``needs_review``. ``sort`` is ``created``, ``doubt`` or
    ``state``, or one of these with a minus before it; a page token is of one order."""

    specimen_id: str = ""
    states: tuple[str, ...] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None
    text: str = ""
    assignee: str | None = None
    mine: bool = False
    needs_review: bool = False
    sort: str = "-created"

    def message(self, page_size: int, page_token: str) -> pb.ListDifferentialsRequest:
        """On the wire. Raises ``ValueError`` where there is no such state or order."""
        by = f"{self.sort[1:]}_descending" if self.sort.startswith("-") else self.sort
        return pb.ListDifferentialsRequest(
            page_size=page_size,
            page_token=page_token,
            specimen_id=self.specimen_id,
            states=[number(pb.SpecimenState, "SPECIMEN_STATE", state) for state in self.states],
            created_from=self.created_from,
            created_before=self.created_before,
            text=self.text,
            assignee=self.assignee,
            mine=self.mine,
            needs_review=self.needs_review,
            sort=number(pb.SpecimenSort, "SPECIMEN_SORT", by),
        )


EVERYTHING = Search()
