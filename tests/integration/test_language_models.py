"""Servers of language models as they are met (:data:`~tests.fakes.language_models.STAND_INS`): where a report
can be had from one, it is the result's; where not, one line and one count say why."""

import time
from collections.abc import Iterator

import pytest
from prometheus_client import REGISTRY

from orchestrator.bootstrap.report_writers import build_report_writers
from orchestrator.report.base import ReportWriter
from orchestrator.report.failures import HOPELESS
from orchestrator.settings import Settings, WriterSettings, WritersSettings
from tests.fakes.language_models import (
    KEY,
    SERVED_MODEL,
    STAND_INS,
    Protocol,
    ReportProvider,
    StandIn,
    report_provider,
)
from tests.report_requests import request

DEADLINE_S = 20.0
"""Far more than any of them takes; a server that is waited for to no end would take it all."""

ENGLISH = request("en")

CASES = [(one, protocol) for one in STAND_INS for protocol in one.protocols]


def cases(*, can_answer: bool) -> list[object]:
    return [
        pytest.param(one, protocol, id=f"{protocol}: {one.name}")
        for one, protocol in CASES
        if one.can_answer == can_answer
    ]


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[Protocol, ReportProvider]]:
    with report_provider("openai") as openai, report_provider("gemini") as gemini:
        yield {"openai": openai, "gemini": gemini}


@pytest.fixture
def server(
    servers: dict[Protocol, ReportProvider], stand_in: StandIn, protocol: Protocol
) -> Iterator[ReportProvider]:
    found = servers[protocol]
    found.forget()
    stand_in.trait(found)
    yield found
    found.released.set()


def writer_of(server: ReportProvider, **settings: object) -> ReportWriter:
    one = WriterSettings.model_validate(
        {"provider": server.protocol, "model": "a-model", "base_url": server.base_url, "api_key": KEY}
        | settings
    )
    limits = WritersSettings(order=(one,), deadline_s=DEADLINE_S, cache_entries=0)
    return build_report_writers(Settings(writers=limits)).writer


def fell_back(server: ReportProvider) -> dict[str, float]:
    """The counts by reason."""
    return {
        sample.labels["reason"]: sample.value
        for metric in REGISTRY.collect()
        if metric.name == "wbc_report_fallbacks"
        for sample in metric.samples
        if sample.name.endswith("_total") and sample.labels["writer"] == f"{server.protocol}:a-model"
    }


def lines(caplog: pytest.LogCaptureFixture, words: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if words in record.getMessage()]


@pytest.mark.parametrize(("stand_in", "protocol"), cases(can_answer=True))
async def test_who_can_answer_writes_the_report_and_is_asked_once_from_then_on(server, caplog):
    writer = writer_of(server)
    before = fell_back(server)
    begun_s = time.monotonic()
    first = await writer.write(ENGLISH)
    assert time.monotonic() - begun_s < DEADLINE_S
    asked = len(server.asked)
    second = await writer.write(ENGLISH)
    await writer.close()
    assert [one.writer for one in (first, second)] == [f"{server.protocol}:a-model"] * 2
    assert first.model == SERVED_MODEL
    assert len(server.asked) == asked + 1
    assert {reason: n for reason, n in fell_back(server).items() if n != before.get(reason, 0)} == {}
    assert lines(caplog, "did not write") == []
    assert_tells_nothing(caplog)


@pytest.mark.parametrize(("stand_in", "protocol"), cases(can_answer=False))
async def test_who_cannot_leaves_one_line_and_one_count_with_the_reason(server, stand_in, caplog):
    writer = writer_of(server)
    before = fell_back(server).get(stand_in.reason, 0)
    report = await writer.write(ENGLISH)
    assert report.writer == "rule-based"
    (line,) = lines(caplog, "did not write")
    assert line.startswith(f"writer {server.protocol}:a-model did not write: {stand_in.reason}")
    assert stand_in.says in line
    assert "\n" not in line
    assert fell_back(server)[stand_in.reason] == before + 1

    asked = len(server.asked)
    await writer.write(ENGLISH)
    await writer.close()
    left_alone = stand_in.reason in HOPELESS
    assert (len(server.asked) == asked) == left_alone
    assert ("it is not asked for 600 s" in line) == left_alone
    assert len(lines(caplog, "did not write")) == (1 if left_alone else 2)
    assert_tells_nothing(caplog)


def assert_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Neither of the key nor of what was sent."""
    assert KEY not in caplog.text
    assert "Neutrophil" not in caplog.text
    assert "97.3" not in caplog.text


def named(name: str) -> StandIn:
    return next(one for one in STAND_INS if one.name == name)


@pytest.mark.parametrize(("stand_in", "protocol"), [(named("knows nothing of it all"), "openai")])
async def test_what_a_server_cannot_do_is_told_once(server, caplog):
    writer = writer_of(server)
    for _ in range(3):
        await writer.write(ENGLISH)
    await writer.close()
    learnt = lines(caplog, "from now on")
    assert [line.partition(" is asked with ")[2].partition(" from now on")[0] for line in learnt] == [
        "json_by=object", "json_by=words", "token_limit_field=max_tokens", "with_effort=False",
    ]  # fmt: skip
    assert all("Extra inputs are not permitted" in line for line in learnt)


@pytest.mark.parametrize(("stand_in", "protocol"), [(named("honest"), "openai"), (named("honest"), "gemini")])
async def test_what_one_image_causes_concerns_that_image_alone(server):
    writer = writer_of(server)
    assert (await writer.write(ENGLISH)).model == SERVED_MODEL
    for failing in (
        lambda _: server.error(400, "Blocked by the content filter."),
        lambda _: server.error(400, "Bad request."),  # a server that has written, and says no word of why
    ):
        asked = len(server.asked)
        server.behave = failing
        assert (await writer.write(ENGLISH)).writer == "rule-based"
        assert len(server.asked) == asked + 1
        server.forget()
        assert (await writer.write(ENGLISH)).model == SERVED_MODEL
    await writer.close()


@pytest.mark.parametrize(("stand_in", "protocol"), [(named("honest"), "openai"), (named("honest"), "gemini")])
async def test_a_rate_limit_without_a_time_is_backed_off_from(server):
    """The first report tries twice; the next ones find it left alone instead of waiting each."""
    server.behave = lambda _: server.error(429, "Slow down.")
    writer = writer_of(server)
    for _ in range(3):
        assert (await writer.write(ENGLISH)).writer == "rule-based"
    await writer.close()
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("stand_in", "protocol", "settings", "sent"),
    [
        (named("honest"), "openai", {}, ("reasoning_effort", "low")),
        (named("honest"), "openai", {"reasoning_effort": None}, ("reasoning_effort", None)),
        (named("honest"), "gemini", {}, ("thinkingConfig", {"thinking_level": "LOW"})),
        (named("honest"), "gemini", {"thinking_budget": 64}, ("thinkingConfig", {"thinking_budget": 64})),
    ],
)
async def test_little_reasoning_is_asked_for_unless_the_settings_say_otherwise(server, settings, sent):
    writer = writer_of(server, **settings)
    await writer.write(ENGLISH)
    await writer.close()
    (body,) = server.bodies
    assert body.get("generationConfig", body).get(sent[0]) == sent[1]


@pytest.mark.parametrize(("stand_in", "protocol"), [(named("honest"), "gemini")])
async def test_the_version_of_google_s_api_is_the_chosen_one_whatever_the_environment_says(
    server, monkeypatch
):
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v1")
    writer = writer_of(server)
    await writer.write(ENGLISH)
    await writer.close()
    assert server.asked[0].path.startswith("/v1beta/")
