"""An admission that notes what it was told of the images."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from orchestrator.edge.admission import Admission


class NotingAdmission(Admission):
    """Lets in as the real one, and has the pixels of each request in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels: list[int] = []

    @asynccontextmanager
    async def admitted(self, pixels: int = 0) -> AsyncIterator[None]:
        self.pixels.append(pixels)
        async with super().admitted(pixels):
            yield
