"""The image files that a person gives a command, and how far it is with them."""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from orchestrator.edge.http.zip_archive import is_archive
from orchestrator.errors import ConfigurationError
from orchestrator.vision.image_names import START_BYTES, is_cell, is_of_a_system

_ZIP_DAMAGE: Final = (zipfile.BadZipFile, zlib.error, EOFError, ValueError, RuntimeError)
"""What :mod:`zipfile` raises beside OSError; an encrypted entry is a RuntimeError."""

_MOST_UNPACKED: Final = 2**28
"""Bytes of one entry, whatever the archive says; more than any limit on images."""


@dataclass(frozen=True, slots=True)
class ImageFile:
    """A file, or an entry of a zip archive, whose ``path`` is then the archive's with the entry's name.

    Several entries may have one name, so that the ``entry`` itself is kept."""

    path: Path
    archive: Path | None = None
    entry: zipfile.ZipInfo | None = None

    @property
    def name(self) -> str:
        return self.path.name

    def __str__(self) -> str:
        return str(self.path)

    def read_bytes(self, at_most: int = _MOST_UNPACKED) -> bytes:
        """The content, or its beginning; raises OSError where it cannot be read."""
        if self.archive is None or self.entry is None:
            with self.path.open("rb") as file:
                return file.read(at_most)
        try:
            with zipfile.ZipFile(self.archive) as opened, opened.open(self.entry) as file:
                return file.read(at_most)
        except _ZIP_DAMAGE as error:
            raise OSError(0, "the zip archive is damaged or encrypted") from error


def image_files(given: Iterable[Path]) -> list[ImageFile]:
    """The files themselves, and every image in what is a folder, with those below it, or a zip archive; an
    archive in a folder or in another archive is not opened. What does not exist fails on its own.

    Raises:
        ConfigurationError: there is none.
    """
    files = [file for path in given for file in _files_of(path)]
    if not files:
        raise ConfigurationError("no image file was found in what was given")
    return files


def _files_of(path: Path) -> Iterator[ImageFile]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and _is_cell(ImageFile(file), str(file.relative_to(path))):
                yield ImageFile(file)
        return
    try:
        if not is_archive(ImageFile(path).read_bytes(START_BYTES)):
            yield ImageFile(path)
            return
        with zipfile.ZipFile(path) as opened:
            entries = [entry for entry in opened.infolist() if not entry.filename.endswith("/")]
    except (OSError, *_ZIP_DAMAGE):
        yield ImageFile(path)
        return
    for entry in entries:
        inside = ImageFile(path / entry.filename, path, entry)
        if _is_cell(inside, entry.filename):
            yield inside


def _is_cell(file: ImageFile, name: str) -> bool:
    if is_of_a_system(name):  # unread
        return False
    try:
        return is_cell(name, file.read_bytes(START_BYTES))
    except OSError:  # is told when it is to be analysed
        return True


def make_folder(path: Path, option: str) -> None:
    """The folder that ``option`` names, for files of images.

    Raises :class:`~orchestrator.errors.ConfigurationError` where it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"{option}: cannot make {path} ({error.strerror})") from error


@contextmanager
def progress_of(total: int, console: Console) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, for two or more; what it gives is called after each image."""
    columns = (TextColumn("analysing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=total < 2 or not console.is_terminal) as progress:
        task = progress.add_task("analysing", total=total)
        yield lambda: progress.advance(task)
