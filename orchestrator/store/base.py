"""The port of the store."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from orchestrator.domain import Box
from orchestrator.errors import (
    ChangedMeanwhile,
    CountedAlready,
    FieldProblem,
    InvalidParameter,
    NotReady,
    SpecimenClosed,
    UnknownCell,
)
from orchestrator.specimen import (
    ANYBODY,
    CellResult,
    FieldPlace,
    Specimen,
    SpecimenField,
    SpecimenOrder,
    SpecimenSearch,
    SpecimenSort,
    SpecimenSummary,
)

Actor = str
"""The person or key that acts, never a secret."""

KeepImages = Literal["never", "until_signed", "always"]
"""How long images stay beyond their analysis; those of a specimen that is cancelled go as at a signature."""

Seen = Collection[str] | None
"""Names of states (``etag``) of which one must be that of the differential or the cell; None where its caller
does not say what they saw."""

NOTHING: Final[Mapping[int, str]] = MappingProxyType({})
EVERYTHING: Final = SpecimenSearch()


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One row of the audit trail; ``row_hash`` covers the row and the hash of the row before (hex,
    SHA-256)."""

    sequence: int
    at: datetime
    actor: Actor
    action: str
    differential_id: str | None
    cell_id: str | None
    details: Mapping[str, str]
    previous_hash: str
    row_hash: str


@dataclass(frozen=True, slots=True)
class AuditVerdict:
    """Whether the trail is whole, and specimens and cells are what it says.

    Where the trail is not whole, ``first_wrong`` is the first row that was changed, removed or reordered;
    where what is kept differs from it, ``why`` is the first of ``altered``, a sentence each. ``older`` are
    the ids of what was closed before digests were kept. ``head`` is the hash of the last row.
    """

    ok: bool
    rows: int
    first_wrong: int | None = None
    why: str | None = None
    altered: tuple[str, ...] = ()
    older: tuple[str, ...] = ()
    head: str | None = None


class LeasedCell(NamedTuple):
    """A cell to analyse, by who claimed it and by nobody else, until the lease ends.

    ``is_as_sent`` is whether the image is the one that was ordered; a changed one is not analysed.
    ``attempts`` are earlier ones that ended neither with a result nor by :meth:`Store.withdraw`, as where a
    process was killed. ``token`` rises with every lease of the cell; what a holder of an older one says of it
    is refused.
    """

    cell_id: str
    payload: bytes
    attempts: int
    token: int
    is_as_sent: bool = True


@dataclass(frozen=True, slots=True)
class CutOutCell:
    """A cell of a field: its image, a PNG; what was found in it; and where it lies, of a field whose number
    the store knows."""

    image: bytes
    result: CellResult
    place: FieldPlace

    @property
    def box(self) -> Box:
        """Where it lies in the field."""
        if self.result.box is None:
            raise ValueError("expected a cell of a field with its box, received one without")
        return self.result.box


@dataclass(frozen=True, slots=True)
class FoundCell(CutOutCell):
    """One that the service found, with the mark by which it is known again in another field."""

    mark: bytes


@dataclass(frozen=True, slots=True)
class FoundField:
    """A field that was searched, as a :class:`~orchestrator.specimen.SpecimenField`, and its cells."""

    image_size: tuple[int, int]
    red_cell_px: float | None
    cells: tuple[FoundCell, ...]

    @property
    def white_cells(self) -> int:
        """How many of them are white cells without a person's word."""
        return sum(cell.place.is_identified for cell in self.cells)


SAME_PLACE: Final = 0.5
"""Share of a cell's box that is in a new one of its field from which on both are around one cell."""

LEAST_BOX_PX: Final = 8
LONGEST_BOX_RED_CELLS: Final = 9.0
"""Sides of the box of a cell that a person adds: in pixels at least, in diameters of a red cell at most."""

SameCells = Callable[[Sequence[bytes], Sequence[bytes]], Sequence[int | None]]
"""By the marks of a field's cells and of those of earlier fields: which of the latter each is."""


class Recorded(IntEnum):
    """What the transaction of a result did with it: ``LAST`` where no cell waits after it, which of all
    processes one hears."""

    REFUSED = 0
    TAKEN = 1
    LAST = 2


def require_assignee(specimen: Specimen, instead_of: str | None) -> None:
    """Raises ``ChangedMeanwhile`` where another has taken it than somebody saw; of :data:`ANYBODY` never."""
    if instead_of in (ANYBODY, specimen.assignee):
        return
    if specimen.assignee is None:
        raise ChangedMeanwhile("The specimen was given back since it was read; read it again.")
    raise ChangedMeanwhile(
        f"The specimen was taken by {specimen.assignee} since it was read; ask them, or take it over."
    )


def require_room(specimen: Specimen, field_id: str, box: Box) -> SpecimenField:
    """The field of this id, where a person may add the cell in this box of it.

    Raises ``SpecimenClosed``, ``NotReady`` while cells wait, ``UnknownCell`` without such a field,
    ``InvalidParameter`` where the box cannot be around one cell of it, and ``CountedAlready`` where one of
    its cells lies there.
    """
    if specimen.state in ("signed", "cancelled"):
        raise SpecimenClosed("The differential is signed or cancelled.")
    if specimen.state != "analysed":
        raise NotReady("Cells wait to be analysed.")
    field = next((field for field in specimen.fields if field.field_id == field_id), None)
    if field is None:
        raise UnknownCell("The differential has no field of this id.")
    _require_one_cell(box, field)
    for cell in specimen.cells:
        if cell.place is None or cell.place.number != field.number or cell.result is None:
            continue
        there = cell.result.box
        if there is not None and box.common(there) >= SAME_PLACE * there.area:
            raise CountedAlready(f"Cell {cell.number} of this field lies there: decide about that one.")
    return field


def _require_one_cell(box: Box, field: SpecimenField) -> None:
    height, width = field.image_size
    known_px = field.red_cell_px
    longest = max(field.image_size) if known_px is None else LONGEST_BOX_RED_CELLS * known_px
    sides = box.bottom - box.top, box.right - box.left
    is_within = min(box.top, box.left) >= 0 and box.bottom <= height and box.right <= width
    if not is_within or min(sides) < LEAST_BOX_PX or max(sides) > longest:
        raise InvalidParameter(
            FieldProblem(
                "box",
                f"expected edges within the {width} x {height} pixels of the field, at least {LEAST_BOX_PX} "
                f"and at most {longest:.0f} pixels apart: draw it closely around one cell",
            )
        )


class Store(Protocol):
    """Keeps specimens, durably: what a method has answered is not lost by a kill of the process.

    ``claim`` leases the waiting cell with the fewest attempts, then the lowest number, that nobody else
    holds, for so many seconds by the database's own clock, and counts the attempt before it is made;
    ``renew`` says whether the cell is still its caller's; ``withdraw`` gives a cell back whose attempt ended
    without a result and without harm. ``unfinished`` are the specimens with a cell that can be claimed.

    ``record_field`` adds the cells of a field. Which of them are cells of earlier fields says the function
    that it is given: before the transaction of those that are there, within it of those that came meanwhile,
    so that of two fields one is always the earlier. Marks go when no cell waits any more.

    ``create`` keeps those images as failed cells that are ``refused``, by their numbers, with the reason.

    Decisions and signatures may say what they rest on (``seen``); where neither the differential nor the cell
    is as named, :class:`~orchestrator.errors.ChangedMeanwhile` is raised.

    Results come with the ``token`` of the lease; without one, of whoever knows that nobody else works.

    Every method raises :class:`~orchestrator.errors.StoreUnavailable` where the database does not answer.
    """

    async def start(self) -> None: ...
    async def open(self) -> None:
        """Instead of :meth:`start`, to read alone: makes, migrates and removes nothing.

        Raises :class:`~orchestrator.errors.ConfigurationError` where no store of this version is there.
        """

    async def close(self) -> None: ...
    async def create(
        self,
        order: SpecimenOrder,
        payloads: Sequence[bytes],
        actor: Actor,
        idempotency_key: str | None = None,
        refused: Mapping[int, str] = NOTHING,
    ) -> tuple[Specimen, bool]: ...
    async def get(self, differential_id: str) -> Specimen: ...
    async def etag(self, differential_id: str) -> str:
        """Of a specimen, read without its cells."""

    async def checked(self, differential_id: str) -> Specimen:
        """As :meth:`get`, where it is what the trail says, for all that leaves the service.

        Raises :class:`~orchestrator.errors.RecordAltered` where it was changed past the service.
        """

    async def page(
        self,
        limit: int,
        after: str | None = None,
        search: SpecimenSearch = EVERYTHING,
        sort: SpecimenSort = "-created",
    ) -> tuple[list[SpecimenSummary], str | None]:
        """Up to so many specimens, and the cursor ``after`` which the next ones come, None where none do.

        The cursor is a place in the order, not a specimen: it holds while specimens come, change and go. Of
        those that stay as they are, none is left out or told twice.

        Raises :class:`~orchestrator.errors.UnknownDifferential` where it is no cursor of this order.
        """

    async def claim(self, differential_id: str, lease_s: float) -> LeasedCell | None: ...
    async def renew(self, cell_id: str, token: int, lease_s: float) -> bool: ...
    async def withdraw(self, cell_id: str, token: int) -> None: ...
    async def record_result(
        self, differential_id: str, cell_id: str, result: CellResult, token: int | None = None
    ) -> Recorded: ...
    async def record_failure(
        self, differential_id: str, cell_id: str, why: str, token: int | None = None
    ) -> Recorded: ...
    async def record_field(
        self, differential_id: str, cell_id: str, found: FoundField, same: SameCells, token: int | None = None
    ) -> Recorded: ...
    async def add_cell(
        self, differential_id: str, field_id: str, cell: CutOutCell, person: str, seen: Seen = None
    ) -> Specimen:
        """Add a cell that a person drew in a field, with the next number. Raises as :func:`require_room`."""

    async def decide(
        self, differential_id: str, cell_id: str, label: str, person: str, seen: Seen = None
    ) -> Specimen: ...
    async def undecide(
        self, differential_id: str, cell_id: str, person: str, seen: Seen = None
    ) -> Specimen: ...
    async def comment(
        self, differential_id: str, text: str, person: str, cell_id: str | None = None, seen: Seen = None
    ) -> Specimen:
        """Keep what a person wrote about a cell, or about the specimen, until it is signed or cancelled."""

    async def add(self, differential_id: str, text: str, person: str, seen: Seen = None) -> Specimen:
        """Keep an addendum to what is signed."""

    async def note(
        self, differential_id: str, cell_id: str, actor: Actor, action: str, details: Mapping[str, str]
    ) -> None:
        """Write into the trail what followed elsewhere from a decision about a cell."""

    async def assign(
        self, differential_id: str, assignee: str | None, actor: Actor, instead_of: str | None = ANYBODY
    ) -> Specimen:
        """Say who has taken a specimen, None where nobody any more.

        Raises :class:`~orchestrator.errors.ChangedMeanwhile` where another has it than the caller saw.
        """

    async def sign(self, differential_id: str, person: str, seen: Seen = None) -> Specimen: ...
    async def cancel(self, differential_id: str, actor: Actor, seen: Seen = None) -> Specimen: ...
    async def image(self, differential_id: str, cell_id: str) -> bytes | None:
        """Of a cell, or of a field by its id."""

    async def unfinished(self) -> list[str]: ...
    async def purge(self, now: datetime) -> int:
        """Remove what retention does not keep, as two readings of the clock in a row say; gives how many.

        Nothing goes where the clock has jumped ahead since the last time that was known to be right.
        """

    async def confirm_clock(self, now: datetime, actor: Actor) -> None:
        """A person says that the clock is right."""

    async def probe(self) -> None:
        """Return where an order could be kept now.

        Raises :class:`~orchestrator.errors.StoreUnavailable`, which says what to do, where it could not.
        """

    async def audit(self, differential_id: str | None = None) -> list[AuditEntry]: ...
    async def head(self) -> tuple[int, str]:
        """Number and hash of the last row of the trail."""

    async def verify(self, anchors: Mapping[int, str] = MappingProxyType({})) -> AuditVerdict:
        """``anchors`` are hashes of rows by their number, as they were kept elsewhere."""
