from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from fastapi import FastAPI

from orchestrator.bootstrap.services import build_app, build_services
from orchestrator.settings import Settings
from tests.export_fixture import small_exported_model
from tests.fakes.model_server import FakeModelServer
from tests.http_edge import asking, started
from tests.synthetic_cells import cell_file

__all__ = ["small_exported_model"]


@pytest.fixture(scope="session")
def cell() -> bytes:
    """The image of one cell, for tests that any image would do for."""
    return cell_file()


@pytest.fixture(scope="module")
def plain_app() -> Iterator[FastAPI]:
    """The service as it is by default, with a model server that knows colours; it keeps nothing."""
    with started(build_app(Settings(), build_services(Settings(), model_server=FakeModelServer()))) as app:
        yield app


@pytest.fixture
async def client(plain_app: FastAPI) -> AsyncIterator[httpx2.AsyncClient]:
    """Of ``plain_app``."""
    async with asking(plain_app) as client:
        yield client
