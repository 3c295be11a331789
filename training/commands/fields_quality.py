"""``wbc-train fields-quality``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.options import DEFAULT_MODEL


def fields_quality(
    fields: Annotated[
        Path, typer.Option(help="A folder with fields.csv: path, split, x0, y0, x1, y1, one row a cell.")
    ] = Path("../shared/data/fields"),
    split: Annotated[str, typer.Option(help="Which part of them; choose methods on dev.")] = "dev",
    painted: Annotated[
        int, typer.Option(min=0, help="Painted fields of each device with cells, and as many without.")
    ] = 25,
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository.")
    ] = DEFAULT_MODEL,
    profile: Annotated[str, typer.Option(help="The device profile.")] = "default",
) -> None:
    """Measure how well the white cells of whole fields are found.

    Recall, precision and average precision, each with its interval, and the false finds in fields without a
    white cell: painted ones, and what lies beside the cells of real ones. What touches the edge is left out.
    """
    from training.evaluate import chosen_profile
    from training.field_quality import (
        cut_empty_fields,
        fields_table,
        find_in,
        measure_fields,
        painted_fields,
        real_fields,
    )
    from training.predictors import open_predictor

    predict, whole_way = open_predictor(model_path, "embedded"), chosen_profile(profile)
    real = real_fields(fields, split) if (fields / "fields.csv").exists() else []
    every = [*real, *cut_empty_fields(real), *painted_fields(painted)]
    scores = measure_fields(every, lambda rgb: find_in(rgb, whole_way, predict))
    Console().print(fields_table(scores))
