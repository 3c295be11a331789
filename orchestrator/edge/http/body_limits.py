"""How slowly, and how large, the body of a request may arrive: whatever the route does with it.

A route that takes uploads counts their bytes itself; the body of every other one is small. Time is bounded
for all: a sender who drips a byte now and then would hold memory and a connection for as long as they like.
"""

import asyncio
import time
from typing import Final

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.http.route_table import found

MAX_SMALL_BODY_BYTES: Final = 2**20

PATIENCE_S: Final = 10.0
"""How long nothing may arrive; and from when on the mean speed counts."""

LEAST_BYTES_PER_S: Final = 1024
"""Mean speed of a whole body: 8 kbit/s, slower than any line that a laboratory has."""


class BodyLimits:
    """Ends the reading of a body by an ``HTTPException`` of status 408, 413 or 503.

    These are exceptions of the framework because whatever else is raised while FastAPI reads a body becomes
    a 400 there. ``max_held_bytes`` is what all bodies together may have, each from its first byte to its
    answer.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_held_bytes: int | None = None,
        max_small_body_bytes: int = MAX_SMALL_BODY_BYTES,
        patience_s: float = PATIENCE_S,
        least_bytes_per_s: float = LEAST_BYTES_PER_S,
    ) -> None:
        self.app = app
        self._max_held_bytes = max_held_bytes
        self._held_bytes = 0
        self._max_bytes = max_small_body_bytes
        self._patience_s = patience_s
        self._least_bytes_per_s = least_bytes_per_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or found(scope).is_probe:
            await self.app(scope, receive, send)
            return
        needs = found(scope).needs
        max_bytes = None if needs is not None and needs.bounds_body else self._max_bytes
        received, begun_s, more = 0, time.monotonic(), True

        async def receive_within_limits() -> Message:
            nonlocal received, more
            if not more:  # what comes now is the end of the connection, whenever that is
                return await receive()
            try:
                async with asyncio.timeout(self._patience_s):
                    message = await receive()
            except TimeoutError as error:
                raise HTTPException(408, f"Nothing arrived for {self._patience_s:g} seconds.") from error
            if message["type"] != "http.request":
                return message
            arrived = len(message.get("body", b""))
            received += arrived
            self._held_bytes += arrived
            more = message.get("more_body", False)
            if self._max_held_bytes is not None and self._held_bytes > self._max_held_bytes:
                raise HTTPException(503, "Too many large bodies arrive at once.", {"Retry-After": "1"})
            if max_bytes is not None and received > max_bytes:
                raise HTTPException(413, f"The body is too large; at most {max_bytes} bytes are accepted.")
            waited_s = time.monotonic() - begun_s
            if more and waited_s > self._patience_s and received < self._least_bytes_per_s * waited_s:
                raise HTTPException(408, "The body arrives too slowly.")
            return message

        try:
            await self.app(scope, receive_within_limits, send)
        finally:
            self._held_bytes -= received
