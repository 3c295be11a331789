"""What a probe costs: `/livez` through the whole application, beside a bare FastAPI that has nothing else.

    python -m loadtests.probe_overhead

Both are asked in turns over ASGI in this process, without a server, and their processor time is compared.
"""

import asyncio
import statistics
import time
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Message

from loadtests.canned_service import CannedModelServer
from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.documents.model import Health
from orchestrator.settings import Settings

ROUNDS: Final = 300
REQUESTS: Final = 100

SCOPE: Final[dict[str, Any]] = {
    "type": "http",
    "http_version": "1.1",
    "scheme": "http",
    "method": "GET",
    "path": "/livez",
    "raw_path": b"/livez",
    "root_path": "",
    "query_string": b"",
    "headers": [(b"host", b"localhost")],
    "server": ("127.0.0.1", 8000),
    "client": ("127.0.0.1", 40000),
}


async def live() -> Health:
    """Whether this process runs."""
    return Health(status="live")


async def receive() -> Message:
    """A request without a body."""
    return {"type": "http.request", "body": b"", "more_body": False}


async def send(message: Message) -> None:
    """Takes the answer, which must be a good one."""
    assert message.get("status", 200) == 200


async def microseconds(app: ASGIApp) -> float:
    """Of processor time for one request, the mean of a round."""
    begun_s = time.process_time()
    for _ in range(REQUESTS):
        await app(dict(SCOPE), receive, send)
    return (time.process_time() - begun_s) / REQUESTS * 1e6


async def main() -> None:
    """Compare, and say it."""
    settings = Settings()
    service = build_app(settings, build_services(settings, model_server=CannedModelServer()))
    bare = FastAPI(routes=[APIRoute("/livez", live)])
    await microseconds(service)
    await microseconds(bare)
    pairs = [(await microseconds(service), await microseconds(bare)) for _ in range(ROUNDS)]
    ours, theirs = zip(*pairs, strict=True)
    for name, times in (("service", ours), ("bare FastAPI", theirs)):
        print(f"{name:13} best {min(times):6.1f} us, median {statistics.median(times):6.1f} us")
    ratio = statistics.median(one / other for one, other in pairs)
    print(f"{'ratio':13} best {min(ours) / min(theirs):6.2f}, median of the pairs {ratio:.2f}")


if __name__ == "__main__":
    asyncio.run(main())
