import pytest

from orchestrator.model_contract import NEUTROPHIL
from orchestrator.report.caching_writer import CachingWriter
from orchestrator.report.failures import WriterFailed
from tests.fakes.scripted_writer import ScriptedWriter
from tests.report_requests import finding, focus, request


async def test_equal_facts_are_written_about_once():
    writer = ScriptedWriter("a")
    cache = CachingWriter(writer)
    first = await cache.write(request())
    assert await cache.write(request()) == first
    assert len(writer.asked) == 1


@pytest.mark.parametrize(
    "other",
    [
        request("tr"),
        request("en", finding(NEUTROPHIL, 0.972)),
        request("en", finding(codes=("blurred",))),
        request("en", None, focus(0.71, 0.21, 0.08)),
    ],
    ids=["language", "confidence", "reason", "shares"],
)
async def test_other_facts_are_written_about_anew(other):
    writer = ScriptedWriter("a")
    cache = CachingWriter(writer)
    await cache.write(request())
    await cache.write(other)
    assert len(writer.asked) == 2


async def test_what_rules_wrote_is_not_kept():
    writer = ScriptedWriter("rules", model=None)
    cache = CachingWriter(writer)
    for _ in range(2):
        await cache.write(request())
    assert len(writer.asked) == 2


async def test_a_failure_is_not_kept():
    writer = ScriptedWriter("a", WriterFailed("timeout"), "A text.")
    cache = CachingWriter(writer)
    with pytest.raises(WriterFailed):
        await cache.write(request())
    assert (await cache.write(request())).text == "A text."


async def test_reports_are_kept_for_a_time():
    now_s = [0.0]
    writer = ScriptedWriter("a")
    cache = CachingWriter(writer, ttl_s=60, clock=lambda: now_s[0])
    for now_s[0] in (0.0, 59.0, 61.0, 62.0):
        await cache.write(request())
    assert len(writer.asked) == 2


async def test_only_so_many_are_kept_and_the_least_used_goes_first():
    writer = ScriptedWriter("a")
    cache = CachingWriter(writer, max_entries=2)
    one, two, three = (request("en", finding(NEUTROPHIL, c)) for c in (0.9, 0.8, 0.7))
    for asked in (one, two, one, three, one, two):
        await cache.write(asked)
    assert [a.finding.confidence for a in writer.asked] == [0.9, 0.8, 0.7, 0.8]
