"""``wbc samples``: painted white cells as files, for who has no images at hand."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import cv2
import typer
from rich.console import Console
from rich.progress import track

from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.painting.samples import paint_sample

_err = Console(stderr=True)


def samples(
    output: Annotated[
        Path, typer.Argument(metavar="DIR", help="A folder that does not exist yet, or is empty.")
    ],
    cells: Annotated[
        int, typer.Option(min=1, max=100_000, help="How many, as evenly of the five classes as it goes.")
    ] = 25,
    seed: Annotated[
        int, typer.Option(min=0, help="The same seed paints the same cells, another seed others.")
    ] = 0,
) -> None:
    """Paint single white cells to try the service with: `DIR/<Class>/001.png` and so on.

    A program draws them; none shows a person's blood, and how well the model knows them says nothing of its
    accuracy. Then, for example:

        wbc analyse DIR --profile painted

        wbc differential DIR --profile painted --specimen-id PAINTED-1
    """
    _make_empty_folder(output)
    names = list(_names(cells))
    for name, number in track(names, "painting", console=_err, disable=not _err.is_terminal):
        rgb = paint_sample(name, seed, number).rgb
        path = output / name / f"{number:03}.png"
        _, data = cv2.imencode(".png", rgb[:, :, ::-1])
        try:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data.tobytes())
        except OSError as error:
            raise ConfigurationError(f"cannot write to {output}: {error.strerror}") from error
    counts = Counter(name for name, _ in names)
    typer.echo(f"{output}: " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    typer.echo(f"Painted by a program; none shows a person's blood. {DISCLAIMER}")


def _names(cells: int) -> Iterator[tuple[str, int]]:
    """Class and number, from 1, of each cell."""
    for index in range(cells):
        yield CLASS_NAMES[index % len(CLASS_NAMES)], index // len(CLASS_NAMES) + 1


def _make_empty_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        is_empty = not any(folder.iterdir())
    except OSError as error:
        raise ConfigurationError(f"cannot write to {folder}: {error.strerror}") from error
    if not is_empty:
        raise ConfigurationError(f"expected a new or empty folder to write to, received {folder}")
