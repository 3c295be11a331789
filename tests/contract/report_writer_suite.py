"""What every report writer must do. A subclass provides the fixture ``writer``."""

import asyncio

from orchestrator.report.base import MAX_WORDS, ReportWriter
from orchestrator.report.facts import facts_of
from orchestrator.report.grounding import faults
from orchestrator.report.morphology import MORPHOLOGY
from tests.report_requests import VARIED, request


class ReportWriterSuite:
    async def test_a_report_names_the_class_is_short_and_rests_on_the_facts(
        self, writer: ReportWriter
    ) -> None:
        for asked in VARIED:
            report = await writer.write(asked)

            name = MORPHOLOGY[asked.finding.class_name].label[asked.language]
            assert name.lower() in report.text.lower()
            assert len(report.text.split()) <= MAX_WORDS
            assert faults(report.text, facts_of(asked)) == frozenset(), report.text
            assert report.language == asked.language

    async def test_its_name_stands_in_its_reports(self, writer: ReportWriter) -> None:
        report = await writer.write(request())
        assert report.writer
        assert report.writer in writer.name

    async def test_many_at_once_do_not_mix_up_their_facts(self, writer: ReportWriter) -> None:
        reports = await asyncio.gather(*(writer.write(asked) for asked in VARIED))
        for asked, report in zip(VARIED, reports, strict=True):
            assert faults(report.text, facts_of(asked)) == frozenset()

    async def test_reasons_go_by_their_code_and_never_by_their_message(self, writer: ReportWriter) -> None:
        """Messages are written for people and may hold other figures; nothing of them is a fact here."""
        for asked in VARIED:
            text = (await writer.write(asked)).text
            assert "smith" not in text
            assert "12.34" not in text

    async def test_it_may_be_closed(self, writer: ReportWriter) -> None:
        await writer.write(request())
        await writer.close()
