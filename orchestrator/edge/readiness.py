"""Whether requests would be answered, now and in the next seconds: what the probes of all edges ask."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from orchestrator.edge.draining import Draining
from orchestrator.errors import ModelServerUnavailable
from orchestrator.model_server.base import ModelServer

READINESS_TIMEOUT_S: Final = 2.0


async def require_readiness(
    model_server: ModelServer, draining: Draining, probe_store: Callable[[], Awaitable[None]] | None = None
) -> None:
    """Return where this process is ready; ``probe_store`` is None where it has none.

    Raises:
        ModelServerUnavailable: it is about to stop, or the model server is not ready.
        StoreUnavailable: no order would be kept; it says what to do.
    """
    if draining.begun:
        raise ModelServerUnavailable("This process is about to stop.")
    try:
        async with asyncio.timeout(READINESS_TIMEOUT_S):
            ready = await model_server.ready()
    except TimeoutError as error:
        raise ModelServerUnavailable("The model server does not say that it is ready.") from error
    if not ready:
        raise ModelServerUnavailable("The model server is not ready.")
    if probe_store is not None:
        await probe_store()
