"""Waiting for what must happen: however busy the machine is, only a failure takes the whole of LONGEST_S."""

import asyncio
import time
from collections.abc import Callable
from typing import Final

LONGEST_S: Final = 60.0


async def becomes(condition: Callable[[], bool]) -> None:
    """Return as soon as ``condition()`` holds, and let the event loop run until then.

    Raises ``TimeoutError`` where it does not hold after LONGEST_S.
    """
    async with asyncio.timeout(LONGEST_S):
        while not condition():
            await asyncio.sleep(0.005)


def becomes_meanwhile(condition: Callable[[], bool], every_s: float = 0.05) -> None:
    """The same for a test without an event loop: what happens, happens in other threads or processes."""
    until_s = time.monotonic() + LONGEST_S
    while not condition():
        if time.monotonic() > until_s:
            raise TimeoutError
        time.sleep(every_s)


def time_passes(seconds: float) -> None:
    """The clock of the event loop, by which it ends waits and sleeps, goes on by so much at once.

    So a deadline ends just when a test has come to where it should, and no sooner on a busy machine.
    """
    loop = asyncio.get_running_loop()
    until_now = loop.time
    loop.time = lambda: until_now() + seconds  # type: ignore[method-assign]
