"""A caller who hangs up takes their work with them."""

import asyncio
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.http.route_table import found

READ_AHEAD: Final = 1
"""Messages of the body, of at most 64 KiB each with uvicorn, that are read before the application asks."""


class CancelOnDisconnect:
    """Cancels a request when its connection ends before its answer does.

    A server in front of an ASGI application tells of a disconnect only to who asks for the next message, and
    an analysis that waits for its turn or for the network asks for none. So a task of its own asks, and reads
    a little ahead while it is at it; more than that is read only when the application wants it, so that a
    request that waits for its admission holds no large image in memory.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or found(scope).is_probe:
            await self.app(scope, receive, send)
            return
        connection = _Connection(receive, send)
        await connection.run(self.app, scope)


class _Connection:
    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._messages: asyncio.Queue[Message] = asyncio.Queue(READ_AHEAD)
        self._answered = False
        self._hung_up = False

    async def run(self, app: ASGIApp, scope: Scope) -> None:
        request = asyncio.current_task()
        assert request is not None
        watching = asyncio.create_task(self._watch(request), name="watching the connection")
        try:
            await app(scope, self._messages_first, self._send_noting_the_end)
        except asyncio.CancelledError:
            # As in asyncio.timeout: ours, unless somebody else wants the task to end as well.
            if not self._hung_up or request.uncancel() > 0:
                raise
        finally:
            watching.cancel()

    async def _watch(self, request: "asyncio.Task[None]") -> None:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                break
            await self._messages.put(message)
        if not self._answered:
            self._hung_up = True
            request.cancel()

    async def _messages_first(self) -> Message:
        return await self._messages.get()

    async def _send_noting_the_end(self, message: Message) -> None:
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self._answered = True
        await self._send(message)
