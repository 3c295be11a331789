"""An analysis whose report comes later: server-sent events (WHATWG HTML, 9.2) as the answer of one POST.

``analysis``: the whole result but its report, at once. ``report``: the report, when it is written and has
passed its checks; a text that might still be refused is never sent in pieces. ``error``: a problem
document, where the time is over or the service failed before that. ``done``: nothing more comes. Whatever
goes wrong before the first event is an answer with a status of its own.
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

from fastapi.sse import EventSourceResponse, format_sse_event

from orchestrator.analyse import Services, with_report
from orchestrator.documents.analysis import AnalysisResult
from orchestrator.domain import DISCLAIMER, Analysis, Language, WriterKind
from orchestrator.edge.http import problems
from orchestrator.edge.request_frame import within

MEDIA_TYPE: Final = "text/event-stream"

_HEADERS: Final = {"X-Accel-Buffering": "no"}
"""For a proxy that would keep the events until there are enough of them."""

OPENAPI: Final[Mapping[str, Any]] = {
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "description": "With `report=stream`, server-sent events, of which this is one: `analysis` "
                "(as the JSON answer, its `report` null), then `report` (a `WrittenReport`, with the `focus` "
                "that its writer's opinion is part of) or `error` (a problem document), then `done`.",
                "required": ["event", "data"],
                "properties": {
                    "event": {"type": "string", "enum": ["analysis", "report", "error", "done"]},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
            },
            "examples": {
                "stream": {
                    "value": 'event: analysis\ndata: {"request_id": "…", "report": null, …}\n\n'
                    'event: report\ndata: {"text": "…", "writer": "rule-based", …}\n\n'
                    'event: done\ndata: {"disclaimer": "…"}\n\n'
                }
            },
        }
    }
}
"""What the answer 200 may also be."""


def report_stream(
    analysis: Analysis,
    services: Services,
    language: Language | None,
    left_s: float | None,
    writer: WriterKind = "configured",
) -> EventSourceResponse:
    """The events of one analysis; ``left_s`` is what its request has left of its time, without limit where
    None."""
    write = partial(with_report, analysis, services, language, writer)
    return EventSourceResponse(_events(analysis, write, left_s), headers=_HEADERS)


async def _events(
    analysis: Analysis, write: Callable[[], Awaitable[Analysis]], left_s: float | None
) -> AsyncIterator[bytes]:
    yield _event("analysis", AnalysisResult.model_validate(analysis).model_dump_json(by_alias=True))
    try:
        yield _event("report", await _report(write, left_s))
    except Exception as error:  # the status is sent: all that is left is to say so
        yield _event("error", problems.document_of(error))
    yield _event("done", json.dumps({"disclaimer": DISCLAIMER}))


async def _report(write: Callable[[], Awaitable[Analysis]], left_s: float | None) -> str:
    if left_s is None:
        return _document(await write())
    async with within(left_s):
        return _document(await write())


def _document(analysis: Analysis) -> str:
    result = AnalysisResult.model_validate(analysis)
    assert result.report is not None
    document = result.report.model_dump(mode="json", by_alias=True)
    focus = result.focus and result.focus.model_dump(mode="json", by_alias=True)
    return json.dumps({**document, "focus": focus, "disclaimer": analysis.disclaimer}, ensure_ascii=False)


def _event(name: str, data: str) -> bytes:
    return format_sse_event(data_str=data, event=name)
