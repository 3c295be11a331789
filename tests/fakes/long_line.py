"""A line to a server far away: what is sent arrives later, and as much as one likes is on its way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def long_line(port: int, delay_s: float) -> AsyncIterator[int]:
    """A port that leads to ``port`` of this machine, each way in ``delay_s`` seconds."""
    tasks: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        there = await asyncio.open_connection("127.0.0.1", port)
        with suppress(asyncio.CancelledError):
            await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))
        for end in (writer, there[1]):
            end.transport.abort()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        on_its_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        now_s = asyncio.get_running_loop().time

        async def deliver() -> None:
            while True:
                at_s, data = await on_its_way.get()
                await asyncio.sleep(at_s - now_s())
                writer.write(data)

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(2**20):
                on_its_way.put_nowait((now_s() + delay_s, data))
        finally:
            delivering.cancel()

    async with await asyncio.start_server(accept, "127.0.0.1", 0) as server:
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
