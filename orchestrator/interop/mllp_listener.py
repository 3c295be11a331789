"""Receives HL7 v2 messages over MLLP: the side of a laboratory, for tests and integrators."""

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from orchestrator.interop.mllp_frames import DEFAULT_MAX_BYTES, Framer, FrameTooLarge, frame

_logger = logging.getLogger(__name__)

_READ_BYTES: Final = 64 * 1024


class HangUp(Exception):
    """Raised by a handler to close the connection; ``parting`` is sent before, as it is."""

    def __init__(self, parting: bytes = b"") -> None:
        super().__init__("the connection is to be closed")
        self.parting = parting


Handler = Callable[[bytes], Awaitable[bytes | None]]
"""Takes a message and gives the answer; None for silence."""


@dataclass(frozen=True, slots=True)
class ListenerLimits:
    """``idle_s`` is how long a connection may be silent; connections over the limit are closed at once."""

    max_bytes: int = DEFAULT_MAX_BYTES
    idle_s: float = 300.0
    connections: int = 64


class MllpListener:
    """Listens as an async context manager; messages of one connection are answered one after another."""

    def __init__(
        self,
        handler: Handler,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tls: ssl.SSLContext | None = None,
        limits: ListenerLimits = ListenerLimits(),
    ) -> None:
        self._handler = handler
        self._host = host
        self._wanted_port = port
        self._tls = tls
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Where it listens; the one that the system chose where 0 was asked for."""
        if self._server is None:
            raise RuntimeError("expected a started listener")
        return int(self._server.sockets[0].getsockname()[1])

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._connected, self._host, self._wanted_port, ssl=self._tls
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None:
            return
        self._server.close()
        for task in tuple(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    async def serve_forever(self) -> None:
        """Wait until cancelled."""
        if self._server is None:
            raise RuntimeError("expected a started listener")
        await self._server.serve_forever()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("expected to run in a task")
        if len(self._open) >= self._limits.connections:
            writer.transport.abort()
            return
        self._open.add(task)
        try:
            await self._converse(reader, writer)
        except (OSError, TimeoutError, FrameTooLarge) as error:
            _logger.info("a connection ended: %s", type(error).__name__)
        except asyncio.CancelledError:
            pass  # the listener stops; an own end of the task, so that the streams do not report it
        finally:
            self._open.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        framer = Framer(self._limits.max_bytes)
        while True:
            async with asyncio.timeout(self._limits.idle_s):
                data = await reader.read(_READ_BYTES)
            if not data:
                return
            for message in framer.feed(data):
                try:
                    answer = await self._handler(message)
                except HangUp as wish:
                    await self._write(writer, wish.parting)
                    return
                if answer is not None:
                    await self._write(writer, frame(answer))

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        async with asyncio.timeout(self._limits.idle_s):  # a peer that does not read holds nothing for ever
            await writer.drain()
