"""Who is asked when; how providers fail is tried in tests/integration/test_report_providers.py."""

import asyncio

import pytest

from orchestrator.domain import Report, ReportRequest
from orchestrator.report.failures import WriterFailed
from orchestrator.report.fallback_writer import FallbackWriter, Provider
from tests.fakes.scripted_writer import ScriptedWriter
from tests.report_requests import request

LAST = "rules"


class Slow(ScriptedWriter):
    """Takes a while, and knows how many are at it at once."""

    at_once = 0
    most = 0

    async def write(self, request: ReportRequest) -> Report:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        await asyncio.sleep(0.05)
        self.at_once -= 1
        return await super().write(request)


def chain(*writers: ScriptedWriter, **limits: float) -> FallbackWriter:
    last = ScriptedWriter(LAST, model=None)
    return FallbackWriter([Provider(writer) for writer in writers], last, **limits)  # type: ignore[arg-type]


async def wrote(writer: FallbackWriter) -> str:
    return (await writer.write(request())).writer


async def test_the_first_who_can_writes():
    first, second = ScriptedWriter("a"), ScriptedWriter("b")
    assert await wrote(chain(first, second)) == "a"
    assert not second.asked


async def test_all_others_are_asked_before_anybody_is_asked_twice():
    flaky = ScriptedWriter("a", WriterFailed("server_error"), "Better.")
    broken = ScriptedWriter("b", WriterFailed("malformed"))
    assert await wrote(chain(flaky, broken)) == "a"
    assert (len(flaky.asked), len(broken.asked)) == (2, 1)


async def test_an_error_that_nobody_foresaw_ends_in_the_last_writer(caplog):
    assert await wrote(chain(ScriptedWriter("a", KeyError("a secret")))) == LAST
    assert "KeyError" in caplog.text
    assert "a secret" not in caplog.text


async def test_more_than_may_be_under_way_are_written_by_the_last_at_once():
    slow = Slow("a")
    writer = chain(slow, max_concurrent=2)
    reports = await asyncio.gather(*(wrote(writer) for _ in range(5)))
    assert sorted(reports) == ["a", "a", LAST, LAST, LAST]
    assert slow.most == 2
    assert await wrote(writer) == "a"  # the places are free again


async def test_after_a_while_a_provider_that_was_gone_is_asked_again():
    now_s = [0.0]
    first = ScriptedWriter("a", WriterFailed("gone"), "Back.")
    provider = Provider(first, clock=lambda: now_s[0])
    writer = FallbackWriter([provider], ScriptedWriter(LAST), skip_s=600, clock=lambda: now_s[0])
    assert await wrote(writer) == LAST
    now_s[0] = 590.0
    assert await wrote(writer) == LAST
    assert len(first.asked) == 1
    now_s[0] = 601.0
    assert await wrote(writer) == "a"


async def test_the_caller_s_cancellation_passes_on_and_frees_the_place():
    writer = chain(Slow("a"), max_concurrent=1)
    task = asyncio.create_task(wrote(writer))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await wrote(writer) == "a"


async def test_its_name_tells_all_of_them_and_it_closes_all():
    first, second = ScriptedWriter("a"), ScriptedWriter("b")
    writer = chain(first, second)
    assert writer.name == "a > b > rules"
    await writer.close()
    assert (first.closed, second.closed) == (1, 1)
