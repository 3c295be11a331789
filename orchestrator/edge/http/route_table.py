"""Which route answers a request: found once, before all else, and read by all that follows.

A path without parameters is looked up; any other is compared with one pattern after the other.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.access.needs import Needs
from orchestrator.edge.http.endpoint import Endpoint
from orchestrator.edge.http.paths import path_within

FOUND: Final = "wbc_route"
"""Under this name the scope of a request holds what :class:`Routed` found."""

Methods = dict[str, Endpoint]
"""The routes of one path, by their methods."""


@dataclass(frozen=True, slots=True)
class Found:
    """What answers one request.

    Args:
        route: None where there is no such path, or the path has another method.
        path: as it was declared, whatever the method; None where there is no such path.
        allowed: the methods of the path, sorted, where ``route`` is None (RFC 9110, section 10.2.1).
        parameters: what the path names.
    """

    route: Endpoint | None = None
    path: str | None = None
    allowed: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def needs(self) -> Needs | None:
        """Of the route; None where there is none."""
        return None if self.route is None else self.route.needs

    @property
    def is_probe(self) -> bool:
        """Whether a program asks how this process is."""
        return self.route is not None and self.route.needs.probe


class RouteTable:
    """The routes of an application.

    Raises:
        TypeError: a route does not say what it needs.
    """

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self._plain: dict[str, Methods] = {}
        self._with_parameters: dict[str, Methods] = {}
        for route in routes:
            if not isinstance(route, Endpoint):
                raise TypeError(f"{route!r} does not say what it needs: declare it as an Endpoint")
            kind = self._with_parameters if route.param_convertors else self._plain
            kind.setdefault(route.path, {}).setdefault(route.method, route)

    def find(self, scope: Scope) -> Found:
        """The route of a request; the first that was declared, and one without parameters before others."""
        seen, allowed = None, set[str]()
        for methods, parameters in self._of_path(path_within(scope)):
            route = methods.get(scope["method"])
            if route is not None:
                return Found(route, route.path, parameters=parameters)
            seen = seen or next(iter(methods.values())).path
            allowed |= methods.keys()
        return Found(None, seen, tuple(sorted(allowed | {"HEAD"} if "GET" in allowed else allowed)))

    def _of_path(self, path: str) -> Iterator[tuple[Methods, Mapping[str, Any]]]:
        if path in self._plain:
            yield self._plain[path], {}
        for methods in self._with_parameters.values():
            declared = next(iter(methods.values()))
            if match := declared.path_regex.match(path):
                converters = declared.param_convertors
                yield methods, {name: converters[name].convert(of) for name, of in match.groupdict().items()}


class Routed:
    """Outermost: finds the route of each request, which :func:`found` then tells.

    HEAD is answered wherever GET is (RFC 9110, section 9.3.2): it is shown to all that follows as a GET, so
    that it is admitted, refused and answered as one, and its answer ends with its headers; behind a server a
    stream then sees its caller gone, and ends as well.
    """

    def __init__(self, app: ASGIApp, table: RouteTable) -> None:
        self.app = app
        self._table = table

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if scope["method"] == "HEAD":
            # A copy: the server goes by its own scope, and by HEAD there, when it frames the answer.
            scope, send = {**scope, "method": "GET"}, _headers_alone(send)
        scope[FOUND] = self._table.find(scope)
        await self.app(scope, receive, send)


class Dispatch(BaseRoute):
    """The first route of an application, so that the framework asks no other. It hands each request to the
    one that :class:`Routed` found; raises 404 or 405, as the framework's router, where there is none."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Always, for HTTP."""
        return (Match.FULL if scope["type"] == "http" else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        of = found(scope)
        if of.route is None:
            if of.path is None:
                raise HTTPException(404)
            raise HTTPException(405, headers={"Allow": ", ".join(of.allowed)})
        scope["path_params"] = {**scope.get("path_params", {}), **of.parameters}
        await of.route.app(scope, receive, send)


def found(scope: Scope) -> Found:
    """What :class:`Routed` found for this request."""
    of: Found = scope[FOUND]
    return of


def _headers_alone(send: Send) -> Send:
    async def send_headers_alone(message: Message) -> None:
        if message["type"] == "http.response.start":
            await send(message)
            await send({"type": "http.response.body", "body": b""})

    return send_headers_alone
