"""A report writer that does as it is told."""

from collections.abc import Sequence

from orchestrator.domain import Report, ReportRequest


class ScriptedWriter:
    """Does what ``script`` says, an entry a report, the last one for ever: an exception, or a text."""

    def __init__(self, name: str, *script: str | BaseException, model: str | None = "m") -> None:
        self.name = name
        self.asked: list[ReportRequest] = []
        self.closed = 0
        self._script: Sequence[str | BaseException] = script or ("A text.",)
        self._model = model

    async def write(self, request: ReportRequest) -> Report:
        step = self._script[min(len(self.asked), len(self._script) - 1)]
        self.asked.append(request)
        if isinstance(step, BaseException):
            raise step
        return Report(step, self.name, request.language, model=self._model)

    async def close(self) -> None:
        self.closed += 1
