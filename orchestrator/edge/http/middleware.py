"""What every HTTP request goes through, whatever it asks for."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.draining import Draining
from orchestrator.edge.http import problems
from orchestrator.edge.http.response_headers import harden
from orchestrator.edge.http.route_table import found
from orchestrator.edge.request_identity import REQUEST_ID_HEADER, adopt_request_id
from orchestrator.observability.tracing import TRACEPARENT, request_span


class Traced:
    """Opens the root span of each request that is not a probe; see
    :mod:`orchestrator.observability.tracing`."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or found(scope).is_probe:
            await self.app(scope, receive, send)
            return
        with request_span(scope["method"], Headers(scope=scope).get(TRACEPARENT)) as span:

            async def send_noting_the_status(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.answered(message["status"], found(scope).path)
                await send(message)

            await self.app(scope, receive, send_noting_the_status)


class RequestEnvelope:
    """Gives a request its identity and its answer the identity and security headers.

    While the process drains, the answer is the last of its connection. The envelope also answers for
    unexpected exceptions, with a problem document that shows nothing of the inside. An exception after the
    first byte of an answer passes on, so that the server cuts the connection.
    """

    def __init__(self, app: ASGIApp, draining: Draining | None = None) -> None:
        self.app = app
        self._draining = draining or Draining()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = adopt_request_id(Headers(scope=scope).get(REQUEST_ID_HEADER))
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                headers[REQUEST_ID_HEADER] = request_id
                harden(headers, scope.get("scheme", "http"))
                if self._draining.begun:
                    headers["Connection"] = "close"
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise
            await problems.respond(error)(scope, receive, send_with_headers)
