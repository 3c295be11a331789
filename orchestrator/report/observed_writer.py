"""Tells the metrics of what a report writer does."""

from orchestrator.domain import Report, ReportRequest
from orchestrator.observability.metrics import announce_writer, report_written
from orchestrator.report.base import ReportWriter


class ObservedWriter:
    """Has ``writer`` write, and notes how long that took and how it ended; see :class:`~.base.ReportWriter`.

    Wrapped around each writer of a fallback and not around all of them, so that each one's failures show.
    """

    def __init__(self, writer: ReportWriter) -> None:
        self._writer = writer
        announce_writer(writer.name)

    @property
    def name(self) -> str:
        """The writer's own."""
        return self._writer.name

    async def write(self, request: ReportRequest) -> Report:
        """Write one report; raises what the writer raises."""
        with report_written(self.name):
            return await self._writer.write(request)

    async def close(self) -> None:
        """Close the writer."""
        await self._writer.close()
