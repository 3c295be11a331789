"""Measured requests to a service: so many at once, or so many a second whatever becomes of them.

One process and one event loop; a request costs this side about 1 ms of processor time, which on a shared
machine the service lacks.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Final

import httpx2
import numpy as np

from loadtests.images import ImageFile

SHED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
TIMEOUT_S: Final = 60.0
RAMP: Final = 0.25
KEEPALIVE_S: Final = 2.0
"""Idle connections are given up well before the server's 5 s, or one is used just as the server closes it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: when it was sent and how long it took (seconds), and the status; 0 where none came."""

    sent_s: float
    took_s: float
    status: int


@dataclass(frozen=True, slots=True)
class Figures:
    """What a stretch came to.

    ``offered`` is requests a second. ``throughput`` is answers (200) a second, ``goodput`` those that took at
    most the deadline. ``shed_share`` is the share of the requests that was sent away with 429 or 503,
    ``failed_share`` that of anything else but an answer. Percentiles are of answers, in milliseconds (0
    without any).
    """

    offered: float
    throughput: float
    goodput: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    shed_share: float
    failed_share: float


class Load:
    """Sends files in turn to one path of a service."""

    def __init__(self, url: str, path: str, files: Sequence[ImageFile], connections: int = 512) -> None:
        self._path = path
        self._files = files
        self._turn = count()
        self._client = httpx2.AsyncClient(
            base_url=url,
            timeout=httpx2.Timeout(TIMEOUT_S),
            limits=httpx2.Limits(
                max_connections=connections,
                max_keepalive_connections=connections,
                keepalive_expiry=KEEPALIVE_S,
            ),
        )

    async def __aenter__(self) -> "Load":
        """Begin."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self) -> Outcome:
        """One request."""
        file = self._files[next(self._turn) % len(self._files)]
        sent = time.perf_counter()
        try:
            response = await self._client.post(
                self._path, files={"file": (file.name, file.data, file.media_type)}
            )
            status = response.status_code
        except httpx2.HTTPError:
            status = 0
        return Outcome(sent, time.perf_counter() - sent, status)

    async def at_once(self, clients: int, seconds: float, pause_s: float = 0.05) -> list[Outcome]:
        """A closed loop: each of so many clients sends when it has its answer.

        A client that is sent away comes back after ``pause_s``: patient enough not to spin, far less than any
        Retry-After, so that the pressure stays.
        """
        outcomes: list[Outcome] = []
        end = time.perf_counter() + seconds

        async def client() -> None:
            while time.perf_counter() < end:
                outcome = await self.send()
                outcomes.append(outcome)
                if outcome.status != HTTPStatus.OK:
                    await asyncio.sleep(pause_s)

        await asyncio.gather(*(client() for _ in range(clients)))
        return outcomes

    async def at_rate(self, per_second: float, seconds: float, seed: int = 0) -> list[Outcome]:
        """An open loop: requests come as a Poisson process, whether earlier ones are answered or not."""
        gaps = random.Random(seed)
        tasks: list[asyncio.Task[Outcome]] = []
        begun = due = time.perf_counter()
        while due < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.append(asyncio.create_task(self.send()))
            due += gaps.expovariate(per_second)
        return list(await asyncio.gather(*tasks))


def figures(outcomes: Sequence[Outcome], seconds: float, deadline_s: float) -> Figures:
    """The figures of requests that were sent within ``seconds``.

    Rates count the answers that came while requests were sent, without the first :data:`RAMP` of that time,
    in which the queues fill; so a backlog that is answered after the end is no throughput.

    Raises ``ValueError`` for no outcome.
    """
    if not outcomes:
        raise ValueError("expected at least one request, received none")
    begun = min(one.sent_s for one in outcomes)
    answered = [one for one in outcomes if one.status == HTTPStatus.OK]
    counted = [one.took_s for one in answered if RAMP * seconds <= one.sent_s + one.took_s - begun <= seconds]
    shed = sum(one.status in SHED for one in outcomes)
    times = [one.took_s for one in answered]
    p50, p95, p99 = np.percentile(times, [50, 95, 99]) * 1000 if times else (0.0, 0.0, 0.0)
    return Figures(
        offered=len(outcomes) / seconds,
        throughput=len(counted) / (seconds * (1 - RAMP)),
        goodput=sum(took <= deadline_s for took in counted) / (seconds * (1 - RAMP)),
        p50_ms=float(p50),
        p95_ms=float(p95),
        p99_ms=float(p99),
        shed_share=shed / len(outcomes),
        failed_share=(len(outcomes) - shed - len(answered)) / len(outcomes),
    )
