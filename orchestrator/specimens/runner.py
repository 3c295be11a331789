"""Analyses the waiting cells of specimens in the background, and forgets nothing that it has finished.

Each result is in the store before the next cell of the same place begins, so that a process that is killed
loses only what was under way; the next one asks the store what is unfinished. The store refuses a second
result for a cell, so that none is counted twice.

An image that ends the process, by a fault in a library or by its hunger for memory, would end every process
after it. So an attempt is counted before it is made; cells that a process ended in come last and one at a
time, and after :data:`MAX_BEGUN` such ends a cell is a failed one.
"""

import asyncio
import contextvars
import logging
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final, get_args

from orchestrator import errors
from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.common.deadline import deadline
from orchestrator.domain import Analysis
from orchestrator.image_steps import RenderOptions
from orchestrator.observability.metrics import SPECIMEN_CELLS, SPECIMENS, SPECIMENS_UNDER_WAY
from orchestrator.observability.request_context import set_request_id
from orchestrator.specimen import CellResult, SpecimenOrder
from orchestrator.store.base import Store, WaitingCell
from orchestrator.vision.tta import TtaMode

MAX_SPECIMENS: Final = 4
"""Specimens whose cells are fetched at a time; they take turns, so that a large one does not hold up a small
one."""

PREFETCHED: Final = 4
"""Images of one specimen that are read ahead; each may have the size of the largest upload."""

CELL_TIMEOUT_S: Final = 60.0
MAX_ATTEMPTS: Final = 3
"""On an image with which the model server fails; a server that is not there, or busy, is waited for."""

MAX_BEGUN: Final = 3
"""Attempts on a cell, each of which ended the process that made it."""

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
YIELD_S: Final = 0.02
"""How often a cell that makes way for a person's request looks whether it may begin."""

_TTA_MODES: Final[tuple[TtaMode, ...]] = get_args(TtaMode)

_logger = logging.getLogger(__name__)


def result_of(analysis: Analysis, analysed_at: datetime) -> CellResult:
    """What is kept of an analysis."""
    finding = analysis.finding
    return CellResult(
        class_name=finding.class_name,
        probabilities=finding.probabilities,
        margin=finding.margin,
        energy=finding.energy,
        review_codes=tuple(reason.code for reason in finding.review_reasons),
        focus_ratio=analysis.focus_ratio,
        views=analysis.views,
        image_size=analysis.image_size,
        model=analysis.model,
        profile=analysis.profile,
        analysed_at=analysed_at,
        profile_sha256=analysis.profile_sha256,
        not_wbc=finding.not_wbc,
        device_state=analysis.device_state,
        decided_by=finding.decided_by,
        looks_like=analysis.looks_like,
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
        of_specimen=True,
    )


@dataclass(slots=True)
class _Source:
    """Hands out the waiting cells of one specimen, each once."""

    store: Store
    differential_id: str
    _ready: deque[WaitingCell] = field(default_factory=deque)
    _handed_out: set[str] = field(default_factory=set)
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def next(self) -> WaitingCell | None:
        async with self._lock:
            if not self._ready:
                limit = len(self._handed_out) + PREFETCHED
                found = await self.store.waiting(self.differential_id, limit)
                self._ready.extend(cell for cell in found if cell.cell_id not in self._handed_out)
            if not self._ready:
                return None
            cell = self._ready.popleft()
            self._handed_out.add(cell.cell_id)
            return cell

    def done(self, cell_id: str) -> None:
        self._handed_out.discard(cell_id)


class SpecimenRunner:
    """Works on one event loop.

    Args:
        store: where the cells come from and the results go.
        services: what an analysis needs.
        concurrency: cells under way at a time, of all specimens together.
        busy: whether requests of people are under way; then cells go one at a time.
        leaving: whether this process is about to stop; then no cell is begun.
        first_pause_s: how long the first wait for a busy model server or store is; later ones are longer.
    """

    def __init__(
        self,
        store: Store,
        services: Services,
        *,
        concurrency: int = 2,
        busy: Callable[[], bool] = lambda: False,
        leaving: Callable[[], bool] = lambda: False,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        if concurrency < 1:
            raise ValueError(f"concurrency: expected at least 1, received {concurrency}")
        self._store = store
        self._services = services
        self._concurrency = concurrency
        self._busy = busy
        self._leaving = leaving
        self._first_pause_s = first_pause_s
        self._closed = asyncio.Event()
        self._cells_under_way = 0
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._watchers: dict[str, set[asyncio.Future[None]]] = {}
        self._turns = asyncio.Semaphore(concurrency)
        self._specimens = asyncio.Semaphore(MAX_SPECIMENS)
        self._suspects = asyncio.Lock()
        self._unharmed: set[str] = set()  # cells whose last attempt is counted, though this process lives

    @property
    def leaving(self) -> bool:
        """Whether no further cell is begun."""
        return self._closed.is_set() or self._leaving()

    async def start(self) -> None:
        """Go on with what an earlier process left unfinished."""
        for differential_id in await self._store.unfinished():
            self.submit(differential_id)

    async def close(self, grace_s: float = 10.0) -> None:
        """Begin no further cell, let those under way end for ``grace_s`` seconds, then break them off: they
        stay waiting in the store."""
        self._closed.set()
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=grace_s)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for differential_id in list(self._watchers):
            self.notify(differential_id)

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
                    if await self._analyse_all(differential_id):
                        SPECIMENS.labels("analysed").inc()
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

    async def _analyse_all(self, differential_id: str) -> bool:
        """Whether all cells are analysed; False where this process leaves before."""
        options = cell_options((await self._store.get(differential_id)).order)
        source = _Source(self._store, differential_id)

        async def place() -> None:
            while not self.leaving and (cell := await source.next()) is not None:
                async with self._turn(), self._alone(cell):
                    if self.leaving:
                        return
                    await self._analyse(differential_id, cell, options)
                source.done(cell.cell_id)

        places = [asyncio.create_task(place(), name="cells") for _ in range(self._concurrency)]
        try:
            await asyncio.gather(*places)
        finally:
            for task in places:
                task.cancel()
            await asyncio.gather(*places, return_exceptions=True)
        return not self.leaving

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

    @asynccontextmanager
    async def _alone(self, cell: WaitingCell) -> AsyncIterator[None]:
        """Of cells that a process ended in only one at a time, so that the guilty one is found."""
        async with self._suspects if self._ended_in(cell) else nullcontext():
            yield

    def _ended_in(self, cell: WaitingCell) -> int:
        """How many processes ended in this cell."""
        return cell.attempts - (cell.cell_id in self._unharmed)

    async def _analyse(self, differential_id: str, cell: WaitingCell, options: AnalysisOptions) -> None:
        """One cell, until there is a result or a reason why there is none; neither where this process
        leaves."""
        set_request_id(str(uuid.uuid4()))  # of this analysis in logs, traces and exemplars; names nobody
        outcome: CellResult | str | None = "The analysis of this image ended the service several times."
        if self._ended_in(cell) < MAX_BEGUN:
            outcome = await self._outcome(differential_id, cell, options)
        if outcome is None:
            return
        self._unharmed.add(cell.cell_id)  # until the store has it
        if isinstance(outcome, CellResult):
            recorded = await self._store.record_result(differential_id, cell.cell_id, outcome)
        else:
            recorded = await self._store.record_failure(differential_id, cell.cell_id, outcome)
        self._unharmed.discard(cell.cell_id)
        if recorded:
            SPECIMEN_CELLS.labels("analysed" if isinstance(outcome, CellResult) else "failed").inc()
        self.notify(differential_id)

    async def _outcome(
        self, differential_id: str, cell: WaitingCell, options: AnalysisOptions
    ) -> CellResult | str | None:
        """The result, or the sentence that says why there is none; None where this process leaves."""
        if options.profile is not None and options.profile not in self._services.profiles:
            return "The device profile of this order does not exist any more."
        attempts = 0
        pause_s = self._first_pause_s
        while not self.leaving:
            if cell.cell_id not in self._unharmed:
                await self._store.begin(differential_id, cell.cell_id)
            self._unharmed.discard(cell.cell_id)
            try:
                with deadline(CELL_TIMEOUT_S):
                    async with asyncio.timeout(CELL_TIMEOUT_S):
                        analysis = await analyse(cell.payload, self._services, options)
                return result_of(analysis, datetime.now(UTC))
            except asyncio.CancelledError:  # this process leaves, of its own will
                await self._withdraw(differential_id, cell.cell_id)
                raise
            except errors.InvalidImage as error:
                return str(error)
            except errors.Overloaded as error:
                pause_s = min(max(error.retry_after_s, self._first_pause_s), LONGEST_PAUSE_S)
            except (errors.ModelServerUnavailable, errors.ModelServerTimeout, TimeoutError):
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            except errors.ModelServerError as error:
                attempts += 1
                if attempts == MAX_ATTEMPTS:
                    _logger.warning("a cell failed: %s", _one_line(error))
                    return "The model server failed on this image."
            except Exception as error:
                _logger.error("a cell failed: %s", _one_line(error), exc_info=error)
                return "The service failed on this image."
            SPECIMEN_CELLS.labels("retried").inc()
            await self._withdraw(differential_id, cell.cell_id)
            await self._pause(pause_s)
        return None

    async def _withdraw(self, differential_id: str, cell_id: str) -> None:
        try:
            await self._store.withdraw(differential_id, cell_id)
        except errors.StoreError:
            self._unharmed.add(cell_id)

    async def _pause(self, seconds: float) -> None:
        """Wait, but not longer than this process works."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()


def _one_line(error: BaseException) -> str:
    """What may stand in a log: the message of our own errors, of others the type."""
    return f"{type(error).__name__}: {error}" if isinstance(error, errors.WbcError) else type(error).__name__
