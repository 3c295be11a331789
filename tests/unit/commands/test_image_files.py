"""Which files a command takes as cells, from folders, archives and names."""

import zipfile
from pathlib import Path

import pytest

from orchestrator.commands.image_files import image_files
from orchestrator.errors import ConfigurationError

JPEG = b"\xff\xd8\xff first"
DICOM = bytes(128) + b"DICM\2\0"
BESIDE = {
    ".DS_Store": JPEG,
    "._c1.jpg": b"resource fork",
    "Thumbs.db": JPEG,
    "DESKTOP.INI": JPEG,
    "DICOMDIR": DICOM,
    "__MACOSX/c1.jpg": JPEG,
    ".git/c1.jpg": JPEG,
    "$Recycle.Bin/c1.jpg": JPEG,
    "slide/@eaDir/c1.jpg/SYNOPHOTO_THUMB_M.jpg": JPEG,
    "#recycle/c1.jpg": JPEG,
    "labels.csv": b"file,label",
    "readme.txt": b"read me",
    "report.pdf": b"%PDF-1.7",
}
CELLS = {
    "PA000001/ST000001/IM000001": DICOM,
    "c1.jpg": JPEG,
    "damaged.png": b"",
    "no suffix": b"II*\0",
    "phone.heic": b"\0\0\0\x18ftypheic",
    "wrong.txt": JPEG,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in (BESIDE | CELLS).items():
        path = tmp_path / ".hidden parent" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / ".hidden parent"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "cells"  # its name says nothing either
    with zipfile.ZipFile(path, "w") as made:
        for name, content in (BESIDE | CELLS).items():
            made.writestr(name, content)
    return path


def test_of_a_folder_every_image_is_taken_by_its_bytes_and_a_damaged_one_is_not_lost(folder: Path):
    taken = image_files([folder])
    assert {str(file.path.relative_to(folder)): file.read_bytes() for file in taken} == CELLS


def test_of_a_zip_archive_the_same_files_are_taken(archive: Path):
    taken = image_files([archive])
    assert {str(file.path.relative_to(archive)): file.read_bytes() for file in taken} == CELLS


def test_what_a_person_names_is_taken_whatever_it_is(folder: Path):
    named = [folder / "readme.txt", folder / ".DS_Store", folder / "missing.jpg"]
    assert [file.path for file in image_files(named)] == named


def test_a_damaged_archive_fails_as_one_file(archive: Path):
    archive.write_bytes(archive.read_bytes()[:-40])
    assert [file.path for file in image_files([archive])] == [archive]


def test_an_entry_that_is_damaged_fails_alone(tmp_path: Path):
    path = tmp_path / "cells.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.jpg", JPEG)
        made.writestr("b.jpg", b"other bytes")
    path.write_bytes(path.read_bytes().replace(JPEG, b"\xff\xd8\xff FIRST", 1))
    damaged, whole = image_files([path])
    with pytest.raises(OSError, match="damaged"):
        damaged.read_bytes()
    assert whole.read_bytes() == b"other bytes"


def test_of_entries_of_one_name_each_is_taken(tmp_path: Path):
    path = tmp_path / "cells.zip"
    with zipfile.ZipFile(path, "w") as made:
        made.writestr("a.jpg", JPEG)
        with pytest.warns(UserWarning, match="Duplicate"):
            made.writestr("a.jpg", b"other bytes")
    assert [file.read_bytes() for file in image_files([path])] == [JPEG, b"other bytes"]


def test_a_folder_without_an_image_is_told(tmp_path: Path):
    (tmp_path / "readme.txt").write_text("read me")
    with pytest.raises(ConfigurationError, match="no image file"):
        image_files([tmp_path])
