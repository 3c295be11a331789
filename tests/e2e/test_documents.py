"""Every command and program of the documents, run page by page in what a clone holds, as a reader would."""

import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import PROJECT_ROOT
from tests.documents import RUN, Block, blocks_of, fresh_clone, run_script, script_of, tracked_files
from tests.running_service import running_service

PAGE_TIMEOUT_S = 600
"""For a page on a busy machine; alone the longest takes a tenth of it."""

HTTP, GRPC = 8000, 9000
OTHER_PORTS = (8001, 2575, 8089, 8042)
"""Of what the documents start themselves."""

PAGES = ("page", "api", "integrate", "operate", "security", "reports", "training")
"""Those that teach commands."""


def pages_with_code() -> list[str]:
    if not (PROJECT_ROOT / ".git").exists():  # which says what is tracked
        return []
    pages = tracked_files(PROJECT_ROOT, "*.md")
    return [str(page) for page in pages if "```" in (PROJECT_ROOT / page).read_text(encoding="utf-8")]


def blocks_of_page(page: str) -> list[Block]:
    return blocks_of((PROJECT_ROOT / page).read_text(encoding="utf-8"), page)


def free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        probes = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


@dataclass
class Clone:
    """What is tracked, beside a running service of it; ports of the documents and those in their place."""

    folder: Path
    ports: dict[int, int]
    environment: dict[str, str]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = fresh_clone(PROJECT_ROOT, tmp_path_factory.mktemp("clone"))
    # What `pip install ./orchestrator/client` would put beside the other packages.
    installed = tmp_path_factory.mktemp("installed")
    package = installed / "wbc_client"
    shutil.copytree(folder / "orchestrator" / "client" / "distribution", package)
    for name in ("client", "protos"):
        (package / name).symlink_to(folder / "orchestrator" / name)
    ports = dict(zip((GRPC, *OTHER_PORTS), free_ports(1 + len(OTHER_PORTS)), strict=True))
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (folder, installed)))}
    settings = {"WBC_GRPC__PORT": str(ports[GRPC]), "WBC_STORE__URL": "sqlite:///data/wbc.db"}
    (folder / "data").mkdir()
    with running_service(environment=environment | settings, folder=folder) as service:
        ports[HTTP] = urlsplit(service.url).port or HTTP
        # What other programs of this machine do on port 8000 is no matter of the documents.
        yield Clone(folder, ports, environment | {"WBC_HTTP__PORT": str(ports[HTTP])})


@pytest.mark.parametrize("page", pages_with_code())
def test_every_command_of_a_page_runs_in_a_fresh_clone(clone: Clone, page: str) -> None:
    code, said = run_script(
        script_of(blocks_of_page(page), clone.ports), clone.folder, clone.environment, PAGE_TIMEOUT_S
    )
    assert code == 0, said


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{page}.md" for page in PAGES)])
def test_a_page_for_readers_has_commands_that_are_run(page: str) -> None:
    assert any(block.language in RUN and block.not_run is None for block in blocks_of_page(page))
