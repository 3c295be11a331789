import pytest
from prometheus_client import REGISTRY

from orchestrator.domain import Finding, Report, ReportRequest
from orchestrator.errors import ReportWriterError
from orchestrator.report.observed_writer import ObservedWriter

REQUEST = ReportRequest(
    Finding(
        1, (0.05, 0.8, 0.05, 0.05, 0.05), aux_neutrophil=0.5, energy=-9.0, not_wbc=0.0, decided_by="none"
    ),
    focus=None,
)


class Scripted:
    name = "scripted"

    def __init__(self) -> None:
        self.fails = False

    async def write(self, request: ReportRequest) -> Report:
        if self.fails:
            raise ReportWriterError("quota")
        return Report("text", self.name, request.language)


def written(outcome: str) -> float:
    labels = {"writer": "scripted", "outcome": outcome}
    return REGISTRY.get_sample_value("wbc_report_writes_total", labels) or 0.0


async def test_it_writes_what_its_writer_writes_and_counts_it():
    writer = ObservedWriter(Scripted())
    assert writer.name == "scripted"
    before = written("ok")
    assert (await writer.write(REQUEST)).text == "text"
    assert written("ok") == before + 1


async def test_a_failure_is_counted_and_passes_on():
    scripted = Scripted()
    scripted.fails = True
    before = written("failed")
    with pytest.raises(ReportWriterError, match="quota"):
        await ObservedWriter(scripted).write(REQUEST)
    assert written("failed") == before + 1
