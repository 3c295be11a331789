"""``wbc-train evaluate``."""

from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from training.commands.options import DEFAULT_DATA_ROOT, DEFAULT_REPOSITORY, DataRoot


def evaluate(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository (a SavedModel).")
    ] = DEFAULT_REPOSITORY / "wbc" / "1",
    output_dir: Annotated[Path, typer.Option(help="Where predictions and metrics go.")] = Path("outputs"),
    split: Annotated[list[str] | None, typer.Option(help="Repeatable; TestA and TestB where absent.")] = None,
    profile: Annotated[str, typer.Option(help="Device profile: preprocessing, TTA, routing.")] = "default",
    tta: Annotated[Literal["none", "light"] | None, typer.Option(help="Instead of the profile's.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most this many images of a split.")] = None,
) -> None:
    """Score a model with 95 % intervals; writes predictions.csv and metrics.json per split."""
    from training.evaluate import evaluate_splits, scores_table

    scores = evaluate_splits(
        model_path, data_root, split or ["TestA", "TestB"], profile, output_dir, tta_mode=tta, limit=limit
    )
    Console().print(scores_table(scores, f"{model_path}, profile {profile}"))
