"""grpc.health.v1: the readiness of HTTP's ``/readyz``, for every service name that this server has."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from orchestrator.errors import ModelServerError, StoreError

REMEMBER_S: Final = 1.0
"""How long an answer of the model server holds; so many watchers may ask, and it is asked once a second."""

POLL_S: Final = 0.25

HEALTH_SERVICE: Final = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # generated
    """Answers probes.

    Args:
        require_readiness: raises ``ModelServerError`` or ``StoreError`` where this process is not ready.
        draining: whether it is about to stop; seen at once, whatever is remembered.
        services: names that may be asked for, beside the empty one for all of them.
        leaving: set when the server closes; watchers are then told so and let go.
    """

    def __init__(
        self,
        require_readiness: Callable[[], Awaitable[None]],
        draining: Callable[[], bool],
        services: tuple[str, ...],
        leaving: asyncio.Event,
    ) -> None:
        self._require_readiness = require_readiness
        self._draining = draining
        self._services = {"", *services}
        self._leaving = leaving
        self._ready = False
        self._good_until_s = 0.0
        self._asking = asyncio.Lock()

    async def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 (the protocol's name)
        """Whether a service is ready now."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, "There is no such service.")
        return _response(await self._is_ready())

    async def List(self, request: Any, context: Any) -> Any:  # noqa: N802, ARG002
        """All services and whether they are ready now."""
        found = _response(await self._is_ready())
        return health_pb2.HealthListResponse(statuses=dict.fromkeys(self._services, found))

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:  # noqa: N802, ARG002
        """Whether a service is ready, now and after each change."""
        if request.service not in self._services:
            yield health_pb2.HealthCheckResponse(
                status=health_pb2.HealthCheckResponse.ServingStatus.SERVICE_UNKNOWN
            )
            await self._leaving.wait()
            return
        said = None
        while True:
            ready = await self._is_ready()
            if ready != said:
                said = ready
                yield _response(ready)
            if self._leaving.is_set():
                return
            await asyncio.sleep(POLL_S)

    async def _is_ready(self) -> bool:
        if self._draining() or self._leaving.is_set():
            return False
        async with self._asking:
            now_s = asyncio.get_running_loop().time()
            if now_s >= self._good_until_s:
                try:
                    await self._require_readiness()
                    self._ready = True
                except (ModelServerError, StoreError):
                    self._ready = False
                self._good_until_s = now_s + REMEMBER_S
        return self._ready


def _response(ready: bool) -> Any:
    status = health_pb2.HealthCheckResponse.ServingStatus
    return health_pb2.HealthCheckResponse(status=status.SERVING if ready else status.NOT_SERVING)
