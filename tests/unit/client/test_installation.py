"""The client installs and works without the service and what the service needs."""

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("cv2", "fastapi", "numpy", "openvino", "orchestrator", "PIL", "pydantic", "starlette", "uvicorn")


@pytest.fixture(scope="module")
def installed(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution alone, as pip puts it together."""
    source, target = tmp_path_factory.mktemp("source") / "client", tmp_path_factory.mktemp("target")
    # A copy, because setuptools leaves its build folder behind.
    tracked = project_root / "orchestrator" / "client"
    for path in tracked.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(tracked)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    script = "from setuptools import setup; setup()"
    build = [sys.executable, "-c", script, "--quiet", "build", "--build-lib", str(target)]
    subprocess.run(build, cwd=source, check=True, timeout=60, capture_output=True)
    return target


def test_it_brings_its_protos_and_types(installed: Path):
    package = installed / "wbc_client"
    assert (package / "py.typed").is_file()
    assert (package / "protos/wbc/v1/wbc.proto").is_file()
    assert (package / "protos/wbc/v1/wbc_pb2.pyi").is_file()


def test_it_loads_nothing_of_the_service(installed: Path):
    program = (
        "import sys, wbc_client\n"
        "wbc_client.Client(wbc_client.Connection('127.0.0.1:1')).close()\n"
        f"print(sorted({set(HEAVY)!r} & set(sys.modules)), wbc_client.__file__)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONPATH": str(installed)},
        cwd=installed,
        check=True,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert run.stdout.strip() == f"[] {installed}/wbc_client/__init__.py"
