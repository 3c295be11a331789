"""A TCP proxy that does what networks do: delays, drips, swallows, cuts and refuses."""

import asyncio
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

_CHUNK = 256 * 2**10
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time: close() sends RST


@dataclass
class Network:
    """How the network between the two behaves; may be changed at any time.

    ``latency_s`` delays each piece of data, ``bytes_per_s`` lets it through no faster, in a ``black_hole``
    nothing goes through at all and nobody is told, and with ``refuses`` new connections are cut at once.
    """

    latency_s: float = 0.0
    bytes_per_s: float | None = None
    black_hole: bool = False
    refuses: bool = False


class FaultProxy:
    """Listens on ``port`` and hands on to ``upstream_port`` of this machine; used as a context."""

    def __init__(self, upstream_port: int) -> None:
        self.network = Network()
        self.port = 0
        self.connections = 0
        """That were ever made."""
        self._upstream_port = upstream_port
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self.network = Network()  # so that nobody is stuck in a black hole
        while self._tasks:
            self.reset()
            await asyncio.wait(self._tasks, timeout=0.1)

    def reset(self) -> int:
        """Cut every connection with RST, in the midst of whatever goes over it; how many there were."""
        cut = len(self._open)
        for writer in self._open:
            connection = writer.get_extra_info("socket")
            with suppress(OSError):
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()
        self._open.clear()
        return cut

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        ends = [writer]
        self._open.add(writer)
        try:
            if not self.network.refuses:
                there = await asyncio.open_connection("127.0.0.1", self._upstream_port, limit=_CHUNK)
                ends.append(there[1])
                self._open.add(there[1])
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._hand_on(reader, there[1]))
                    both.create_task(self._hand_on(there[0], writer))
        except* OSError:
            pass  # one end is gone, or was never there: so is the other
        finally:
            for end in ends:
                self._open.discard(end)
                end.transport.abort()

    async def _hand_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            if self.network.latency_s:
                await asyncio.sleep(self.network.latency_s)
            while self.network.black_hole:  # TCP sends again what was lost, once it can
                await asyncio.sleep(0.01)
            if self.network.bytes_per_s is None:
                writer.write(data)
                await writer.drain()
            else:
                await self._drip(data, writer)
        raise ConnectionResetError  # gRPC closes no halves

    async def _drip(self, data: bytes, writer: asyncio.StreamWriter) -> None:
        for start in range(0, len(data), 4096):
            writer.write(data[start : start + 4096])
            await writer.drain()
            if self.network.bytes_per_s is not None:
                await asyncio.sleep(4096 / self.network.bytes_per_s)
