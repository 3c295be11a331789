"""The image files that a person gives a command, and how far it is with them."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

IMAGE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".dcm"})


def image_files(given: Iterable[Path]) -> Iterator[Path]:
    """The files themselves, and every image below the folders; what does not exist fails on its own."""
    for path in given:
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        else:
            yield path


@contextmanager
def progress_of(total: int, console: Console) -> Iterator[Callable[[], None]]:
    """A bar on a terminal, for two or more; what it gives is called after each image."""
    columns = (TextColumn("analysing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=total < 2 or not console.is_terminal) as progress:
        task = progress.add_task("analysing", total=total)
        yield lambda: progress.advance(task)
