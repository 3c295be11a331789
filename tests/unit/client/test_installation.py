"""The client installs and works without the service and what the service needs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("cv2", "fastapi", "numpy", "openvino", "orchestrator", "PIL", "pydantic", "starlette", "uvicorn")


@pytest.fixture(scope="module")
def source(project_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the client's folder, and of the messages beside it, as a clone has them."""
    clone = tmp_path_factory.mktemp("source")
    ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    for folder in ("client", "protos"):
        shutil.copytree(project_root / "orchestrator" / folder, clone / folder, ignore=ignored)
    return clone / "client"


def content(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


@pytest.fixture(scope="module")
def installed(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the distribution alone, as pip puts it there; nothing is left behind in the source."""
    target = tmp_path_factory.mktemp("target")
    before = content(source.parent)
    options = ["--no-index", "--no-deps", "--no-build-isolation", "--no-compile", "--target", str(target)]
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "--quiet",
        *options,
        str(source),
    ]
    run = subprocess.run(pip, timeout=120, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert content(source.parent) == before
    return target


def test_its_package_holds_nothing_of_the_build(installed: Path):
    assert not (installed / "wbc_client" / "setup.py").exists()
    assert {path.name for path in installed.iterdir() if not path.name.endswith(".dist-info")} == {
        "wbc_client"
    }


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
