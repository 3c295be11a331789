import asyncio
from typing import Any

import pytest
from starlette.types import ASGIApp, Message

from orchestrator.edge.access.needs import PROBE
from orchestrator.edge.http.disconnection import CancelOnDisconnect
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.route_table import FOUND, Found
from tests.waiting import LONGEST_S

SCOPE: dict[str, Any] = {"type": "http", FOUND: Found()}
FIRST: Message = {"type": "http.request", "body": b"first", "more_body": True}
LAST: Message = {"type": "http.request", "body": b"last", "more_body": False}


class Connection:
    """What a server holds of one connection: messages come when they are sent, and then it waits."""

    def __init__(self, *messages: Message) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        for message in messages:
            self._messages.put_nowait(message)
        self.taken = 0
        self.sent: list[Message] = []

    def hang_up(self) -> None:
        self._messages.put_nowait({"type": "http.disconnect"})

    async def receive(self) -> Message:
        message = await self._messages.get()
        self.taken += 1
        return message

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    def request(self, app: ASGIApp) -> "asyncio.Task[None]":
        async def run() -> None:
            await CancelOnDisconnect(app)(SCOPE, self.receive, self.send)

        return asyncio.create_task(run())


class Endless:
    """Reads ``messages`` messages of the body, and then works until it is cancelled."""

    def __init__(self, messages: int = 0) -> None:
        self.working = asyncio.Event()
        self.cancelled = False
        self.bodies: list[bytes] = []
        self._messages = messages

    async def __call__(self, _scope: Any, receive: Any, _send: Any) -> None:
        self.bodies = [(await receive())["body"] for _ in range(self._messages)]
        self.working.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise


async def answer(_scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["more_body"]:
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"done"})


def tasks_of_the_middleware() -> list[str]:
    return [task.get_name() for task in asyncio.all_tasks() if "connection" in task.get_name()]


async def test_a_request_is_answered():
    connection = Connection(FIRST, LAST)
    await connection.request(answer)
    assert connection.sent[-1]["body"] == b"done"
    await asyncio.sleep(0)
    assert tasks_of_the_middleware() == []


@pytest.mark.parametrize("read", [0, 1, 2])
async def test_hanging_up_cancels_the_work_wherever_it_is(read):
    connection, app = Connection(FIRST, LAST), Endless(read)
    request = connection.request(app)
    await app.working.wait()

    connection.hang_up()
    if read == 0:  # the end of a body that nobody reads is not seen, so as not to hold it
        await asyncio.sleep(0.01)
        assert not app.cancelled
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)
    else:
        await asyncio.wait_for(request, LONGEST_S)  # and not as an error: nobody is left to tell

    assert app.cancelled
    assert connection.sent == []
    await asyncio.sleep(0)
    assert tasks_of_the_middleware() == []


async def test_hanging_up_cancels_who_has_not_read_a_small_body_yet():
    connection, app = Connection(LAST), Endless()
    request = connection.request(app)
    await app.working.wait()
    connection.hang_up()
    await asyncio.wait_for(request, LONGEST_S)
    assert app.cancelled


async def test_a_body_that_nobody_reads_stays_where_it_is():
    connection, app = Connection(*[FIRST] * 10), Endless()
    request = connection.request(app)
    await app.working.wait()
    await asyncio.sleep(0.01)
    assert connection.taken <= 2
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)


async def test_hanging_up_after_the_answer_is_no_matter():
    connection = Connection(LAST)
    told: list[str] = []

    async def answer_and_tidy(scope: Any, receive: Any, send: Any) -> None:
        await answer(scope, receive, send)
        connection.hang_up()
        await asyncio.sleep(0.01)
        told.append("tidy")

    await connection.request(answer_and_tidy)
    assert told == ["tidy"]


async def test_a_cancellation_by_the_server_passes_on():
    connection, app = Connection(LAST), Endless()
    request = connection.request(app)
    await app.working.wait()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert app.cancelled


async def test_an_error_passes_on():
    async def broken(*_: Any) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await Connection(LAST).request(broken)


async def test_nobody_watches_the_connection_of_a_probe():
    watching: list[str] = []

    async def live(_scope: Any, _receive: Any, _send: Any) -> None:
        watching.extend(tasks_of_the_middleware())

    probe = Endpoint("GET", "/livez", answer, PROBE)
    connection = Connection()
    scope = {"type": "http", FOUND: Found(probe)}
    await CancelOnDisconnect(live)(scope, connection.receive, connection.send)
    await asyncio.sleep(0)
    assert (watching, connection.taken) == ([], 0)


async def test_what_is_not_http_passes_through():
    seen: list[Any] = []

    async def app(*arguments: Any) -> None:
        seen.extend(arguments)

    connection = Connection()
    await CancelOnDisconnect(app)({"type": "lifespan"}, connection.receive, connection.send)
    assert seen == [{"type": "lifespan"}, connection.receive, connection.send]
