"""``wbc-train compare-backbones``."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from training.commands.from_fields import options_of
from training.run_config import TrainingConfig

FAST: Final[dict[str, Any]] = {"epochs": 2, "frozen_epochs": 0, "img_size": 96}
"""Other defaults of the options."""


def _hurry(context: typer.Context, fast: bool) -> bool:
    """Callback of ``--fast``, which must be eager: what is typed still counts."""
    if fast:
        context.default_map = {**(context.default_map or {}), **FAST}
    return fast


@options_of(
    TrainingConfig,
    *("data_root", "seed", "batch_size", "img_size", "backbone_weights", "preprocessing", "crop_scale"),
)
def compare_backbones(
    settings: TrainingConfig,
    further: Annotated[
        list[str] | None,
        typer.Argument(help="Further models, as in --models VGG16 ResNet50V2.", metavar="MODELS"),
    ] = None,
    results_dir: Annotated[
        Path, typer.Option(help="Gets a run per network, and backbones.csv, .md and .png.")
    ] = Path("runs/backbones"),
    models: Annotated[
        list[str] | None,
        typer.Option(help="Which to compare (several, repeatable, or with commas); all where absent."),
    ] = None,
    fast: Annotated[  # noqa: ARG001  read by its callback, before the other options
        bool,
        typer.Option(
            "--fast",
            help="{epochs} epochs, {frozen_epochs} frozen ones, {img_size} px where no others are typed: "
            "does it run at all?".format_map(FAST),
            is_eager=True,
            callback=_hurry,
        ),
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the whole network.")] = 15,
    frozen_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs of the head before; none with --backbone-weights none.")
    ] = 15,
    learning_rate: Annotated[float, typer.Option(min=1e-7, help="Of the whole network.")] = 1e-4,
    timing_rounds: Annotated[int, typer.Option(min=1, help="Images per network and runtime.")] = 20,
) -> None:
    """Train several backbones under one protocol; table, CSV and plot of accuracy, size and time.

    Networks: VGG16, ResNet50V2, MobileNetV2, EfficientNetB0, DenseNet121 (plain heads; the last is also
    DenseNet121_vanilla), DenseNet121+attention (the reference's, with MedSwish), Compact+attention and
    EfficientNetLite0+attention. What is no option here is as in `wbc-train train` without a configuration.
    What is finished is not trained again; each network's best checkpoint, best.keras, stays in its folder:
    `wbc-train evaluate --model-path` scores it. Exit code 1 where one
    could not be trained; the last lines say why.
    """
    from training.compare_backbones import compare, require_known, results_table

    names = [name for entry in (*(models or ()), *(further or ())) for name in entry.split(",")]
    protocol = replace(
        settings,
        run_dir=results_dir,
        phase1_epochs=frozen_epochs,
        phase2_epochs=epochs,
        phase2_learning_rate=learning_rate,
        schedule="cosine",
        patience=0,
        xai_every_n_epochs=0,
    )
    rows = compare(protocol, results_dir, require_known(names), timing_rounds=timing_rounds)
    console = Console()
    console.print(results_table(rows))
    failed = [row for row in rows if row["error"]]
    for row in failed:
        console.print(f"{row['model']} failed: {row['error']}", markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)
