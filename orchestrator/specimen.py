"""Frozen value types of a specimen: its cells, what people decided about them, and the differential.

A differential is the share of each class among the white cells of one specimen. The reference method is CLSI
H20-A2 (400 cells, two times 200); practice is 100 or 200. What the service cannot tell is a label of its own,
``Unidentified``, until a person says what it is. Times are aware, in UTC.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final, Literal, get_args

from orchestrator.cell_features import is_contradicted, resembled
from orchestrator.domain import DEVICE_UNKNOWN, DISCLAIMER, Box, DeviceState, ModelIdentity, RoutingMode
from orchestrator.labels import CELL_LABELS, NEUTROPHIL, NUCLEATED_RED_CELL, UNIDENTIFIED, Denominator
from orchestrator.model_contract import CLASS_NAMES

ANYBODY: Final = ""
"""Of whom a specimen is taken by a caller who does not say whom they saw; nobody's name."""

_NOT_PRINTED: Final = (
    r"\x00-\x09\x0b-\x1f\x7f-\xa0\xad\u034f\u061c\u115f\u1160\u1680\u17b4\u17b5\u180b-\u180f\u2000-\u200f"
    r"\u2028-\u202f\u205f-\u206f\u3164\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
IDENTIFIER: Final = rf"^[^{_NOT_PRINTED}\s](?:[^{_NOT_PRINTED}\n]*[^{_NOT_PRINTED}\s])?$"
"""What a laboratory's own identifier may be: any text of one line, without spaces around it, but for what
nobody prints. These are control characters (C0, C1), the separators of lines and paragraphs, spaces that are
not the one of ASCII, and what has no width or a direction alone (Unicode's default ignorable code points):
by these two identifiers look alike, or one looks like another."""
PROSE: Final = rf"^[^{_NOT_PRINTED}]+$"
"""What a person may write beside a finding: the same, of several lines."""
MAX_COMMENT: Final = 2000
"""Characters of one comment."""
MAX_COMMENTS: Final = 200
"""Comments on one specimen with its cells, and addenda to it."""

UNVERIFIED_DEVICES: Final[Mapping[DeviceState, str]] = MappingProxyType(
    {
        "unknown": "The microscope is unknown to the service: its answers are suggestions for a person to "
        "decide.",
        "profiled": "The microscope has a profile but no passed audit: the service's answers are suggestions "
        "for a person to decide.",
    }
)
"""The states of a device on which no answer is released without a review, and what to say of a specimen."""


def unverified_words(state: DeviceState | None) -> str | None:
    """What to say once of a specimen on a device of this state; None where nothing need be said."""
    return None if state is None else UNVERIFIED_DEVICES.get(state)


def contradicted_words(profile: str, resembles: str | None) -> str:
    """That cells do not look like those of their profile but, where known, of another."""
    return (
        f"The cells do not look like those of profile `{profile}`: the microscope counts as unknown, and "
        f"answers are suggestions for a person to decide. {offered_words(resembles)}".rstrip()
    )


def offered_words(resembles: str | None) -> str:
    """The profile that cells look like, to be chosen; empty where they look like none."""
    if resembles is None:
        return ""
    return f"They look like those of profile `{resembles}`: choose it if that is the microscope."


AUDIT_ENDED: Final = (
    "The audit that released cells of this differential has ended since, as more of its sampled answers were "
    "found wrong than it allows: let a person look at the other cells too."
)
CLASSIFIER_ERROR: Final = (
    "The intervals carry the error of the classifier, as far as the audit of this microscope limits it, "
    "beside the error of counting."
)

SpecimenState = Literal["waiting", "running", "analysed", "signed", "cancelled"]
"""``waiting`` and ``running``: cells are still to be analysed; ``analysed``: all are, and people may decide;
``signed`` and ``cancelled`` are final."""

NOT_CLOSED: Final[tuple[SpecimenState, ...]] = ("analysed", "running", "waiting")
"""While a person has still something to do, the nearest to their hand first."""
BY_STATE: Final[tuple[SpecimenState, ...]] = (*NOT_CLOSED, "signed", "cancelled")

SpecimenSort = Literal["created", "-created", "doubt", "-doubt", "state", "-state"]
"""How a list of specimens is sorted, downwards with a minus: by the time of the order; by how many cells wait
for a person's decision; or by state in the order of :data:`BY_STATE`."""

CellState = Literal["waiting", "analysed", "failed"]

ImageKind = Literal["cell", "field", "auto"]
"""What the images of an order show: one cell each, a whole field each, or what each of them tells."""


@dataclass(frozen=True, slots=True)
class CellResult:
    """What the service found in one image, as it is kept: an :class:`~orchestrator.domain.Analysis` without
    its pictures. ``probabilities`` follow ``CLASS_NAMES``; ``review_codes`` are the codes of the reasons for
    a review; ``image_size`` is height and width in pixels."""

    class_name: str
    probabilities: tuple[float, ...]
    margin: float
    energy: float
    review_codes: tuple[str, ...]
    focus_ratio: float | None
    views: int
    image_size: tuple[int, int]
    model: ModelIdentity
    profile: str
    analysed_at: datetime
    profile_sha256: str | None = None
    """Of the profile as it was used; None in what older versions kept."""
    not_wbc: float | None = None
    """As in a :class:`~orchestrator.domain.Finding`; None in what older versions kept."""
    device_state: DeviceState = "unknown"
    """Also in what older versions kept, which did not ask."""
    decided_by: RoutingMode | None = None
    """The rule of the profile's routing; None in what older versions kept."""
    looks_like: Mapping[str, bool] | None = None
    """As in an :class:`~orchestrator.domain.Analysis`."""
    head: str | None = None
    """As in an :class:`~orchestrator.domain.Analysis`."""
    box: Box | None = None
    """As in an :class:`~orchestrator.domain.Analysis`; None also in what older versions kept."""

    @property
    def confidence(self) -> float:
        """Of ``class_name``, in [0, 1]."""
        return self.probabilities[CLASS_NAMES.index(self.class_name)]


@dataclass(frozen=True, slots=True)
class FieldPlace:
    """In which field a cell lies, by the ``number`` of that in the order; where in it says the result's box.

    ``is_identified`` is False of what may be no white cell: it counts once a person says what it is.
    ``same_as`` is the id of the cell of an earlier field that it is once more, where the fields overlap.
    ``added_by`` is who drew its box where the service had missed it.
    """

    number: int
    is_cut: bool
    is_clump: bool
    is_identified: bool
    same_as: str | None = None
    added_by: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it counts without a person's word."""
        return self.is_identified and self.same_as is None


@dataclass(frozen=True, slots=True)
class CellDecision:
    """What a person says a cell is, by the name of a label (:mod:`orchestrator.labels`); equal to the
    service's class where accepted."""

    label: str
    person: str
    decided_at: datetime


def differential_etag(version: int) -> str:
    """The name of the state of a whole specimen, as HTTP's ``ETag`` has it within its quotes."""
    return str(version)


def cell_etag(version: int) -> str:
    """The name of the state of one cell; no specimen's is like it."""
    return f"cell-{version}"


@dataclass(frozen=True, slots=True)
class SpecimenCell:
    """One image of a specimen, in the order in which they were sent (``number`` counts from 1); or one cell
    of a field, with its ``place`` there, which comes after all that was sent.

    ``image_sha256`` is hex, of the file as it was sent, or of the PNG that was cut out of a field.
    ``failure`` is the sentence that says why an image could not be analysed. File names are not kept: they
    may hold a patient's. ``version`` rises with every change of it.
    """

    cell_id: str
    number: int
    image_sha256: str
    state: CellState
    result: CellResult | None = None
    failure: str | None = None
    decision: CellDecision | None = None
    version: int = 0
    place: FieldPlace | None = None

    @property
    def etag(self) -> str:
        """Of its state: what a decision about this cell rests on."""
        return cell_etag(self.version)

    @property
    def needs_review(self) -> bool:
        """Whether a person should decide and has not."""
        if self.decision is not None or self.result is None or self.is_double:
            return False
        return bool(self.result.review_codes)

    @property
    def is_double(self) -> bool:
        """Whether it is a cell of another field once more."""
        return self.place is not None and self.place.same_as is not None

    @property
    def label(self) -> str | None:
        """What it counts as: a person's decision before the service's class; ``Unidentified`` where the
        service is unsure; None where it does not count: without a result, or where it is a cell of another
        field once more, whatever was decided, or may be no white cell."""
        if self.is_double:
            return None
        if self.decision is not None:
            return self.decision.label
        if self.result is None or (self.place is not None and not self.place.counts):
            return None
        return UNIDENTIFIED if self.result.review_codes else self.result.class_name

    @property
    def is_unseen(self) -> bool:
        """Whether it counts as one of the five classes by the service's word alone."""
        return self.decision is None and self.label not in (None, UNIDENTIFIED)


@dataclass(frozen=True, slots=True)
class SpecimenField:
    """A field whose cells were found; ``number`` and ``image_sha256`` as of a :class:`SpecimenCell`.
    ``image_size`` is height and width in pixels, ``red_cell_px`` the diameter of its red cells, None where
    nothing tells. ``cells`` are the white ones in it, as the service found and persons added them, also those
    that another field has too."""

    field_id: str
    number: int
    image_sha256: str
    image_size: tuple[int, int]
    red_cell_px: float | None
    cells: int


@dataclass(frozen=True, slots=True)
class Signature:
    """Who closed a differential, and when."""

    person: str
    signed_at: datetime


@dataclass(frozen=True, slots=True)
class Comment:
    """What a person wrote (:data:`PROSE`) about the cell of this id, or where it is None about the specimen;
    ``number`` counts from 1 within the specimen. An addendum came after the signature, and changes nothing
    that was signed."""

    number: int
    cell_id: str | None
    person: str
    said_at: datetime
    text: str
    is_addendum: bool = False


@dataclass(frozen=True, slots=True)
class SpecimenOrder:
    """What a caller orders. ``specimen_id`` is the laboratory's own, opaque here; ``total_wbc`` is the white
    cell count in 10^9/L (equal to 10*3/uL), measured elsewhere; ``profile`` and ``tta`` as for one image;
    ``kind`` is that of all images."""

    specimen_id: str
    total_wbc: float | None = None
    profile: str | None = None
    tta: str | None = None
    kind: ImageKind = "cell"


@dataclass(frozen=True, slots=True)
class Specimen:
    """An order and what became of it; ``cells`` in the order of their numbers; ``fields`` are those images
    whose cells were found, and are among ``cells`` until then; ``version`` rises with every change of it or
    of a cell; ``assignee`` is who has taken it to review, which keeps nobody else from doing so; ``comments``
    are in the order in which they were written, addenda last."""

    differential_id: str
    order: SpecimenOrder
    state: SpecimenState
    created_by: str
    created_at: datetime
    cells: tuple[SpecimenCell, ...]
    signature: Signature | None = None
    version: int = 0
    fields: tuple[SpecimenField, ...] = ()
    assignee: str | None = None
    comments: tuple[Comment, ...] = ()

    @property
    def etag(self) -> str:
        """Of its state with all its cells: what a signature rests on."""
        return differential_etag(self.version)

    @property
    def addenda(self) -> tuple[Comment, ...]:
        """Those of the comments that came after the signature."""
        return tuple(comment for comment in self.comments if comment.is_addendum)

    def comments_on(self, cell_id: str | None) -> tuple[Comment, ...]:
        """Those on one cell, or on the specimen where None; no addenda."""
        return tuple(c for c in self.comments if c.cell_id == cell_id and not c.is_addendum)

    @property
    def device_state(self) -> DeviceState | None:
        """The least of its results'; None before the first."""
        states = {cell.result.device_state for cell in self.cells if cell.result is not None}
        return min(states, key=get_args(DeviceState).index, default=None)

    @property
    def contradicted(self) -> str | None:
        """The profile that its cells came under and do not look like; None where there is none."""
        results = self._counted_results
        for profile in dict.fromkeys(result.profile for result in results):
            likeness = [r.looks_like for r in results if r.profile == profile and r.looks_like is not None]
            if is_contradicted(profile, likeness):
                return profile
        return None

    @property
    def resembles(self) -> str | None:
        """The profile whose cells its own look like; None where they look like none, or are too few."""
        return resembled([r.looks_like for r in self._counted_results if r.looks_like is not None])

    @property
    def _counted_results(self) -> list[CellResult]:
        return [c.result for c in self.cells if c.result is not None and c.label is not None]

    def judged(self) -> "Specimen":
        """The same with every answer a suggestion where the cells contradict their profile."""
        if self.contradicted is None:
            return self
        return replace(self, cells=tuple(_of_unknown_device(cell) for cell in self.cells))


def _of_unknown_device(cell: SpecimenCell) -> SpecimenCell:
    result = cell.result
    if result is None or result.device_state == "unknown":
        return cell
    codes = result.review_codes
    if DEVICE_UNKNOWN not in codes:
        codes = (*codes, DEVICE_UNKNOWN)
    return replace(cell, result=replace(result, device_state="unknown", review_codes=codes))


@dataclass(frozen=True, slots=True)
class SpecimenSummary:
    """One line of a list of specimens: how many cells it has, and how many of them wait to be analysed, could
    not be, and wait for a person's decision; ``assignee`` is who has taken it, None where nobody has."""

    differential_id: str
    specimen_id: str
    state: SpecimenState
    created_at: datetime
    cells: int
    waiting: int
    failed: int
    unreviewed: int
    signature: Signature | None = None
    assignee: str | None = None


@dataclass(frozen=True, slots=True)
class SpecimenSearch:
    """Which specimens a list has: of this laboratory's id, in one of ``states`` (all where empty), created
    from the first moment on and before the second; with ``text`` as the laboratory's id or as the beginning
    of the order's; taken by ``assignee`` (by nobody where empty); and, where ``needs_review``, not closed and
    with cells that wait for a person's decision."""

    specimen_id: str | None = None
    states: tuple[SpecimenState, ...] = ()
    created_from: datetime | None = None
    created_before: datetime | None = None
    text: str | None = None
    assignee: str | None = None
    needs_review: bool = False

    @property
    def is_of_few(self) -> bool:
        """Whether it names what is looked for."""
        return self.specimen_id is not None or self.text is not None

    @property
    def in_states(self) -> tuple[SpecimenState, ...]:
        """Those that it asks for, in the order of :data:`BY_STATE`."""
        of = NOT_CLOSED if self.needs_review else BY_STATE
        return tuple(state for state in of if not self.states or state in self.states)


@dataclass(frozen=True, slots=True)
class ReleasedErrors:
    """What audits know of the answers that no person looked at: by class the upper limit of the share that is
    wrong, one-sided at :data:`~orchestrator.common.binomial_interval.ERROR_CONFIDENCE`; ``ended`` where an
    audit that released some of them was suspended since."""

    limits: Mapping[str, float]
    ended: bool = False


@dataclass(frozen=True, slots=True)
class Range:
    """Limits of a reference interval, both inclusive."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ClassCount:
    """A label's part of a differential.

    ``percentage`` and its exact 95 % ``interval`` (Clopper and Pearson 1934; with the classifier's error
    where an audit knows it) are in percent and None below the minimum number of cells; ``absolute`` and
    ``absolute_interval``, in 10^9/L, are None without a total as well, and carry the interval of the share
    alone, not the error of the total. ``flag`` compares the percentage with ``reference``, the site's range
    in percent.

    ``denominator`` says what the percentage is of. Cells per 100 white cells are none of these: their
    percentage can be over 100, its interval is that of the ratio of two numbers (exact, from the share of
    both together), and they have no absolute count, nor have those without a denominator. The cells of a
    label that is ``part_of`` another are in the row of that one too.
    """

    label: str
    count: int
    percentage: float | None
    interval: Range | None
    absolute: float | None
    absolute_interval: Range | None
    reference: Range | None
    flag: Literal["low", "high"] | None
    denominator: Denominator = "white_cells"
    part_of: str | None = None


@dataclass(frozen=True, slots=True)
class Limitation:
    """What a differential does not say or rests on: a stable ``code`` and a sentence in English."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class CellCounts:
    """The cells of a specimen by where they stand; ``unreviewed`` wait for a person's decision."""

    total: int
    counted: int
    waiting: int
    failed: int
    unreviewed: int


@dataclass(frozen=True, slots=True)
class Differential:
    """What a specimen comes to at one moment.

    ``counts`` has the five classes in the order of ``CLASS_NAMES``, then ``Unidentified``, then each other
    label that a person used; its shares are of all ``cells_counted``, which are the white ones.
    ``review_list`` are the ids of the cells that wait for a person, the least confident first.
    ``label_shift`` is the estimate of the five shares by expectation maximisation over the cells'
    probabilities (Saerens et al. 2002), None where there are too few cells, and while one of an unverified
    device waits for a person. ``models`` are all that answered: more than one where a version changed midway.
    ``reference_source`` says where the reference ranges come from.
    ``released_errors`` is there where an audit released all that no person looked at: the intervals then
    carry its error too.
    """

    specimen: Specimen
    counts: tuple[ClassCount, ...]
    cells_counted: int
    cells_waiting: int
    cells_failed: int
    min_cells: int
    review_list: tuple[str, ...]
    label_shift: tuple[float, ...] | None
    models: tuple[ModelIdentity, ...]
    service_version: str
    computed_at: datetime
    disclaimer: str = DISCLAIMER
    reference_source: str | None = None
    released_errors: ReleasedErrors | None = None

    @property
    def cells_per_field(self) -> float | None:
        """In the mean; None where there are no fields."""
        fields = self.specimen.fields
        return sum(field.cells for field in fields) / len(fields) if fields else None

    @property
    def outside(self) -> tuple[ClassCount, ...]:
        """Those that are not among the 100 %."""
        return tuple(count for count in self.counts if count.denominator != "white_cells")

    def label_sentences(self) -> Mapping[str, str]:
        """What is to be said of the labels that only persons use, by code."""
        said: dict[str, str] = {}
        parts = [count for count in self.counts if count.part_of == NEUTROPHIL]
        neutrophils = self.counts[CELL_LABELS.index(NEUTROPHIL)].count
        if parts and (rest := neutrophils - sum(count.count for count in parts)):
            said["not_told_apart"] = (
                f"{rest} of {neutrophils} neutrophils are not told apart further: the shares of "
                f"{' and '.join(count.label for count in parts)} may be larger."
            )
        if self.outside:
            named = ", ".join(f"{count.label} {count.count}" for count in self.outside)
            said["outside"] = f"Outside of the 100 % of the white cells: {named}."
        if self.specimen.order.total_wbc is not None and any(
            count.label == NUCLEATED_RED_CELL for count in self.outside
        ):
            said["uncorrected_total"] = (
                "The total white cell count is taken as it was given; it is not corrected for nucleated red "
                "cells."
            )
        return said

    def audit_sentences(self) -> Mapping[str, str]:
        """What is to be said of the audit behind the figures, by code."""
        said: dict[str, str] = {}
        if self.released_errors is None:
            return said
        if self.released_errors.ended:
            said["audit_ended"] = AUDIT_ENDED
        elif any(count.interval is not None for count in self.counts):
            said["classifier_error"] = CLASSIFIER_ERROR
        return said

    @property
    def progress(self) -> CellCounts:
        """Its cells by where they stand."""
        return CellCounts(
            len(self.specimen.cells),
            self.cells_counted,
            self.cells_waiting,
            self.cells_failed,
            len(self.review_list),
        )

    @property
    def limitations(self) -> tuple[Limitation, ...]:
        """What a reader must know before using the figures, the most important first."""
        found: list[Limitation] = []

        def say(code: str, message: str) -> None:
            found.append(Limitation(code, message))

        unidentified = self.counts[CELL_LABELS.index(UNIDENTIFIED)].count
        if self.specimen.state == "cancelled":
            say("cancelled", "The differential was cancelled; it is not complete and will not be.")
        elif self.cells_waiting:
            say(
                "incomplete", f"{self.cells_waiting} of {len(self.specimen.cells)} cells wait to be analysed."
            )
        if (unverified := unverified_words(self.specimen.device_state)) is not None:
            if (contradicted := self.specimen.contradicted) is not None:
                unverified = contradicted_words(contradicted, self.specimen.resembles)
            elif self.specimen.device_state == "unknown":
                unverified = f"{unverified} {offered_words(self.specimen.resembles)}".rstrip()
            say(DEVICE_UNKNOWN, unverified)
        for code, sentence in self.audit_sentences().items():
            say(code, sentence)
        if self.cells_counted < self.min_cells:
            say(
                "too_few_cells",
                f"{self.cells_counted} cells are counted; percentages are given from {self.min_cells} on.",
            )
        if doubles := sum(cell.is_double for cell in self.specimen.cells):
            say(
                "same_cells",
                f"Fields overlap: {doubles} finds are cells of another field once more, counted once.",
            )
        if self.review_list:
            say("unreviewed", f"{len(self.review_list)} cells wait for a person's decision.")
        if unidentified:
            say(
                "unidentified",
                f"{unidentified} cells are Unidentified; they are part of the whole that shares are of.",
            )
        for code, sentence in self.label_sentences().items():
            say(code, sentence)
        if self.cells_failed:
            say("failed", f"{self.cells_failed} images could not be analysed and are not counted.")
        if len(self.models) > 1:
            say("several_models", f"{len(self.models)} models answered: the version changed midway.")
        if self.specimen.order.total_wbc is None:
            say("no_total", "No total white cell count was given, so there are no absolute counts.")
        if self.specimen.signature is None and self.specimen.state != "cancelled":
            say("unsigned", "No person has signed this differential.")
        say(
            "five_classes",
            "Five classes are told apart; blasts, bands, immature granulocytes and other cells are not "
            "recognised and may be counted as one of the five.",
        )
        return tuple(found)
