import asyncio
import json
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Message

from orchestrator.edge.access.needs import OPEN, READ, SIGN
from orchestrator.edge.http import problems
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.route_table import Dispatch, Routed, RouteTable, found


async def answer(request: Request) -> Response:
    told = {"method": request.method, "path": found(request.scope).path, **request.path_params}
    return Response(json.dumps(told), 203)


async def stream(_: Request) -> Response:
    return StreamingResponse(iter([b"ab", b"cde"]))


ROUTES = [
    Endpoint("POST", "/orders", answer, SIGN),
    Endpoint("GET", "/orders/{number}", answer, READ),
    Endpoint("DELETE", "/orders/{number}", answer, SIGN),
    Endpoint("GET", "/orders", answer, READ),
    Endpoint("GET", "/orders/{number}/{rest:path}", answer, READ),
    Endpoint("PUT", "/orders/newest", answer, OPEN),
    Endpoint("GET", "/stream", stream, OPEN),
    Endpoint("POST", "/posted", answer, OPEN),
]


async def ask(method: str, path: str, root_path: str = "") -> list[Message]:
    app = FastAPI(
        routes=[Dispatch(), *ROUTES],
        middleware=[Middleware(Routed, table=RouteTable(ROUTES))],
        exception_handlers=problems.HANDLERS,
        openapi_url=None,
    )
    sent: list[Message] = []

    async def receive() -> Message:  # nobody sends a body, nor hangs up
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    scope = scope_of(method, path, root_path)
    await app(scope, receive, send)
    assert scope["method"] == method  # the server frames the answer by it
    return sent


def scope_of(method: str, path: str, root_path: str = "") -> dict[str, Any]:
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": root_path, "headers": [],
    }  # fmt: skip


async def told(method: str, path: str, root_path: str = "") -> dict[str, Any]:
    start, body = await ask(method, path, root_path)
    assert start["status"] == 203
    document: dict[str, Any] = json.loads(body["body"])
    return document


async def refused(method: str, path: str) -> tuple[int, str | None]:
    start = (await ask(method, path))[0]
    return start["status"], dict(start["headers"]).get(b"allow", b"").decode() or None


async def test_the_route_that_is_found_answers_with_what_its_path_names():
    assert await told("GET", "/orders") == {"method": "GET", "path": "/orders"}
    assert await told("POST", "/orders") == {"method": "POST", "path": "/orders"}
    one = {"path": "/orders/{number}", "number": "3"}
    assert await told("DELETE", "/orders/3") == {"method": "DELETE", **one}
    rest = await told("GET", "/orders/3/a/b")
    assert (rest["number"], rest["rest"]) == ("3", "a/b")


async def test_a_method_is_looked_for_on_every_path_that_fits():
    assert (await told("PUT", "/orders/newest"))["path"] == "/orders/newest"
    assert (await told("GET", "/orders/newest"))["number"] == "newest"


async def test_what_a_proxy_puts_before_all_paths_is_no_part_of_them():
    assert (await told("GET", "/lab/orders", "/lab"))["path"] == "/orders"
    assert (await told("GET", "/lab/orders/3", "/lab"))["number"] == "3"
    assert (await told("GET", "/orders/3", "/lab"))["number"] == "3"  # a proxy that takes it away


async def test_where_there_is_no_path_nothing_is_found():
    assert await refused("GET", "/order") == (404, None)
    assert await refused("GET", "/orders/") == (404, None)


async def test_all_methods_of_a_path_are_named_whichever_route_has_them():
    assert await refused("PATCH", "/orders") == (405, "GET, HEAD, POST")
    assert await refused("PUT", "/orders/3") == (405, "DELETE, GET, HEAD")
    assert await refused("POST", "/orders/newest") == (405, "DELETE, GET, HEAD, PUT")


@pytest.mark.parametrize(("path", "status"), [("/orders", 203), ("/stream", 200)])
async def test_a_head_is_answered_as_a_get_whose_answer_ends_with_its_headers(path, status):
    head, get = await ask("HEAD", path), await ask("GET", path)
    assert head[0]["status"] == status
    assert head[0] == get[0]
    assert [(message["body"], message.get("more_body", False)) for message in head[1:]] == [(b"", False)]
    assert b"".join(message["body"] for message in get[1:])


async def test_a_head_is_refused_where_there_is_no_get():
    assert await refused("HEAD", "/posted") == (405, "POST")


async def test_a_route_says_what_it_needs_or_there_is_none():
    with pytest.raises(TypeError, match="needs"):
        Endpoint("GET", "/orders", answer)
    for route in (APIRoute("/orders", answer), Route("/orders", answer)):
        with pytest.raises(TypeError, match="does not say what it needs"):
            RouteTable([route])
