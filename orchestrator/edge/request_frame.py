"""The frame of a request, whichever edge it came through: its end in time, and its place among the others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from orchestrator.analyse import AnalysisOptions, Services, analyse
from orchestrator.analyse_field import FieldOptions, analyse_field
from orchestrator.common.deadline import deadline, remaining_s
from orchestrator.domain import Analysis, FieldAnalysis
from orchestrator.edge.admission import Admission
from orchestrator.errors import DeadlineExceeded
from orchestrator.observability.request_context import current_request_id
from orchestrator.vision.containers import pixels_of

Sent = TypeVar("Sent")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds that a request has: by default, and at most."""

    default_s: float = 15.0
    longest_s: float = 30.0

    def seconds(self, asked_ms: int | None) -> float:
        """What a request gets that asks for ``asked_ms`` milliseconds, or for nothing."""
        return min(self.default_s if asked_ms is None else asked_ms / 1000, self.longest_s)


class RequestFrame:
    """What every request that analyses goes through, with the places that all edges share."""

    def __init__(self, services: Services, admission: Admission) -> None:
        self._services = services
        self._admission = admission

    @asynccontextmanager
    async def begun(
        self,
        time_s: float,
        read: Callable[[], Awaitable[Sent]],
        images_of: Callable[[Sent], Sequence[bytes]] = lambda _: (),
        max_pixels: int | None = None,
    ) -> AsyncIterator[Sent]:
        """What ``read`` gives, within ``time_s`` seconds from now and with a place among those under way.

        The place last: whoever sends slowly would hold it from all others, with nothing to do in it. The
        images that what was sent holds (``images_of``) take more places the larger they are together;
        one of more than ``max_pixels`` (None: as of a cell) will be refused and takes no more than one.

        Raises:
            Overloaded: there is no place; also before anything is read.
            DeadlineExceeded: the time is over.
        """
        with deadline(time_s):
            self._admission.refuse_if_full()
            sent = await read()
            images = images_of(sent)
            pixels = await asyncio.to_thread(self._pixels, images, max_pixels) if images else 0
            async with self._admission.admitted(pixels), within_deadline():
                yield sent

    def _pixels(self, images: Sequence[bytes], max_pixels: int | None) -> int:
        """As their headers say; 0 of one that will be refused."""
        most = max_pixels or self._services.decode_limits.max_pixels
        return sum(pixels for pixels in map(pixels_of, images) if pixels <= most)

    async def analysed(self, image: bytes, options: AnalysisOptions) -> Analysis:
        """The analysis of one image of this request; raises as :func:`~orchestrator.analyse.analyse`."""
        return await analyse(image, self._services, options, current_request_id())

    async def field_analysed(self, image: bytes, options: FieldOptions) -> FieldAnalysis:
        """The analysis of one field of this request; raises as
        :func:`~orchestrator.analyse_field.analyse_field`."""
        return await analyse_field(image, self._services, options, current_request_id())


@asynccontextmanager
async def within(time_s: float) -> AsyncIterator[None]:
    """Break off what runs within after ``time_s`` seconds. Raises as :func:`within_deadline`."""
    with deadline(time_s):
        async with within_deadline():
            yield


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
