"""``wbc-train masks``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.options import DEFAULT_DATA_ROOT, DEFAULT_MODEL, DataRoot


def masks(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    splits: Annotated[str, typer.Option(help="Splits to measure, with commas.")] = "Train,TestA,TestB",
    output: Annotated[Path, typer.Option(help="The masks' scores as CSV.")] = Path("runs/masks.csv"),
    more_device: Annotated[
        list[Path] | None,
        typer.Option(help="A folder <device>/<Class>/*, but for what is held back there (repeatable)."),
    ] = None,
    painted: Annotated[
        int, typer.Option(min=0, help="Cells of each class of every painted device; 0 leaves them out.")
    ] = 0,
    empty: Annotated[
        int,
        typer.Option(
            min=0,
            help="Windows without a white cell of each device, of Train, TestA and, beside --more-device, "
            "../fields: how many are marked for review. Asks the model; 0 leaves them out.",
        ),
    ] = 0,
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository, for --empty.")
    ] = DEFAULT_MODEL,
    profile: Annotated[str, typer.Option(help="The profile of the whole way, for --empty.")] = "default",
) -> None:
    """Measure how often the cell is found, and the masks of cell and nucleus.

    Reads the columns mask (0 background, 128 cytoplasm, 255 nucleus) and x0, y0, x1, y1 of manifest.csv. A
    cell is found where the located square overlaps its box by half. The masks are judged by Dice with true
    masks and by boxes, beside the reference system's heuristic. Choose methods on Train: the others are for
    reporting.
    """
    from training.evaluate import chosen_profile
    from training.finder_quality import empty_table, finder_table, measure_empty, measure_finder
    from training.mask_quality import mask_table, measure_masks, write_scores
    from training.predictors import open_predictor
    from training.serving_path import served_finding

    console, more = Console(), tuple(more_device or ())
    names = [name.strip() for name in splits.split(",")]
    scores = measure_masks(data_root, names, more=more)
    write_scores(scores, output)
    console.print(mask_table(scores))
    console.print(finder_table(measure_finder(data_root, names, more=more, painted=painted)))
    if empty:
        predict, whole_way = open_predictor(model_path, "embedded", explain=True), chosen_profile(profile)
        found = measure_empty(
            data_root, empty, lambda rgb: served_finding(rgb, whole_way, predict), more=more
        )
        console.print(empty_table(found))
    console.print(f"written to {output}")
