"""A route of the HTTP edge, declared once with all that it needs."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import Header
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from orchestrator.edge import problems
from orchestrator.edge.admission import counted
from orchestrator.edge.needs import Needs

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
    """One method of one path; ``described`` is what FastAPI tells of it in the OpenAPI document."""

    def __init__(
        self, method: str, path: str, endpoint: Callable[..., Any], needs: Needs, **described: Any
    ) -> None:
        self.method = method
        self.needs = needs
        super().__init__(path, endpoint, methods=[method], **described)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers; counted with the requests whose parameters FastAPI itself refuses."""
        handle = super().get_route_handler()
        if not self.needs.counted:
            return handle

        async def handle_counted(request: Request) -> Response:
            with counted(self.name, problems.kind_of):
                return await handle(request)

        return handle_counted
