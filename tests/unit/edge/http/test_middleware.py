import json
from typing import Any

import pytest
from prometheus_client import REGISTRY
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.draining import Draining
from orchestrator.edge.http.middleware import RequestEnvelope
from orchestrator.observability.request_context import current_request_id


async def call(
    app: ASGIApp, headers: dict[str, str] | None = None, draining: Draining | None = None
) -> tuple[dict[str, str], bytes, int]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    scope: dict[str, Any] = {
        "type": "http",
        "headers": [(name.lower().encode(), value.encode()) for name, value in (headers or {}).items()],
    }
    await RequestEnvelope(app, draining)(scope, receive, send)
    start, *bodies = sent
    answered = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return answered, b"".join(message["body"] for message in bodies), start["status"]


async def tell_request_id(_scope: Scope, _receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": current_request_id().encode()})


@pytest.mark.parametrize("proposed", ["lab-42", "A.b_c-1", "x" * 64])
async def test_a_sane_request_id_is_kept(proposed):
    headers, body, _ = await call(tell_request_id, {"X-Request-ID": proposed})
    assert headers["x-request-id"] == body.decode() == proposed


@pytest.mark.parametrize("proposed", [None, "", "x" * 65, "a b", "a/b", "a\tb", "ayşe", "<script>"])
async def test_any_other_request_id_is_replaced(proposed):
    headers, body, _ = await call(tell_request_id, {} if proposed is None else {"X-Request-ID": proposed})
    assert headers["x-request-id"] == body.decode()
    assert len(body) == 36
    assert headers["x-request-id"] != proposed


async def test_answers_carry_security_headers():
    headers, _, _ = await call(tell_request_id)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"


async def test_an_answer_ends_its_connection_while_the_process_drains():
    draining = Draining()
    before, _, _ = await call(tell_request_id, draining=draining)
    draining.begin()
    after, _, _ = await call(tell_request_id, draining=draining)
    assert "connection" not in before
    assert after["connection"] == "close"
    assert REGISTRY.get_sample_value("wbc_draining") == 1


async def test_an_unexpected_exception_becomes_a_problem_document():
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError("secret")

    headers, body, status = await call(broken, {"X-Request-ID": "lab-42"})
    assert status == 500
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == json.loads(body)["request_id"] == "lab-42"
    assert b"secret" not in body


async def test_an_exception_within_an_answer_passes_on():
    async def breaks_off(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await call(breaks_off)


async def test_what_is_not_http_passes_through():
    seen: list[str] = []

    async def app(scope: Scope, *_: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    await RequestEnvelope(app)({"type": "lifespan"}, nothing, nothing)
    assert seen == ["lifespan"]
