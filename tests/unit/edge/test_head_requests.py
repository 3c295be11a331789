from typing import Any

from starlette.types import Message, Receive, Scope, Send

from orchestrator.edge.head_requests import HeadAsGet

HEADERS = [(b"content-length", b"5")]


async def answers(method: str) -> tuple[list[str], list[Message], dict[str, Any]]:
    seen: list[str] = []
    sent: list[Message] = []

    async def application(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope["method"])
        await send({"type": "http.response.start", "status": 203, "headers": HEADERS})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"cde"})

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": "http", "method": method}
    await HeadAsGet(application)(scope, receive, send)
    return seen, sent, scope


async def test_a_head_is_answered_as_a_get_whose_answer_ends_with_its_headers():
    seen, (start, *rest), scope = await answers("HEAD")
    assert seen == ["GET"]
    assert (start["status"], start["headers"]) == (203, HEADERS)
    assert [(message["body"], message.get("more_body", False)) for message in rest] == [(b"", False)]
    assert scope["method"] == "HEAD"  # the server frames the answer by it


async def test_any_other_method_passes_as_it_is():
    for method in ("GET", "POST", "OPTIONS"):
        seen, (_, *rest), _ = await answers(method)
        assert seen == [method]
        assert b"".join(message["body"] for message in rest) == b"abcde"
