"""``wbc-train compare-backbones``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from orchestrator.domain import MefVersion
from orchestrator.model_contract import IMAGE_SIZE
from training.commands.options import DEFAULT_DATA_ROOT, DataRoot

FAST_EPOCHS = 2
FAST_IMAGE_SIZE = 96


def compare_backbones(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    results_dir: Annotated[
        Path, typer.Option(help="Gets a run per network, and backbones.csv, .md and .png.")
    ] = Path("runs/backbones"),
    models: Annotated[
        list[str] | None,
        typer.Option(help="Which to compare (repeatable, or with commas); all where absent."),
    ] = None,
    fast: Annotated[
        bool,
        typer.Option("--fast", help=f"{FAST_EPOCHS} epochs at {FAST_IMAGE_SIZE} px: does it run at all?"),
    ] = False,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs of the whole network.")] = 15,
    frozen_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs of the head before; none with --backbone-weights none.")
    ] = 15,
    img_size: Annotated[int, typer.Option(min=64, help="Side of the input in pixels.")] = IMAGE_SIZE,
    batch_size: Annotated[int, typer.Option(min=2)] = 16,
    learning_rate: Annotated[float, typer.Option(min=1e-7, help="Of the whole network.")] = 1e-4,
    backbone_weights: Annotated[
        str, typer.Option(help="imagenet (downloaded), or none (random numbers).")
    ] = "imagenet",
    preprocessing: Annotated[MefVersion, typer.Option(help="MEF version.")] = "v1",
    timing_rounds: Annotated[int, typer.Option(min=1, help="Images per network and runtime.")] = 20,
    seed: int = 42,
) -> None:
    """Train several backbones under one protocol; table, CSV and plot of accuracy, size and time.

    Networks: VGG16, ResNet50V2, MobileNetV2, EfficientNetB0, DenseNet121 (plain heads), DenseNet121+attention
    (the reference's, with MedSwish), Compact+attention and EfficientNetLite0+attention. What is finished is
    not trained again; the best checkpoints stay in the results folder.
    """
    from orchestrator.vision.preprocessing import Recipe
    from training.compare_backbones import compare, require_known, results_table
    from training.run_config import TrainingConfig

    names = [name for entry in models or () for name in entry.split(",")]
    protocol = TrainingConfig(
        data_root=data_root,
        run_dir=results_dir,
        seed=seed,
        batch_size=batch_size,
        img_size=FAST_IMAGE_SIZE if fast else img_size,
        phase1_epochs=0 if fast else frozen_epochs,
        phase2_epochs=FAST_EPOCHS if fast else epochs,
        phase2_learning_rate=learning_rate,
        schedule="cosine",
        patience=0,
        backbone_weights=backbone_weights,
        xai_every_n_epochs=0,
        recipe=Recipe(mef_version=preprocessing),
    )
    rows = compare(protocol, results_dir, require_known(names), timing_rounds=timing_rounds)
    Console().print(results_table(rows))
