"""The ``wbc-train`` command."""

import os
from pathlib import Path
from typing import Annotated, Literal

# Before the first import of TensorFlow: its start-up notes are not about this project.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from rich.console import Console

from orchestrator.errors import ConfigurationError, InvalidImage
from orchestrator.model_contract import IMAGE_SIZE

app = typer.Typer(
    help="Train, evaluate and export the white-blood-cell classifier. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_console = Console(stderr=True)

DataRoot = Annotated[
    Path, typer.Option(help="Folder with Train/, TestA/, TestB/, each with one sub-folder per class.")
]
DEFAULT_DATA_ROOT = Path("data/wbc")
DEFAULT_RUN_DIR = Path("runs/latest")
DEFAULT_REPOSITORY = Path("model_repository")


@app.command()
def train(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    run_dir: Annotated[Path, typer.Option(help="Folder for checkpoints and history.")] = DEFAULT_RUN_DIR,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run was cut off.")] = False,
    train_split: Annotated[str, typer.Option(help="Which split to train on.")] = "Train",
    device: Annotated[
        list[str] | None, typer.Option(help="Train on this device alone (repeatable); all where absent.")
    ] = None,
    val_fraction: Annotated[float, typer.Option(help="Share held out, by slides and classes.")] = 0.15,
    seed: int = 42,
    batch_size: Annotated[int, typer.Option(min=2)] = 16,
    img_size: Annotated[int, typer.Option(min=32, help="Side of the model's input in pixels.")] = IMAGE_SIZE,
    phase1_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs with a frozen backbone; none without pre-trained weights.")
    ] = 15,
    progressive_epochs: Annotated[
        int, typer.Option(min=0, help="Epochs at the progressive size, before phase 2.")
    ] = 0,
    phase2_epochs: Annotated[int, typer.Option(min=0, help="Epochs of the whole network.")] = 15,
    progressive_img_size: Annotated[int, typer.Option(min=32)] = 112,
    phase1_learning_rate: float = 1e-3,
    progressive_learning_rate: float = 1e-3,
    phase2_learning_rate: float = 1e-5,
    backbone: Annotated[str, typer.Option(help="A network of keras.applications.")] = "DenseNet121",
    backbone_weights: Annotated[
        str, typer.Option(help="imagenet (downloaded), none (random), or a path to weights.")
    ] = "imagenet",
    main_loss: Annotated[Literal["cce", "focal"], typer.Option(help="Loss of the five-class head.")] = "cce",
    label_smoothing: Annotated[float, typer.Option(help="Clipped to 0 .. 0.3.")] = 0.1,
    aux_loss_weight: Annotated[float, typer.Option(min=0.0)] = 1.0,
    weight_decay: Annotated[float, typer.Option(min=0.0)] = 1e-4,
) -> None:
    """Train a classifier; the best checkpoint by balanced accuracy on validation is kept."""
    from training.train import TrainingConfig
    from training.train import train as run_training

    config = TrainingConfig(
        data_root=data_root,
        run_dir=run_dir,
        train_split=train_split,
        devices=tuple(device or ()),
        val_fraction=val_fraction,
        seed=seed,
        batch_size=batch_size,
        img_size=img_size,
        phase1_epochs=phase1_epochs,
        progressive_epochs=progressive_epochs,
        phase2_epochs=phase2_epochs,
        progressive_img_size=progressive_img_size,
        phase1_learning_rate=phase1_learning_rate,
        progressive_learning_rate=progressive_learning_rate,
        phase2_learning_rate=phase2_learning_rate,
        backbone=backbone,
        backbone_weights=backbone_weights,
        main_loss=main_loss,
        label_smoothing=label_smoothing,
        aux_loss_weight=aux_loss_weight,
        weight_decay=weight_decay,
    )
    run_training(config, resume=resume)


@app.command()
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


@app.command()
def export(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    run_dir: Annotated[
        Path, typer.Option(help="The run whose best checkpoint is exported.")
    ] = DEFAULT_RUN_DIR,
    repository: Annotated[Path, typer.Option(help="The model repository.")] = DEFAULT_REPOSITORY,
    version: Annotated[int, typer.Option(min=1, help="Version folder to write.")] = 1,
    profile: Annotated[str, typer.Option(help="Profile of the measurements in the model card.")] = "default",
    force: Annotated[bool, typer.Option("--force", help="Replace the version if it is there.")] = False,
) -> None:
    """Write a run's best model as SavedModel, verify it, measure it and write its model card."""
    from training.publish import publish

    publish(run_dir, data_root, repository, version, profile, force=force)


def main() -> None:
    """Run the command; an error that a person can mend is one line and exit code 2."""
    try:
        app()
    except ModuleNotFoundError as error:
        _console.print(
            f"[bold red]error:[/] {error.name} is missing: this environment serves only. Install the extra "
            "`training`, or use .venv/dev that `make test` makes.",
            highlight=False,
        )
        raise SystemExit(2) from error
    except (ConfigurationError, InvalidImage, FileNotFoundError, ValueError) as error:
        _console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise SystemExit(2) from error
