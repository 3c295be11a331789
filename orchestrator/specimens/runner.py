"""Analyses the waiting cells of specimens in the background, and forgets nothing that it has finished.

Several processes share the work on one store: each leases a cell before it analyses it, renews the lease, and
is refused by the store where it comes with the result of a lease that has ended and been given to another.
Each result is in the store before the next cell of the same place begins, so that a process that is killed
loses only what was under way; whoever looks next, once the lease is over, goes on with it.

An image that ends the process, by a fault in a library or by its hunger for memory, would end every process
after it. So an attempt is counted before it is made; cells in which a process ended come last, one at a time
and with the steps on pixels in a process of their own, whose end says whose fault it was. Such an end alone
makes a cell a failed one: that of a whole process may come from anywhere, and many of them
(:data:`MAX_BEGUN`) are needed for what no such process shows.
"""

import asyncio
import contextvars
import logging
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, get_args

from orchestrator import errors, field_steps
from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.analyse_field import FieldOptions, analyse_field
from orchestrator.common.deadline import deadline
from orchestrator.domain import Analysis, Box, FieldAnalysis, FieldCell, ModelIdentity
from orchestrator.image_steps import RenderOptions
from orchestrator.image_workers.base import ImageWorkers
from orchestrator.observability.metrics import SPECIMEN_CELLS, SPECIMENS, SPECIMENS_UNDER_WAY
from orchestrator.observability.request_context import set_request_id
from orchestrator.specimen import CellResult, FieldPlace, ImageKind, SpecimenField, SpecimenOrder
from orchestrator.store.base import CutOutCell, FoundCell, FoundField, LeasedCell, Recorded, SameCells, Store
from orchestrator.vision.same_cells import same_cells
from orchestrator.vision.tta import TtaMode

MAX_SPECIMENS: Final = 4
"""Specimens whose cells are fetched at a time; they take turns, so that a large one does not hold up a small
one."""

CELL_TIMEOUT_S: Final = 60.0
FIELD_TIMEOUT_S: Final = 600.0
MAX_ATTEMPTS: Final = 3
"""On an image with which the model server fails; a server that is not there, or busy, is waited for."""

MAX_BEGUN: Final = 10
"""Attempts on a cell, each of which ended the process that made it: more than kills from outside ever hit one
cell, which is tried last and by one process at a time."""

MAX_LOST: Final = 20
"""Times that all processes for images were lost with one cell; the pauses between them come to minutes."""

LEASE_S: Final = 20.0
_RENEWALS: Final = 4
"""Within one lease, so that a store that fails now and then ends none. As often one looks for work."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
YIELD_S: Final = 0.02
"""How often a cell that makes way for a person's request looks whether it may begin."""

_TTA_MODES: Final[tuple[TtaMode, ...]] = get_args(TtaMode)

_logger = logging.getLogger(__name__)


def result_of(analysis: Analysis, analysed_at: datetime) -> CellResult:
    """What is kept of an analysis."""
    return _result(analysis, analysis, analysis.model, analysis.focus_ratio, analysed_at)


def found_of(analysis: FieldAnalysis, analysed_at: datetime) -> FoundField:
    """What is kept of a field that was analysed as one of a specimen.

    Raises ``ValueError`` where it was analysed as another.
    """
    return FoundField(
        analysis.image_size,
        analysis.red_cell_px,
        tuple(_found_cell(analysis, cell, analysed_at) for cell in analysis.found),
    )


def _found_cell(analysis: FieldAnalysis, cell: FieldCell, analysed_at: datetime) -> FoundCell:
    if cell.mark is None:
        raise ValueError("expected a field that was analysed as one of a specimen")
    place = FieldPlace(0, cell.is_cut, cell.is_clump, cell.is_identified)
    return FoundCell(*_cut_out(analysis, cell, analysed_at), place, cell.mark)


def drawn_of(analysis: FieldAnalysis, person: str, analysed_at: datetime) -> CutOutCell:
    """What is kept of the one cell that a person drew in a field: a white cell, by their word.

    Raises ``InvalidParameter`` where nothing in the box has an outline.
    """
    if not analysis.found:
        raise errors.InvalidParameter(
            errors.FieldProblem("box", "no cell can be outlined here: draw the box closely around one cell")
        )
    cell = analysis.found[0]
    place = FieldPlace(0, cell.is_cut, cell.is_clump, is_identified=True, added_by=person)
    return CutOutCell(*_cut_out(analysis, cell, analysed_at), place)


def _cut_out(analysis: FieldAnalysis, cell: FieldCell, analysed_at: datetime) -> tuple[bytes, CellResult]:
    if cell.image is None or analysis.model is None:
        raise ValueError("expected a field that was analysed as one of a specimen")
    focus_ratio = None if cell.focus is None else cell.focus.focus_ratio
    return cell.image, _result(analysis, cell, analysis.model, focus_ratio, analysed_at)


def _result(
    analysis: Analysis | FieldAnalysis,
    cell: Analysis | FieldCell,
    model: ModelIdentity,
    focus_ratio: float | None,
    analysed_at: datetime,
) -> CellResult:
    finding = cell.finding
    return CellResult(
        class_name=finding.class_name,
        probabilities=finding.probabilities,
        margin=finding.margin,
        energy=finding.energy,
        review_codes=tuple(reason.code for reason in finding.review_reasons),
        focus_ratio=focus_ratio,
        views=cell.views,
        image_size=analysis.image_size,
        model=model,
        profile=analysis.profile,
        analysed_at=analysed_at,
        profile_sha256=analysis.profile_sha256,
        not_wbc=finding.not_wbc,
        device_state=analysis.device_state,
        decided_by=finding.decided_by,
        looks_like=cell.looks_like,
        head=analysis.head,
        box=cell.box,
    )


async def outcome_of(
    payload: bytes, services: Services, options: AnalysisOptions, kind: ImageKind
) -> CellResult | FoundField:
    """What is kept of an image of an order of this kind; raises as :func:`~orchestrator.analyse.analyse` and
    :func:`~orchestrator.analyse_field.analyse_field`."""
    is_field = kind == "field"
    if kind == "auto":
        is_field = await services.images.run(field_steps.is_field, payload, services.field_limits)
    if not is_field:
        return result_of(await analyse(payload, services, options), datetime.now(UTC))
    return found_of(await analyse_field(payload, services, _of_field(options)), datetime.now(UTC))


def _of_field(options: AnalysisOptions) -> FieldOptions:
    return FieldOptions(
        options.profile,
        options.tta,
        heatmap=options.heatmap,
        drawing=options.drawing,
        specimen=options.specimen,
    )


def cell_options(order: SpecimenOrder) -> AnalysisOptions:
    """How the cells of an order are analysed: with the heatmap, which is a ground for a review, and no
    report."""
    tta = next((mode for mode in _TTA_MODES if mode == order.tta), None)
    return AnalysisOptions(
        profile=order.profile,
        tta=tta,
        report=False,
        drawing=RenderOptions(format="jpeg"),
        specimen=order.specimen_id,
    )


class _TryLater(Exception):
    """What an analysis needs is busy or away, for ``retry_after_s`` seconds where that is known."""

    def __init__(self, retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s


class SpecimenRunner:
    """Works on one event loop.

    Args:
        store: where the cells come from and the results go.
        services: what an analysis needs.
        isolated: workers in which an image can end no process but its own; closed with the runner. None where
            those of ``services`` are such.
        concurrency: cells under way at a time, of all specimens together.
        busy: whether requests of people are under way; then cells go one at a time.
        leaving: whether this process is about to stop; then no cell is begun.
        first_pause_s: how long the first wait for a busy model server or store is; later ones are longer.
        lease_s: how long a cell stays with a process that does not renew its lease.
        same: which cells of a field are those of earlier ones.
    """

    def __init__(
        self,
        store: Store,
        services: Services,
        *,
        isolated: ImageWorkers | None = None,
        concurrency: int = 2,
        busy: Callable[[], bool] = lambda: False,
        leaving: Callable[[], bool] = lambda: False,
        first_pause_s: float = FIRST_PAUSE_S,
        lease_s: float = LEASE_S,
        same: SameCells = same_cells,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency: expected at least 1, received {concurrency}")
        self._store = store
        self._services = services
        self._isolated = isolated
        self._services_isolated = services if isolated is None else replace(services, images=isolated)
        self._concurrency = concurrency
        self._busy = busy
        self._leaving = leaving
        self._first_pause_s = first_pause_s
        self._lease_s = lease_s
        self._same = same
        self._looking: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()
        self._cells_under_way = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watchers: dict[str, set[asyncio.Future[None]]] = {}
        self._turns = asyncio.Semaphore(concurrency)
        self._specimens = asyncio.Semaphore(MAX_SPECIMENS)
        self._suspects = asyncio.Lock()
        self._lost: Counter[str] = Counter()  # by cell, how often all processes for images were lost

    @property
    def leaving(self) -> bool:
        """Whether no further cell is begun."""
        return self._closed.is_set() or self._leaving()

    async def start(self) -> None:
        """Go on with what another process left unfinished, now and whenever there is such."""
        await self._look()
        self._looking = asyncio.create_task(self._look_again(), name="unfinished")

    async def close(self, grace_s: float = 10.0) -> None:
        """Begin no further cell, let those under way end for ``grace_s`` seconds, then break them off: they
        stay waiting in the store."""
        self._closed.set()
        if self._looking is not None:
            await self._looking
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for differential_id in list(self._watchers):
            self.notify(differential_id)
        if self._isolated is not None:
            await self._isolated.close()

    def submit(self, differential_id: str) -> None:
        """Analyse the waiting cells of a specimen; without effect where that is under way."""
        if self.leaving or differential_id in self._tasks:
            return
        # An empty context: the deadline and the name of the request that ordered are not those of this work.
        task = asyncio.get_running_loop().create_task(
            self._see_through(differential_id), name="specimen", context=contextvars.Context()
        )
        self._tasks[differential_id] = task
        SPECIMENS_UNDER_WAY.set(len(self._tasks))
        task.add_done_callback(lambda _: self._ended(differential_id))

    async def drawn(
        self, order: SpecimenOrder, field: SpecimenField, image: bytes, box: Box, person: str
    ) -> CutOutCell:
        """The cell in a box that a person drew in a field of an order, analysed at once, since they wait.

        Raises as :func:`~orchestrator.analyse_field.analyse_field` and :func:`drawn_of`.
        """
        options = replace(_of_field(cell_options(order)), drawn=box, red_cell_px=field.red_cell_px)
        async with self._turn():
            analysis = await analyse_field(image, self._services, options)
        return drawn_of(analysis, person, datetime.now(UTC))

    async def stop(self, differential_id: str) -> None:
        """Break off the work on a specimen, such as a cancelled one; without effect where there is none."""
        if task := self._tasks.get(differential_id):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self.notify(differential_id)

    def notify(self, differential_id: str) -> None:
        """Wake everybody who waits for a change of this specimen."""
        for watcher in self._watchers.pop(differential_id, set()):
            if not watcher.done():
                watcher.set_result(None)

    async def changed(self, differential_id: str, timeout_s: float) -> None:
        """Wait for the next change, for at most ``timeout_s`` seconds."""
        watcher = asyncio.get_running_loop().create_future()
        self._watchers.setdefault(differential_id, set()).add(watcher)
        try:
            async with asyncio.timeout(timeout_s):
                await watcher
        except TimeoutError:
            pass
        finally:
            watchers = self._watchers.get(differential_id, set())
            watchers.discard(watcher)
            if not watchers:
                self._watchers.pop(differential_id, None)

    async def _look(self) -> None:
        for differential_id in await self._store.unfinished():
            self.submit(differential_id)

    async def _look_again(self) -> None:
        """Other processes receive orders, and are killed: what nobody works on is found by looking."""
        while not self.leaving:
            await self._pause(self._lease_s / _RENEWALS)
            try:
                await self._look()
            except errors.StoreError:  # it is asked again, and who needs it now hears of it
                _logger.debug("the store did not say what is unfinished")

    def _ended(self, differential_id: str) -> None:
        self._tasks.pop(differential_id, None)
        SPECIMENS_UNDER_WAY.set(len(self._tasks))
        self.notify(differential_id)

    async def _see_through(self, differential_id: str) -> None:
        """Analyse all cells of a specimen, however often the store fails on the way."""
        pause_s = self._first_pause_s
        async with self._specimens:
            while not self.leaving:
                try:
                    await self._analyse_all(differential_id)
                    return
                except (errors.SpecimenClosed, errors.UnknownDifferential):
                    return  # cancelled, or removed by retention, in the meantime
                except Exception as error:
                    frames = None if isinstance(error, errors.StoreError) else error
                    _logger.warning(
                        "a specimen is tried again in %.1f s: %s", pause_s, _one_line(error), exc_info=frames
                    )
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _analyse_all(self, differential_id: str) -> None:
        """Analyse cells of a specimen as long as there are some that nobody else has."""
        order = (await self._store.get(differential_id)).order
        options = cell_options(order)

        async def place() -> None:
            pause_s = self._first_pause_s
            while not self.leaving:
                async with self._turn():
                    if self.leaving:
                        return
                    cell = await self._store.claim(differential_id, self._lease_s)
                    if cell is None:
                        return
                    if cell.attempts and self._suspects.locked():  # the others come after this one, as all do
                        await self._store.withdraw(cell.cell_id, cell.token)
                        return
                    try:
                        async with self._suspects if cell.attempts else nullcontext():
                            await self._while_held(differential_id, cell, options, order.kind)
                        pause_s = self._first_pause_s
                        continue
                    except _TryLater as later:
                        pause_s = max(pause_s, min(later.retry_after_s, LONGEST_PAUSE_S))
                SPECIMEN_CELLS.labels("retried").inc()
                await self._pause(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

        places = [asyncio.create_task(place(), name="cells") for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*places)
        finally:
            for task in places:
                task.cancel()
            await asyncio.gather(*places, return_exceptions=True)

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A place among the cells under way; while people wait for answers there is only one."""
        async with self._turns:
            while self._busy() and self._cells_under_way and not self.leaving:
                await asyncio.sleep(YIELD_S)
            self._cells_under_way += 1
            try:
                yield
            finally:
                self._cells_under_way -= 1

    async def _while_held(
        self, differential_id: str, cell: LeasedCell, options: AnalysisOptions, kind: ImageKind
    ) -> None:
        """Analyse a cell, and break that off where its lease was lost: somebody else analyses it."""
        work = asyncio.create_task(self._analyse(differential_id, cell, options, kind), name="cell")
        renewing = asyncio.create_task(self._renewed(cell), name="lease")
        renewing.add_done_callback(lambda _: work.cancel())
        try:
            await work
        except asyncio.CancelledError:
            if (task := asyncio.current_task()) is not None and task.cancelling():
                raise
            _logger.warning("a cell took longer than its lease, and was broken off")
        finally:
            renewing.cancel()
            await asyncio.gather(work, renewing, return_exceptions=True)

    async def _renewed(self, cell: LeasedCell) -> None:
        """Renew the lease of a cell until it is lost."""
        while True:
            await asyncio.sleep(self._lease_s / _RENEWALS)
            with suppress(errors.StoreUnavailable):  # which may answer again before the lease is over
                if not await self._store.renew(cell.cell_id, cell.token, self._lease_s):
                    return

    async def _analyse(
        self, differential_id: str, cell: LeasedCell, options: AnalysisOptions, kind: ImageKind
    ) -> None:
        """One cell, until there is a result or a reason why there is none, or it is given back.

        Raises ``_TryLater`` where what it needs is busy or away."""
        set_request_id(str(uuid.uuid4()))  # of this analysis in logs, traces and exemplars; names nobody
        outcome: CellResult | FoundField | str | None = None
        try:
            outcome = await self._outcome(cell, options, kind)
        finally:
            if outcome is None:  # whatever ended it, this process lives
                with suppress(errors.StoreError):  # where it does not answer the lease ends by itself
                    await self._store.withdraw(cell.cell_id, cell.token)
        if outcome is None:
            return
        recorded = await self._recorded(differential_id, cell, outcome)
        if recorded:
            SPECIMEN_CELLS.labels("failed" if isinstance(outcome, str) else "analysed").inc(
                len(outcome.cells) if isinstance(outcome, FoundField) else 1
            )
        if recorded is Recorded.LAST:
            SPECIMENS.labels("analysed").inc()
        self._lost.pop(cell.cell_id, None)
        self.notify(differential_id)

    async def _recorded(
        self, differential_id: str, cell: LeasedCell, outcome: CellResult | FoundField | str
    ) -> Recorded:
        """What the store did with it, which is asked again where it does not answer: the work is done."""
        pause_s = self._first_pause_s
        while True:
            try:
                if isinstance(outcome, CellResult):
                    return await self._store.record_result(differential_id, cell.cell_id, outcome, cell.token)
                if isinstance(outcome, FoundField):
                    return await self._store.record_field(
                        differential_id, cell.cell_id, outcome, self._same, cell.token
                    )
                return await self._store.record_failure(differential_id, cell.cell_id, outcome, cell.token)
            except errors.StoreUnavailable as error:
                if self.leaving:
                    raise
                _logger.warning("a result is recorded in %.1f s: %s", pause_s, _one_line(error))
            await self._pause(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _outcome(
        self, cell: LeasedCell, options: AnalysisOptions, kind: ImageKind
    ) -> CellResult | FoundField | str | None:
        """The result, or the sentence that says why there is none; None where this process leaves."""
        if not cell.is_as_sent:
            return "The image in the store is not the one that was sent; it was changed past the service."
        if cell.attempts >= MAX_BEGUN:
            return "The analysis of this image ended the service many times."
        if options.profile is not None and options.profile not in self._services.profiles:
            return "The device profile of this order does not exist any more."
        services = self._services_isolated if cell.attempts else self._services
        attempts = 0
        while not self.leaving:
            try:
                time_s = CELL_TIMEOUT_S if kind == "cell" else FIELD_TIMEOUT_S
                with deadline(time_s):
                    async with asyncio.timeout(time_s):
                        return await outcome_of(cell.payload, services, options, kind)
            except errors.InvalidImage as error:
                return str(error)
            except errors.ImageWorkersLost as error:
                self._lost[cell.cell_id] += 1
                if self._lost[cell.cell_id] == MAX_LOST:
                    return "The processes that analyse this image are lost each time."
                raise _TryLater(error.retry_after_s) from error
            except errors.Overloaded as error:
                raise _TryLater(error.retry_after_s) from error
            except (errors.ModelServerUnavailable, errors.ModelServerTimeout, TimeoutError) as error:
                raise _TryLater from error
            except errors.ModelServerError as error:
                attempts += 1
                if attempts == MAX_ATTEMPTS:
                    _logger.warning("a cell failed: %s", _one_line(error))
                    return "The model server failed on this image."
            except Exception as error:
                _logger.error("a cell failed: %s", _one_line(error), exc_info=error)
                return "The service failed on this image."
            SPECIMEN_CELLS.labels("retried").inc()
            await self._pause(self._first_pause_s)
        return None

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than this process works."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()


def _one_line(error: BaseException) -> str:
    """What may stand in a log: the message of our own errors, of others the type."""
    return f"{type(error).__name__}: {error}" if isinstance(error, errors.WbcError) else type(error).__name__
