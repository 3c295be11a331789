"""The port: something that runs a step on pixels beside the event loop."""

from collections.abc import Callable
from typing import ParamSpec, Protocol, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class ImageWorkers(Protocol):
    """Runs functions of images, a few at a time, in the order in which they are asked for."""

    async def start(self) -> None:
        """Get ready; optional, and then the first call takes longer."""

    async def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Return ``function(*args, **kwargs)``, or raise what it raises.

        ``function`` belongs to a module, and does the same wherever and however often it runs. The stages in
        it (:func:`orchestrator.observability.stages.stage`) count as the caller's.

        Raises:
            UndecodableImage: a process that ran it came to no end, or it and another to a sudden one by
                their own fault.
            ImageWorkersLost: something else ended such processes again and again.
        """

    async def close(self) -> None:
        """End what was started; nothing runs any more."""
