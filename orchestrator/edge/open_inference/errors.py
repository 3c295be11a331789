"""Errors under ``/v2`` in the form of the Open Inference Protocol: ``{"error": "..."}``.

Wherever an error arises, in an endpoint, the router, access control or the outermost middleware, it is a
problem document with the right status first; here it is told in the form that clients of the protocol read.
"""

import json
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from orchestrator.edge.http import problems
from orchestrator.edge.open_inference.schemas import InferenceError

PREFIX: Final = "/v2"

_START: Final = "http.response.start"


class OpenInferenceErrors:
    """Rewrites the problem documents of the paths under ``/v2``; status and other headers stay."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].split("/")[1:2] != [PREFIX[1:]]:
            await self.app(scope, receive, send)
            return
        start: Message | None = None
        body = bytearray()

        async def send_in_their_form(message: Message) -> None:
            nonlocal start
            if message["type"] == _START and _is_problem(message):
                start = message
                return
            if start is None:
                await send(message)
                return
            body.extend(message.get("body", b""))
            if message.get("more_body", False):
                return
            error = InferenceError(error=json.loads(body)["detail"]).model_dump_json().encode()
            headers = MutableHeaders(scope=start)
            headers["Content-Type"] = "application/json"
            headers["Content-Length"] = str(len(error))
            await send(start)
            await send({"type": "http.response.body", "body": error})

        await self.app(scope, receive, send_in_their_form)


def _is_problem(message: Message) -> bool:
    return MutableHeaders(scope=message).get("content-type", "").startswith(problems.MEDIA_TYPE)
