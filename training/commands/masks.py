"""``wbc-train masks``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.commands.options import DEFAULT_DATA_ROOT, DataRoot


def masks(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    splits: Annotated[str, typer.Option(help="Splits to measure, with commas.")] = "Train,TestA,TestB",
    output: Annotated[Path, typer.Option(help="The scores as CSV.")] = Path("runs/masks.csv"),
) -> None:
    """Measure the masks of cell and nucleus: Dice with true masks, agreement with boxes.

    Reads the columns mask (0 background, 128 cytoplasm, 255 nucleus) and x0, y0, x1, y1 of manifest.csv; the
    reference system's heuristic stands beside ours. Choose methods on Train: the others are for reporting.
    """
    from training.mask_quality import mask_table, measure_masks, write_scores

    scores = measure_masks(data_root, [name.strip() for name in splits.split(",")])
    write_scores(scores, output)
    console = Console()
    console.print(mask_table(scores))
    console.print(f"written to {output}")
