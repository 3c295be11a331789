"""A route of the HTTP edge, declared once with all that it needs."""

from collections.abc import Callable, Coroutine, Iterable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.edge.access.needs import Needs
from orchestrator.edge.admission import counted
from orchestrator.edge.http import problems
from orchestrator.errors import WbcError

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


class Endpoint(APIRoute):
    """One method of one path.

    Args:
        method: in capitals.
        path: with its parameters in braces.
        endpoint: what answers; its name is the route's, where none is ``described``.
        needs: what the route needs of those who stand before it.
        refusals: errors that it may answer with, which the OpenAPI document then tells beside ``responses``.
        described: what else FastAPI tells of it there; its operation has the name of the route.
    """

    def __init__(
        self,
        method: str,
        path: str,
        endpoint: Callable[..., Any],
        needs: Needs,
        *,
        refusals: Iterable[type[WbcError]] = (),
        responses: Mapping[int | str, Mapping[str, Any]] = MappingProxyType({}),
        **described: Any,
    ) -> None:
        self.method = method
        self.needs = needs
        answers = {status: dict(told) for status, told in responses.items()} | problems.responses(*refusals)
        super().__init__(path, endpoint, methods=[method], responses=answers, **described)
        self.operation_id = self.operation_id or self.name

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers; counted with the requests whose parameters FastAPI itself refuses."""
        handle = super().get_route_handler()
        if not self.needs.counted:
            return handle

        async def handle_counted(request: Request) -> Response:
            with counted(self.name, problems.kind_of):
                return await handle(request)

        return handle_counted
