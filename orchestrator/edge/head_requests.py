"""HEAD wherever there is GET (RFC 9110, section 9.3.2): the same status and headers, and no body."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HeadAsGet:
    """Shows a HEAD to all that is behind it as a GET, so that it is admitted, refused and answered as one.

    The answer ends with its headers: behind a server a stream then sees its caller gone, and ends as well.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self.app(scope, receive, send)
            return

        async def send_headers_alone(message: Message) -> None:
            if message["type"] == "http.response.start":
                await send(message)
                await send({"type": "http.response.body", "body": b""})

        # A copy: the server goes by its own scope, and by HEAD there, when it frames the answer.
        await self.app({**scope, "method": "GET"}, receive, send_headers_alone)
