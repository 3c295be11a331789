"""The HTTP edge beside the test, without a socket, and clients of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import httpx2
from fastapi import FastAPI


@contextmanager
def started(app: FastAPI) -> Iterator[FastAPI]:
    """An application that several tests share, each with an event loop of its own; for services, as the
    fakes are, that leave nothing running on the loop that they were started on."""
    lifespan = app.router.lifespan_context(app)
    with asyncio.Runner() as runner:
        runner.run(lifespan.__aenter__())
        yield app
        runner.run(lifespan.__aexit__(None, None, None))


def asking(app: FastAPI) -> httpx2.AsyncClient:
    """A client of an application that is started, or that need not be."""
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://service")


@asynccontextmanager
async def client_of(app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of an application that is started for them alone."""
    async with asking(app) as client, app.router.lifespan_context(app):
        yield client
