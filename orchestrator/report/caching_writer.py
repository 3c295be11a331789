"""Asks a language model once for the same facts."""

import time
from collections import OrderedDict
from collections.abc import Callable

from orchestrator.domain import Report, ReportRequest
from orchestrator.observability.metrics import report_cached
from orchestrator.report.base import ReportWriter
from orchestrator.report.facts import facts_of


class CachingWriter:
    """Keeps what ``writer`` wrote by a hash of the facts and of its settings; see
    :class:`~.base.ReportWriter`.

    Only reports of language models are kept: rules write the same again in no time, and a report that they
    wrote while a provider was down must not outlive the outage. Reports hold no identifiers, and are kept in
    memory only.

    Args:
        writer: is asked for what is not known.
        fingerprint: of the settings of ``writer``.
        max_entries: the least recently used goes first.
        ttl_s: seconds that a report is kept.
        clock: seconds on a clock that only runs forward.
    """

    def __init__(
        self,
        writer: ReportWriter,
        fingerprint: str = "",
        *,
        max_entries: int = 1024,
        ttl_s: float = 3600.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._writer = writer
        self._fingerprint = fingerprint
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, Report]] = OrderedDict()

    @property
    def name(self) -> str:
        """The writer's own."""
        return self._writer.name

    async def write(self, request: ReportRequest) -> Report:
        """What is kept, or a new report; raises what the writer raises."""
        key = (self._fingerprint, facts_of(request).digest())
        kept = self._kept.get(key)
        if kept and self._clock() - kept[0] < self._ttl_s:
            self._kept.move_to_end(key)
            report_cached(hit=True)
            return kept[1]
        report_cached(hit=False)
        report = await self._writer.write(request)
        if report.model is not None:
            self._kept[key] = (self._clock(), report)
            self._kept.move_to_end(key)
            while len(self._kept) > self._max_entries:
                self._kept.popitem(last=False)
        return report

    async def close(self) -> None:
        """Close the writer."""
        await self._writer.close()
