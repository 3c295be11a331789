import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.types import Message, Receive

from orchestrator.edge.access.needs import ORDER, PROBE, UPLOAD
from orchestrator.edge.http import problems
from orchestrator.edge.http.body_limits import BodyLimits
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.route_table import FOUND, Dispatch, Found, Routed, RouteTable
from tests.waiting import time_passes


class Sender:
    """Sends the pieces, each after its pause, and then nothing more."""

    def __init__(self, pieces: Iterable[tuple[float, bytes]]) -> None:
        self._pieces = self._of(pieces)

    async def _of(self, pieces: Iterable[tuple[float, bytes]]) -> AsyncIterator[Message]:
        for pause_s, piece in pieces:
            await asyncio.sleep(pause_s)
            yield {"type": "http.request", "body": piece, "more_body": True}
        await asyncio.sleep(3600)

    async def receive(self) -> Message:
        return await anext(self._pieces)


async def size(request: Request) -> int:
    return len(await request.body())


async def document(body: dict[str, int]) -> int:
    return len(body)


def application(**limits: Any) -> FastAPI:
    endpoints = [
        Endpoint("POST", "/predict", size, UPLOAD),
        Endpoint("POST", "/size", size, ORDER),
        Endpoint("POST", "/document", document, ORDER),
    ]
    return FastAPI(
        routes=[Dispatch(), *endpoints],
        openapi_url=None,
        middleware=[
            Middleware(Routed, table=RouteTable(endpoints)),
            Middleware(BodyLimits, **limits),
        ],
        exception_handlers=problems.HANDLERS,
    )


async def ask(app: FastAPI, path: str, *pieces: tuple[float, bytes]) -> tuple[int, bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "root_path": "", "scheme": "http", "http_version": "1.1", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2), "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip
    async with asyncio.timeout(600):
        await app(scope, Sender(pieces).receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent)


@pytest.mark.parametrize("path", ["/size", "/document"])
async def test_a_body_that_is_too_large_is_413_whoever_reads_it(path):
    status, told = await ask(application(max_small_body_bytes=100), path, (0, b"x" * 60), (0, b"x" * 60))
    assert (status, b"at most 100 bytes" in told) == (413, True)


async def test_a_route_for_uploads_bounds_its_bodies_itself():
    app = application(max_small_body_bytes=100, patience_s=0.2)
    status, _ = await ask(app, "/predict", (0, b"x" * 1000))
    assert status == 408  # of what never came; the bytes were not too many


@pytest.mark.parametrize("path", ["/size", "/document"])
async def test_a_body_that_stops_is_408_whoever_reads_it(path):
    status, told = await ask(application(patience_s=0.5), path, (0, b"{"))
    assert (status, b"Nothing arrived for 0.5 seconds" in told) == (408, True)


async def test_a_body_that_drips_is_408_although_it_never_stops():
    drips = [(0.05, b"x")] * 100
    status, told = await ask(application(patience_s=1, least_bytes_per_s=1000), "/size", *drips)
    assert (status, b"too slowly" in told) == (408, True)


async def test_all_bodies_together_have_a_limit_and_give_it_back():
    app = application(max_held_bytes=150, patience_s=30)
    holding = asyncio.create_task(ask(app, "/predict", (0, b"x" * 100)))
    await asyncio.sleep(0.05)
    assert (await ask(app, "/predict", (0, b"x" * 100)))[0] == 503
    time_passes(30)
    assert (await holding)[0] == 408
    again = asyncio.create_task(ask(app, "/predict", (0, b"x" * 100)))
    await asyncio.sleep(0.05)
    time_passes(30)
    assert (await again)[0] == 408  # there is room again


async def test_the_body_of_a_probe_is_not_bounded():
    received: list[Receive] = []

    async def live(_scope: Any, receive: Receive, _send: Any) -> None:
        received.append(receive)

    async def send(_: Message) -> None:
        pass

    sender = Sender([])
    scope = {"type": "http", FOUND: Found(Endpoint("GET", "/livez", size, PROBE))}
    await BodyLimits(live)(scope, sender.receive, send)
    assert received == [sender.receive]
