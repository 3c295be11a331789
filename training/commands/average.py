"""``wbc-train average``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def average(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs that differ in --data-seed alone.")],
    output: Annotated[Path, typer.Option(help="Folder of the run that is their mean.")],
) -> None:
    """Average the weights of runs that began alike; the mean is exported as any other run.

    Train the same settings with several `--data-seed`. For research use only. Not for use in diagnostic
    procedures.
    """
    from training.average import average_runs

    Console().print(f"written: {average_runs(runs, output)}", highlight=False)
