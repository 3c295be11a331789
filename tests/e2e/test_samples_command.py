"""`wbc samples`: what it paints, and that the served model knows it."""

import asyncio
import resource
import signal
from collections import Counter
from contextlib import contextmanager

import pytest
from typer.testing import CliRunner

from orchestrator.analyse import analyse
from orchestrator.bootstrap.services import build_services
from orchestrator.commands.cli import app
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.settings import Settings


@contextmanager
def limited_file_size(size):
    """As on a full disk: no file gets longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def painted(folder, *options):
    """File names, with those of their folders, to bytes."""
    done = CliRunner().invoke(app, ["samples", str(folder), *map(str, options)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}, done.stdout


def test_cells_are_shared_out_evenly_and_numbered_within_their_class(tmp_path):
    files, said = painted(tmp_path / "some" / "where", "--cells", 7)

    assert list(files) == [
        "Basophil/001.png", "Basophil/002.png", "Eosinophil/001.png", "Eosinophil/002.png",
        "Lymphocyte/001.png", "Monocyte/001.png", "Neutrophil/001.png",
    ]  # fmt: skip
    assert all(data.startswith(b"\x89PNG") for data in files.values())
    assert "2 Basophil, 2 Eosinophil, 1 Lymphocyte" in said
    assert DISCLAIMER in said


def test_the_same_seed_paints_the_same_and_another_something_else(tmp_path):
    first, again, other = (
        painted(tmp_path / name, "--cells", 5, "--seed", seed)[0]
        for name, seed in (("first", 3), ("again", 3), ("other", 4))
    )

    assert first == again
    assert first.keys() == other.keys()
    assert not set(first.values()) & set(other.values())


def test_more_cells_are_the_same_and_others_more(tmp_path):
    few, many = painted(tmp_path / "few", "--cells", 2)[0], painted(tmp_path / "many", "--cells", 6)[0]

    assert few.items() <= many.items()
    assert len(set(many.values())) == 6


@pytest.mark.parametrize("name", ["holds-a-file", "holds-a-file/file"])
def test_a_folder_that_holds_something_is_refused_and_left_as_it_is(tmp_path, name):
    (tmp_path / "holds-a-file").mkdir()
    (tmp_path / "holds-a-file" / "file").write_text("mine")

    with pytest.raises(ConfigurationError, match=name):
        painted(tmp_path / name)

    assert [path.name for path in tmp_path.rglob("*")] == ["holds-a-file", "file"]
    assert (tmp_path / "holds-a-file" / "file").read_text() == "mine"


def test_a_folder_that_takes_no_file_is_told(tmp_path):
    with limited_file_size(10), pytest.raises(ConfigurationError, match="cannot write to"):
        painted(tmp_path / "full", "--cells", 1)


def test_the_served_model_knows_most_of_what_is_painted(tmp_path):
    files, _ = painted(tmp_path / "cells", "--cells", 10)

    async def classes():
        services = build_services(Settings())
        async with services.running():
            return [(await analyse(data, services)).finding.class_name for data in files.values()]

    found = asyncio.run(classes())

    right = Counter(name for name, path in zip(found, files, strict=True) if path.startswith(name))
    assert sum(right.values()) >= 8
    assert len(right) >= len(CLASS_NAMES) - 1
