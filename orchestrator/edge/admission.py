"""How many analyses may be under way at once, and what is counted about them."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from orchestrator.edge import problems
from orchestrator.errors import Overloaded
from orchestrator.telemetry import IN_FLIGHT, REQUESTS

MAX_IN_FLIGHT: Final = 64
"""Each may hold an upload and a decoded image, so that this bounds memory: 64 uploads of 10 MiB."""

RETRY_AFTER_S: Final = 2.0


class Admission:
    """Lets in at most ``limit`` analyses at a time. Used on one event loop, so that it needs no lock."""

    def __init__(self, limit: int = MAX_IN_FLIGHT) -> None:
        if limit < 1:
            raise ValueError(f"limit: expected at least 1, received {limit}")
        self._limit = limit
        self._inside = 0

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Raises :class:`~orchestrator.errors.Overloaded` where there is no room."""
        if self._inside >= self._limit:
            raise Overloaded(f"{self._limit} analyses are under way; no more are taken.", RETRY_AFTER_S)
        self._inside += 1
        IN_FLIGHT.inc()
        try:
            yield
        finally:
            self._inside -= 1
            IN_FLIGHT.dec()


@contextmanager
def counted(endpoint: str) -> Iterator[None]:
    """Count one request by its outcome: ``ok`` or the name of the problem that it ends in."""
    outcome = "cancelled"
    try:
        yield
        outcome = "ok"
    except Exception as error:
        outcome = problems.kind_of(error).name
        raise
    finally:
        REQUESTS.labels(endpoint, outcome).inc()
