"""Steps on pixels in threads of this process."""

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

IMAGE_THREADS: Final = 2
"""With a thread for each of eight requests the service answers half as many: all wait for Python's lock."""


class ImageThreads:
    """See :class:`~.base.ImageWorkers`."""

    def __init__(self, threads: int = IMAGE_THREADS) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="image")

    async def start(self) -> None:
        """Nothing to do: threads begin when they are needed."""

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """As :func:`asyncio.to_thread`, in one of these threads."""
        call = partial(contextvars.copy_context().run, function, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, call)

    async def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False)
