"""What a laboratory does with specimens: orders differentials, follows them, decides about cells, signs.

The one way to do it, for every edge. What is kept is in the store; a differential is computed anew from it
each time that somebody asks, so that it follows every decision.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from orchestrator import errors
from orchestrator.device_state import NO_AUDITS, DeviceAudits
from orchestrator.domain import Box
from orchestrator.labels import Labels
from orchestrator.observability.metrics import SPECIMEN_CELLS, SPECIMEN_DECISIONS, SPECIMENS, STORE_READY
from orchestrator.specimen import (
    ANYBODY,
    Differential,
    ImageKind,
    Specimen,
    SpecimenCell,
    SpecimenOrder,
    SpecimenSearch,
    SpecimenSort,
    SpecimenState,
    SpecimenSummary,
)
from orchestrator.specimens.differential import DifferentialRules, differential
from orchestrator.specimens.runner import SpecimenRunner
from orchestrator.store.base import EVERYTHING, AuditEntry, Seen, Store, require_room
from orchestrator.vision.containers import read_container
from orchestrator.vision.decode import FIELD_LIMITS, DecodeLimits

OPEN_STATES: Final[tuple[SpecimenState, ...]] = ("waiting", "running")
"""While cells are still to be analysed."""

HEARTBEAT_S: Final = 15.0
FOLLOWED_S: Final = 300.0
"""How long one is told of progress who does not ask again."""

_POLL_S: Final = 1.0
"""How often the store is asked for progress that another process makes, and whether this one leaves."""

RETENTION_EVERY_S: Final = 3600.0

_SPACING_S: Final = 0.25
"""Between two looks at a specimen: its results come faster than anybody reads."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a specimen is: its cells by state."""

    differential_id: str
    state: SpecimenState
    total: int
    waiting: int
    analysed: int
    failed: int

    @classmethod
    def of(cls, specimen: Specimen) -> "Progress":
        states = [cell.state for cell in specimen.cells]
        return cls(
            differential_id=specimen.differential_id,
            state=specimen.state,
            total=len(states),
            waiting=states.count("waiting"),
            analysed=states.count("analysed"),
            failed=states.count("failed"),
        )

    @property
    def ended(self) -> bool:
        return self.state not in OPEN_STATES


class Specimens:
    """The use cases, bound to a store, a runner, the site's rules, the limits of an image, the audits of its
    microscopes, which hear what people decide about sampled cells, and the limits of a field.

    All methods raise :class:`~orchestrator.errors.StoreUnavailable` where the store does not answer, and
    those with an id :class:`~orchestrator.errors.UnknownDifferential`.
    """

    def __init__(
        self,
        store: Store,
        runner: SpecimenRunner,
        rules: DifferentialRules,
        image_limits: DecodeLimits,
        audits: DeviceAudits = NO_AUDITS,
        field_limits: DecodeLimits = FIELD_LIMITS,
    ) -> None:
        self._store = store
        self._runner = runner
        self._rules = rules
        self._image_limits = image_limits
        self._field_limits = field_limits
        self._audits = audits
        self._keeping: set[asyncio.Task[tuple[Specimen, bool]]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the store, go on with what is unfinished, and stop cleanly at the end."""
        await self._store.start()
        try:
            await self._runner.start()
            removing = asyncio.create_task(self._remove_what_is_too_old(), name="retention")
            try:
                yield
            finally:
                removing.cancel()
                await asyncio.gather(removing, return_exceptions=True)
                await self._runner.close()
        finally:
            await self._store.close()

    async def probe(self) -> None:
        """Return where an order would be kept now; ``StoreUnavailable`` says what to do where not."""
        try:
            await self._store.probe()
        except errors.StoreUnavailable:
            STORE_READY.set(0)
            raise
        STORE_READY.set(1)

    async def order(
        self,
        order: SpecimenOrder,
        payloads: Sequence[bytes],
        actor: str,
        idempotency_key: str | None = None,
    ) -> tuple[Differential, bool]:
        """Keep an order and begin its analysis; False where the same was ordered before under this key.

        An image whose header is no image's is a failed cell at once, with the reason, and fails nothing else.

        Raises:
            ValueError: there is no image.
            IdempotencyConflict: the key was used for something else.
        """
        if not payloads:
            raise ValueError("expected at least one image")
        # A caller who hangs up after the keeping must not leave an order that nobody begins.
        keeping = asyncio.create_task(self._keep(order, payloads, actor, idempotency_key), name="order")
        self._keeping.add(keeping)
        keeping.add_done_callback(self._keeping.discard)
        specimen, created = await asyncio.shield(keeping)
        return await self._computed(specimen), created

    @property
    def labels(self) -> Labels:
        """What a person may call a cell here."""
        return self._rules.labels

    async def get(self, differential_id: str) -> Differential:
        """What a specimen comes to now.

        Raises :class:`~orchestrator.errors.RecordAltered` where it was changed past the service.
        """
        return await self._computed(await self._store.checked(differential_id))

    async def page(
        self,
        limit: int,
        after: str | None = None,
        search: SpecimenSearch = EVERYTHING,
        sort: SpecimenSort = "-created",
    ) -> tuple[list[SpecimenSummary], str | None]:
        """Up to ``limit`` specimens and the cursor of the next ones, as :meth:`Store.page`."""
        return await self._store.page(limit, after, search, sort)

    async def etag(self, differential_id: str) -> str:
        """The name of its state, by which who has the specimen knows whether it is still so."""
        return await self._store.etag(differential_id)

    async def assign(
        self, differential_id: str, assignee: str | None, actor: str, instead_of: str | None = ANYBODY
    ) -> Differential:
        """Say who has taken a specimen, None where nobody any more; others may decide and sign all the same.

        Raises:
            ChangedMeanwhile: another has it than ``instead_of``.
            SpecimenClosed: it is signed or cancelled.
        """
        return await self._changed(await self._store.assign(differential_id, assignee, actor, instead_of))

    async def add_cell(
        self, differential_id: str, field_id: str, box: Box, person: str, seen: Seen = None
    ) -> Differential:
        """A person adds a cell that was missed in a field, in this box of it; ``seen`` as in :meth:`sign`.

        It is analysed at once, and joins the specimen with the next number.

        Raises:
            InvalidParameter: the box is not within the field, too small or too long, or nothing in it has an
                outline.
            ChangedMeanwhile: the differential is in none of these states any more.
            UnknownCell: there is no field of this id.
            CountedAlready: a cell of the field lies there.
            NotReady: cells wait to be analysed.
            SpecimenClosed: it is signed or cancelled.
            ImageNotKept: the image of the field is not here.
            ModelServerError, Overloaded: the model server did not answer.
        """
        specimen = await self._store.get(differential_id)
        field = require_room(specimen, field_id, box)
        image = await self._store.image(differential_id, field_id)
        if image is None:
            raise errors.ImageNotKept("The image of the field is not kept here, or not any more.")
        cell = await self._runner.drawn(specimen.order, field, image, box, person)
        specimen = await self._store.add_cell(differential_id, field_id, cell, person, seen)
        SPECIMEN_CELLS.labels("added").inc()
        return await self._changed(specimen)

    async def decide(
        self, differential_id: str, cell_id: str, label: str, person: str, seen: Seen = None
    ) -> Differential:
        """A person accepts or changes what a cell is; ``seen`` are the states that they decide about.

        Raises:
            InvalidParameter: the site has no such label.
            ChangedMeanwhile: neither the cell nor the differential is in one of these any more.
            UnknownCell: there is none of this id.
            CountedAlready: it is a cell of another field once more, which counts.
            SpecimenClosed: it is signed or cancelled.
        """
        labels = self._rules.labels
        if label not in labels:
            allowed = tuple(one.name for one in labels)
            raise errors.InvalidParameter(
                errors.FieldProblem("label", f"expected one of {', '.join(allowed)}", allowed)
            )
        specimen = await self._store.decide(differential_id, cell_id, label, person, seen)
        found = next(cell.result for cell in specimen.cells if cell.cell_id == cell_id)
        accepted = found is not None and found.class_name == labels.class_of(label)
        SPECIMEN_DECISIONS.labels("accepted" if accepted else "changed").inc()
        await self._tell_audits(specimen, person)
        return await self._changed(specimen)

    async def undecide(
        self, differential_id: str, cell_id: str, person: str, seen: Seen = None
    ) -> Differential:
        """A person takes a decision back. Raises as :meth:`decide`."""
        specimen = await self._store.undecide(differential_id, cell_id, person, seen)
        SPECIMEN_DECISIONS.labels("undone").inc()
        await self._tell_audits(specimen, person)
        return await self._changed(specimen)

    async def comment(
        self, differential_id: str, text: str, person: str, cell_id: str | None = None, seen: Seen = None
    ) -> Differential:
        """A person writes something about a cell, or about the specimen; ``seen`` as in :meth:`decide`.

        Raises:
            ChangedMeanwhile: neither the cell nor the differential is in one of these states any more.
            UnknownCell: there is none of this id.
            NotReady: the cell waits to be analysed.
            TooManyComments: there are as many as it takes.
            SpecimenClosed: it is signed or cancelled.
        """
        return await self._changed(await self._store.comment(differential_id, text, person, cell_id, seen))

    async def add(self, differential_id: str, text: str, person: str, seen: Seen = None) -> Differential:
        """A person adds to what is signed, which stays as it is. Raises as :meth:`comment`, and ``NotReady``
        before the signature."""
        return await self._changed(await self._store.add(differential_id, text, person, seen))

    async def sign(self, differential_id: str, person: str, seen: Seen = None) -> Differential:
        """A person closes the differential; ``seen`` as in :meth:`decide`.

        Raises:
            ChangedMeanwhile: the differential is in none of these states any more.
            NotReady: cells wait to be analysed.
            SpecimenClosed: it is signed or cancelled already.
        """
        specimen = await self._store.sign(differential_id, person, seen)
        SPECIMENS.labels("signed").inc()
        await self._tell_audits(specimen, person)
        return await self._changed(specimen)

    async def cancel(self, differential_id: str, actor: str, seen: Seen = None) -> Differential:
        """End it unfinished; what is analysed stays. Raises as :meth:`sign`, but for ``NotReady``."""
        specimen = await self._store.cancel(differential_id, actor, seen)
        await self._runner.stop(differential_id)
        SPECIMENS.labels("cancelled").inc()
        return await self._changed(specimen)

    async def image(self, differential_id: str, cell_id: str) -> bytes | None:
        """The image of a cell, or of a field, as it was sent; None where images are not kept. Raises
        ``UnknownCell``."""
        return await self._store.image(differential_id, cell_id)

    async def audit(self, differential_id: str) -> list[AuditEntry]:
        """Who did what with a specimen, the earliest first; also of one that retention has removed."""
        trail = await self._store.audit(differential_id)
        if not trail:
            raise errors.UnknownDifferential("There is no differential of this id.")
        return trail

    async def progress(
        self, differential_id: str, heartbeat_s: float = HEARTBEAT_S, longest_s: float = FOLLOWED_S
    ) -> AsyncGenerator[Progress | None]:
        """Where it is now, then each change, until all cells are analysed, this process leaves, or
        ``longest_s`` seconds have passed; None where nothing was said for ``heartbeat_s`` seconds."""
        said: Progress | None = None
        begun_s = said_s = time.monotonic()
        while True:
            now = Progress.of(await self._store.get(differential_id))
            if now != said:
                said, said_s = now, time.monotonic()
                yield now
            elif time.monotonic() - said_s >= heartbeat_s:
                said_s = time.monotonic()
                yield None
            left_s = longest_s - (time.monotonic() - begun_s)
            if now.ended or self._runner.leaving or left_s <= 0:
                return
            await asyncio.sleep(min(_SPACING_S, left_s))
            await self._runner.changed(differential_id, min(_POLL_S, heartbeat_s, left_s))

    async def _keep(
        self, order: SpecimenOrder, payloads: Sequence[bytes], actor: str, idempotency_key: str | None
    ) -> tuple[Specimen, bool]:
        refused = await asyncio.to_thread(self._refused, payloads, order.kind)
        specimen, created = await self._store.create(order, payloads, actor, idempotency_key, refused)
        SPECIMENS.labels("ordered" if created else "repeated").inc()
        if created:
            SPECIMEN_CELLS.labels("failed").inc(len(refused))
        if specimen.state in OPEN_STATES:
            self._runner.submit(specimen.differential_id)
        return specimen, created

    def _refused(self, payloads: Sequence[bytes], kind: ImageKind) -> dict[int, str]:
        """By the number of the cell, why an image cannot be analysed, as far as its header tells."""
        limits = self._image_limits if kind == "cell" else self._field_limits
        refused: dict[int, str] = {}
        for number, payload in enumerate(payloads, start=1):
            try:
                read_container(payload, limits.max_pixels)
            except errors.InvalidImage as error:
                refused[number] = str(error)
        return refused

    async def _remove_what_is_too_old(self) -> None:
        """By the store's rule of retention, at the start and every hour."""
        while True:
            try:
                await self._store.purge(datetime.now(UTC))
            except Exception as error:  # the next hour will do
                _logger.warning("retention failed: %s", type(error).__name__)
            await asyncio.sleep(RETENTION_EVERY_S)

    async def _tell_audits(self, specimen: Specimen, person: str) -> None:
        """Count in the audits what is decided about sampled cells or was taken back; note it in the trail.

        All of the specimen each time: what could not be counted once, the next decision or the signature
        brings."""
        try:
            cells = [self._by_class(cell) for cell in specimen.judged().cells]
            for sample in await asyncio.to_thread(self._audits.count_samples, cells):
                said = {None: "undecided", True: "right", False: "wrong"}[sample.correct]
                details = {
                    "audit": sample.plan_sha256,
                    "class": sample.class_name,
                    "said": said,
                    "audit_holds": "no" if sample.is_suspended else "yes",
                }
                await self._store.note(
                    specimen.differential_id, sample.cell_id, person, "audit_sample", details
                )
        except errors.ConfigurationError as error:  # the decision stands all the same
            _logger.error("a sample of an audit could not be counted: %s", error)

    def _by_class(self, cell: SpecimenCell) -> SpecimenCell:
        """With the class of the model that a person's label is part of, by which an answer is right."""
        found = None if cell.decision is None else self._rules.labels.class_of(cell.decision.label)
        if cell.decision is None or found is None:
            return cell
        return replace(cell, decision=replace(cell.decision, label=found))

    async def _changed(self, specimen: Specimen) -> Differential:
        self._runner.notify(specimen.differential_id)
        return await self._computed(specimen)

    async def _computed(self, specimen: Specimen) -> Differential:
        # Thousands of cells take tens of milliseconds, which the event loop does not have.
        return await asyncio.to_thread(self._compute, specimen)

    def _compute(self, specimen: Specimen) -> Differential:
        specimen = specimen.judged()
        released_errors = self._audits.released_errors(specimen.cells)
        return differential(specimen, self._rules, datetime.now(UTC), released_errors)
