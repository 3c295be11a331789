import logging
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from orchestrator.edge.tls.renewed_files import CHECK_EVERY_S, RenewedFiles
from orchestrator.errors import ConfigurationError


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Reader:
    """Joins the contents of its files, and counts how often."""

    def __init__(self, *paths: Path) -> None:
        self.paths = paths
        self.reads = 0

    def __call__(self) -> str:
        self.reads += 1
        try:
            text = " ".join(path.read_text() for path in self.paths)
        except OSError as error:
            raise ConfigurationError("a file cannot be read") from error
        if "broken" in text:
            raise ConfigurationError("the key is not the one of the certificate")
        return text


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("certificate", "key"):
        (tmp_path / name).write_text(f"{name}-1")
    return tmp_path / "certificate", tmp_path / "key"


def replace(path: Path, text: str) -> None:
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


def refused() -> float | None:
    return REGISTRY.get_sample_value("wbc_tls_files_refused", {"edge": "http"})


def test_new_files_are_used_within_a_second_and_read_once(paths):
    clock, reader = Clock(), Reader(*paths)
    files = RenewedFiles("http", paths, reader, clock=clock)
    replace(paths[1], "key-2")
    assert files.current() == "certificate-1 key-1"  # so many may connect: files are looked at once a second
    clock.now_s += CHECK_EVERY_S
    for _ in range(5):
        assert files.current() == "certificate-1 key-2"
        clock.now_s += CHECK_EVERY_S
    assert reader.reads == 2


def test_what_links_lead_to_counts(tmp_path):
    """Kubernetes swaps one link to a folder, and the times of both files may be the same."""
    for version in ("1", "2"):
        folder = tmp_path / version
        folder.mkdir()
        (folder / "certificate").write_text(f"certificate-{version}")
        os.utime(folder / "certificate", (7, 7))
    link, clock = tmp_path / "now", Clock()
    link.symlink_to(tmp_path / "1")
    path = link / "certificate"
    files = RenewedFiles("http", (path,), Reader(path), clock=clock)
    link.unlink()
    link.symlink_to(tmp_path / "2")
    clock.now_s += CHECK_EVERY_S
    assert files.current() == "certificate-2"


@pytest.mark.parametrize("mend", ["certificate-3", "certificate-1"])
def test_while_the_files_are_wrong_the_ones_before_are_used_and_that_is_told_once(paths, caplog, mend):
    clock, reader = Clock(), Reader(*paths)
    files = RenewedFiles("http", paths, reader, clock=clock)
    replace(paths[0], "broken")
    with caplog.at_level(logging.INFO, "orchestrator"):
        for _ in range(3):
            clock.now_s += CHECK_EVERY_S
            assert files.current() == "certificate-1 key-1"
        assert (refused(), reader.reads) == (1, 2)
        paths[0].unlink()
        clock.now_s += CHECK_EVERY_S
        assert files.current() == "certificate-1 key-1"
        replace(paths[0], mend)
        clock.now_s += CHECK_EVERY_S
        assert files.current() == f"{mend} key-1"
    assert refused() == 0
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "TLS of http: the new files are not used: the key is not the one of the certificate"),
        ("WARNING", "TLS of http: the new files are not used: a file cannot be read"),
        ("INFO", "TLS of http: the new files are used"),
    ]


def test_files_that_are_wrong_from_the_beginning_are_an_error(paths):
    replace(paths[0], "broken")
    with pytest.raises(ConfigurationError, match="the key is not"):
        RenewedFiles("http", paths, Reader(*paths))
