"""What the endpoints that analyse have in common: each request has an end in time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Header

from orchestrator.deadline import remaining_s
from orchestrator.errors import DeadlineExceeded

TIMEOUT_HEADER: Final = "X-Request-Timeout-Ms"

TimeoutMs = Annotated[
    int | None,
    Header(
        alias=TIMEOUT_HEADER,
        ge=1,
        le=86_400_000,
        description="Milliseconds that the caller waits, counted from the arrival of the request. The "
        "service's default where absent, and never more than its limit.",
        examples=[5000],
    ),
]


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a request has: by default, and at most."""

    default_s: float = 15.0
    longest_s: float = 30.0

    def seconds(self, asked_ms: int | None) -> float:
        """What a request gets that asks for ``asked_ms`` milliseconds, or for nothing."""
        return min(self.default_s if asked_ms is None else asked_ms / 1000, self.longest_s)


@asynccontextmanager
async def within_deadline() -> AsyncIterator[None]:
    """Break off what runs within when the deadline of the request is over.

    Raises:
        DeadlineExceeded: it is over.
    """
    try:
        async with asyncio.timeout(remaining_s()) as limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise DeadlineExceeded("There was no answer in the time for this request.") from error
