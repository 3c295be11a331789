"""The port of the report writers."""

from typing import Final, Protocol

from orchestrator.domain import Report, ReportRequest

MAX_WORDS: Final = 80
"""Most words in a report, counted by white space."""


class ReportWriter(Protocol):
    """Puts a result into words: at most :data:`MAX_WORDS` of prose in the language asked for.

    A report says which class with which confidence, where the heatmap lies, whether that is where the
    morphology of the class is looked for, and what is doubtful. It uses the facts of the request and no
    others, and never diagnoses.
    """

    @property
    def name(self) -> str:
        """Stands in every report as its ``writer``, and in metrics."""
        ...

    async def write(self, request: ReportRequest) -> Report:
        """Write one report.

        Raises :class:`~orchestrator.errors.ReportWriterError` where the writer cannot; another one may
        then.
        """
        ...

    async def close(self) -> None:
        """Let connections go; called once, at the end."""
