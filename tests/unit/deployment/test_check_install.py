"""`make check-install` notices a lock from which an installation cannot be made, or is not whole."""

import hashlib
import importlib.util
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

OPTIONS = ["--no-deps", "--require-hashes", "--only-binary", ":all:"]


@pytest.fixture
def check_install(project_root):
    path = project_root / ".ci" / "check_install.py"
    specification = importlib.util.spec_from_file_location("check_install", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory):
    """Makes environments as this one does, each a copy of its first: what is tested is what pip then does."""
    folder = tmp_path_factory.mktemp("interpreter")
    subprocess.run([sys.executable, "-m", "venv", folder / "first"], check=True)
    program = folder / "python"
    program.write_text(f'#!/bin/sh\nexec cp -a "{folder}/first" "$3"\n')
    program.chmod(0o755)
    return str(program)


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of wheels, the only place from which pip may take any."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def wheel(shelf: Path, name: str, *needs: str) -> str:
    """Put a package without code on the shelf; its line in a lock file."""
    path = shelf / f"{name}-1.0-py3-none-any.whl"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    metadata += "Provides-Extra: more\n" + "".join(f"Requires-Dist: {need}\n" for need in needs)
    files = {
        "METADATA": metadata,
        "WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name}-1.0.dist-info/{file},,\n" for file in (*files, "RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in (*files.items(), ("RECORD", record)):
            archive.writestr(f"{name}-1.0.dist-info/{file}", text)
    return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def made(check_install, tmp_path: Path, lines: str, python: str) -> Path:
    lock = tmp_path / "lock.txt"
    lock.write_text(lines)
    return check_install.make_environment(tmp_path / "environment", lock, OPTIONS, python)


def test_a_whole_lock_is_installed(check_install, shelf, tmp_path):
    lines = wheel(shelf, "alpha", "beta>=1") + wheel(shelf, "beta")
    assert made(check_install, tmp_path, lines, sys.executable).exists()


def test_a_dependency_that_the_lock_does_not_pin_fails_though_an_index_has_it(
    check_install, shelf, tmp_path, interpreter
):
    wheel(shelf, "beta")
    with pytest.raises(check_install.InstallFailed, match="beta"):
        made(check_install, tmp_path, wheel(shelf, "alpha", "beta>=1"), interpreter)


def test_a_dependency_of_an_extra_alone_that_the_lock_does_not_pin_fails(
    check_install, shelf, tmp_path, interpreter
):
    wheel(shelf, "gamma")
    lines = wheel(shelf, "alpha", "beta[more]>=1") + wheel(shelf, "beta", 'gamma; extra == "more"')
    with pytest.raises(check_install.InstallFailed, match="gamma"):
        made(check_install, tmp_path, lines, interpreter)


def test_a_dependency_that_no_index_has_fails(check_install, shelf, tmp_path, interpreter):
    with pytest.raises(check_install.InstallFailed, match="beta"):
        made(check_install, tmp_path, wheel(shelf, "alpha", "beta>=1"), interpreter)


def test_a_pin_without_its_hash_fails(check_install, shelf, tmp_path, interpreter):
    wheel(shelf, "beta")
    with pytest.raises(check_install.InstallFailed, match="hash"):
        made(check_install, tmp_path, wheel(shelf, "alpha", "beta>=1") + "beta==1.0\n", interpreter)


def test_the_makefile_resolves_nothing_when_it_installs(project_root):
    assert f"LOCKED := {' '.join(OPTIONS)}\n" in (project_root / "Makefile").read_text()
