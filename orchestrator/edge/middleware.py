"""What every HTTP request goes through, whatever it asks for."""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge import problems
from orchestrator.edge.request_identity import REQUEST_ID_HEADER, adopt_request_id

# Results are health data: no cache, no framing, no guessing of types, no address passed on.
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Envelope:
    """Gives a request its identity and its answer the identity and security headers.

    It also answers for unexpected exceptions, with a problem document that shows nothing of the inside.
    An exception after the first byte of an answer passes on, so that the server cuts the connection.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

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
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self.app(scope, receive, send_with_headers)
        except Exception as error:
            if started:
                raise
            await problems.respond(error)(scope, receive, send_with_headers)
