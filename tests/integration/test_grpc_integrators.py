"""What an integrator writes, against the edge: C++ made from the proto, Python from the client's README."""

import asyncio
import re
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from orchestrator.bootstrap.services import build_services
from orchestrator.bootstrap.specimens import build_specimens
from orchestrator.domain import DISCLAIMER
from orchestrator.edge.admission import Admission
from orchestrator.edge.draining import Draining
from orchestrator.labels import CELL_LABELS
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import DifferentialSettings, Settings
from tests.fakes.memory_store import MemoryStore
from tests.fakes.model_server import FakeModelServer
from tests.grpc_edge import grpc_edge
from tests.running_service import free_port
from tests.synthetic_cells import synthetic_cell

CLIENT = Path("orchestrator") / "client"


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work") / "cells"
    folder.mkdir()
    for seed, name in enumerate(CLASS_NAMES):
        cv2.imwrite(str(folder / f"{seed}.png"), synthetic_cell(name, seed, 200)[:, :, ::-1])
    return folder


def run(*command: str | Path, cwd: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=cwd,
        env=environment or None,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def cpp_program(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tools = {tool: shutil.which(tool) for tool in ("protoc", "grpc_cpp_plugin", "g++", "pkg-config")}
    if missing := [tool for tool, path in tools.items() if path is None]:
        pytest.skip(f"no {', '.join(missing)}: apt-get install g++ pkg-config protobuf-compiler-grpc")
    folder = tmp_path_factory.mktemp("cpp")
    libraries = run("pkg-config", "--cflags", "--libs", "grpc++", "protobuf", cwd=folder)
    if libraries.returncode:
        pytest.skip("no grpc++ or protobuf for C++: apt-get install libgrpc++-dev libprotobuf-dev")
    protoc = run(
        "protoc",
        f"--proto_path={project_root / 'orchestrator/protos'}",
        "--cpp_out=.",
        "--grpc_out=.",
        f"--plugin=protoc-gen-grpc={tools['grpc_cpp_plugin']}",
        "wbc/v1/wbc.proto",
        cwd=folder,
    )
    assert protoc.returncode == 0, protoc.stderr
    # As one unit: the headers of gRPC, which are most of the work, are read once.
    sources = ("wbc/v1/wbc.pb.cc", "wbc/v1/wbc.grpc.pb.cc", project_root / CLIENT / "examples/cpp/analyse.cc")
    (folder / "all.cc").write_text("".join(f'#include "{source}"\n' for source in sources))
    compiled = run(
        "g++", "-std=c++17", "-O0", "-I.", "all.cc", "-o", "analyse", *libraries.stdout.split(), cwd=folder
    )
    assert compiled.returncode == 0, compiled.stderr
    return folder / "analyse"


async def test_a_cpp_program_made_from_the_proto_gets_results(cpp_program, cells):
    (cells.parent / "no-image").write_bytes(b"no image")
    paths = [*sorted(cells.iterdir()), cells.parent / "no-image"]
    async with grpc_edge(FakeModelServer()) as edge:
        answered = await asyncio.to_thread(run, cpp_program, edge.target, *paths, cwd=cells)
    assert answered.returncode == 3, answered.stderr  # one file is no image
    lines = {line[0]: line[1:] for line in (text.split("\t") for text in answered.stdout.splitlines())}
    assert set(lines) == {str(place) for place in range(6)}
    assert lines.pop("5")[0] == "UNSUPPORTED_IMAGE"
    for class_name, confidence, _, heatmap_bytes, disclaimer in lines.values():
        assert class_name.removeprefix("CELL_CLASS_").capitalize() in CLASS_NAMES
        assert 0.2 <= float(confidence) <= 1
        assert int(heatmap_bytes) > 1000
        assert disclaimer == DISCLAIMER


def test_a_cpp_program_is_told_where_there_is_no_service(cpp_program, cells):
    answered = run(cpp_program, f"localhost:{free_port()}", cells / "0.png", cwd=cells)
    assert (answered.returncode, answered.stderr[:3]) == (1, "14:")


async def test_the_readme_of_the_python_client_is_true(cells, project_root):
    text = (project_root / CLIENT / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert "localhost:9000" in code
    assert "from wbc_client import" in code
    settings = Settings(differential=DifferentialSettings(min_cells=4))
    model_server = FakeModelServer()
    services = build_services(settings, model_server=model_server)
    specimens = build_specimens(settings.differential, services, MemoryStore(), Admission(), Draining())
    async with grpc_edge(model_server, settings=settings, specimens=specimens) as edge:
        program = code.replace("localhost:9000", edge.target).replace("wbc_client", "orchestrator.client")
        ran = await asyncio.to_thread(
            run,
            sys.executable,
            "-c",
            program,
            cwd=cells.parent,
            PYTHONPATH=str(project_root),
            PYTHONIOENCODING="utf-8",
        )
    assert ran.returncode == 0, ran.stderr
    first, *others = ran.stdout.splitlines()
    assert first.split()[0] in CLASS_NAMES
    assert others.pop(5).startswith("{")  # the counts of a field, then its cells with their boxes
    assert sorted(line.split()[0] for line in others[:5]) == [f"{n}.png" for n in range(5)]
    assert {line.split()[1] for line in others[:5]} <= set(CLASS_NAMES)
    assert [line.split()[0] for line in others[5:]] == list(CELL_LABELS)
    assert sum(int(line.split()[1]) for line in others[5:]) == 5
