"""Hedged requests: where an answer is late, ask a second time and take whichever comes first.

Dean and Barroso, "The Tail at Scale", Communications of the ACM 56(2), 2013. Only for questions that may be
asked twice, and only within a budget: each hedge is load.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Answer = TypeVar("Answer")


async def hedged(
    ask: Callable[[], Coroutine[Any, Any, Answer]],
    *,
    after_s: float,
    may_hedge: Callable[[], bool],
    observe: Callable[[bool], None],
) -> Answer:
    """Return the first answer of ``ask``, called a second time where the first takes longer than ``after_s``.

    Args:
        ask: may be called twice at once; the one that is not needed any more is cancelled.
        after_s: seconds; the p95 of the latency hedges one request in twenty.
        may_hedge: asked before the second call.
        observe: told of each hedge whether it was it that answered.

    Raises:
        Exception: what the first call raised, where neither answers.
    """
    first = asyncio.create_task(ask())
    tasks = [first]
    try:
        await asyncio.wait(tasks, timeout=after_s)
        if first.done() or not may_hedge():
            return await first
        second = asyncio.create_task(ask())
        tasks.append(second)
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in (task for task in tasks if task in done):  # the first, where both are done
                if task.exception() is None:
                    observe(task is second)
                    return task.result()
        observe(False)
        return first.result()
    finally:
        for task in tasks:
            task.cancel()
        # Nothing is left running, and no error unread.
        await asyncio.gather(*tasks, return_exceptions=True)
