"""``wbc-train train``."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from orchestrator.model_contract import IMAGE_SIZE
from training.commands.options import DEFAULT_DATA_ROOT, DEFAULT_RUN_DIR, DataRoot


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
