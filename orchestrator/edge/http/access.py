"""Access at the HTTP edge: who asks, whether they may, and not too often; before anything of theirs is
read."""

from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.access.rate_limits import peer_name
from orchestrator.edge.access.rules import REASONS, AccessRules, refusals_counted
from orchestrator.edge.access.security import (
    AccessDenied,
    AuthenticationUnavailable,
    Forbidden,
    Principal,
    is_loopback,
)
from orchestrator.edge.http import problems
from orchestrator.edge.http.response_headers import CORS_ANSWER_HEADERS, CORS_METHODS, CORS_REQUEST_HEADERS
from orchestrator.edge.http.route_table import found
from orchestrator.observability.metrics import ACCESS_REFUSED

PRINCIPAL: Final = "wbc_principal"
"""Under this name the scope of a request holds its :class:`~orchestrator.edge.access.security.Principal`."""

_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def acting_person(request: HTTPConnection) -> str:
    """The name that decisions and signatures are kept under: who was let in, else ``local``, where nobody is
    asked for a name; the service then listens to its own machine."""
    principal: Principal | None = request.scope.get(PRINCIPAL)
    return "local" if principal is None else principal.name


def access_middleware(rules: AccessRules) -> list[Middleware]:
    """The middleware that enforces these rules, outermost first."""
    doors = [Middleware(AccessControl, rules=rules)]
    if rules.origins:  # outside, because a browser asks whether it may ask without showing a credential
        cross_origin = Middleware(
            CORSMiddleware,
            allow_origins=sorted(rules.origins),
            allow_methods=CORS_METHODS,
            allow_headers=CORS_REQUEST_HEADERS,
            expose_headers=CORS_ANSWER_HEADERS,
        )
        doors.insert(0, cross_origin)
    return doors


class AccessControl:
    """Lets in who has a role that the route of their request needs, and says who it is."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self.app = app
        self._rules = rules
        for reason in REASONS.values():
            ACCESS_REFUSED.labels(reason)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            with refusals_counted():
                scope[PRINCIPAL], quota = await self._admit(scope)
        except (AccessDenied, AuthenticationUnavailable) as error:
            await problems.respond(error)(scope, receive, send)
            return

        async def send_with_quota(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(quota)
            await send(message)

        await self.app(scope, receive, send_with_quota if quota else send)

    async def _admit(self, scope: Scope) -> tuple[Principal, dict[str, str]]:
        """Who asks, and the headers that tell them how often they still may."""
        headers = Headers(scope=scope)
        self._refuse_other_sites(scope, headers)
        needs, limits = found(scope).needs, self._rules.rate_limits
        peer = peer_name(scope["client"][0] if scope.get("client") else None)
        principal, quota = await self._rules.admitted(headers.items(), peer, needs)
        return principal, limits.fields(quota) if limits and quota else {}

    def _refuse_other_sites(self, scope: Scope, headers: Headers) -> None:
        """Refuse what a page of another site makes the browser of a user send.

        A browser sends a form to any address, its own machine included, and says from where: by
        ``Sec-Fetch-Site``, and older ones by ``Origin``. And a page whose own name is made to mean this
        machine (DNS rebinding) is known by that name in ``Host``.
        """
        address = str((scope.get("server") or ("",))[0])
        if (
            self._rules.open_on_loopback
            and is_loopback(address)
            and not is_loopback(_name_in(headers.get("host", "")))
        ):
            raise Forbidden("Without authentication this service is for its own machine: ask localhost.")
        if scope["method"] in _SAFE_METHODS:
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        if origin in self._rules.origins:
            return
        if site is None:
            own = origin is None or _host_in(origin) == headers.get("host")
        else:
            own = site in ("same-origin", "none")
        if not own:
            raise Forbidden("A page of another site asks; WBC_SECURITY__CORS_ORIGINS lists those that may.")


def _name_in(header: str) -> str:
    """The name or address in a ``Host`` header, without the port."""
    return header.partition("]")[0] if header.startswith("[") else header.partition(":")[0]


def _host_in(origin: str) -> str:
    """Host and port of an origin; empty where it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
