"""Every implementation of the port under one suite."""

from collections.abc import AsyncIterator, Iterator

import pytest

from orchestrator.report.base import ReportWriter
from orchestrator.report.caching_writer import CachingWriter
from orchestrator.report.fallback_writer import FallbackWriter, Provider
from orchestrator.report.gemini_model import GeminiModel
from orchestrator.report.language_model import ModelOptions
from orchestrator.report.language_model_writer import LanguageModelWriter
from orchestrator.report.observed_writer import ObservedWriter
from orchestrator.report.openai_model import OpenAiModel
from orchestrator.report.rule_based_writer import RuleBasedWriter
from tests.contract.report_writer_suite import ReportWriterSuite
from tests.fakes.language_models import KEY, ReportProvider, report_provider


@pytest.fixture(scope="module")
def openai_provider() -> Iterator[ReportProvider]:
    with report_provider("openai") as provider:
        yield provider


@pytest.fixture(scope="module")
def gemini_provider() -> Iterator[ReportProvider]:
    with report_provider("gemini") as provider:
        yield provider


@pytest.fixture
async def openai_writer(openai_provider: ReportProvider) -> AsyncIterator[LanguageModelWriter]:
    model = OpenAiModel(ModelOptions("gpt-4o", openai_provider.base_url, KEY))
    yield LanguageModelWriter("openai", model)
    await model.close()


class TestRuleBasedWriter(ReportWriterSuite):
    @pytest.fixture
    def writer(self) -> ReportWriter:
        return RuleBasedWriter()


class TestOpenAiWriter(ReportWriterSuite):
    @pytest.fixture
    def writer(self, openai_writer: LanguageModelWriter) -> ReportWriter:
        return openai_writer


class TestGeminiWriter(ReportWriterSuite):
    @pytest.fixture
    async def writer(self, gemini_provider: ReportProvider) -> AsyncIterator[ReportWriter]:
        model = GeminiModel(ModelOptions("gemini-3.5-flash-lite", gemini_provider.base_url, KEY))
        yield LanguageModelWriter("gemini", model)
        await model.close()


class TestFallbackWriter(ReportWriterSuite):
    @pytest.fixture
    def writer(self, openai_writer: LanguageModelWriter) -> ReportWriter:
        return FallbackWriter([Provider(openai_writer)], RuleBasedWriter(), max_concurrent=2)


class TestCachingWriter(ReportWriterSuite):
    @pytest.fixture
    def writer(self, openai_writer: LanguageModelWriter) -> ReportWriter:
        return CachingWriter(ObservedWriter(openai_writer), max_entries=3)
