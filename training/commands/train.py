"""``wbc-train train``."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from orchestrator.domain import MefVersion
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from training.commands.config_file import config_table, read_config_file
from training.commands.options import DEFAULT_DATA_ROOT, DEFAULT_RUN_DIR, DataRoot

_RUN, _DATA, _PHASES = "The run", "Data", "Phases and learning rates"
_NETWORK, _LOSS, _AUGMENTATION = "Network", "Loss", "Colours and augmentation"
_FOCUS = "Focus monitor"


def _share(text: str, panel: str) -> Any:
    return typer.Option(min=0.0, max=1.0, help=text, rich_help_panel=panel)


def _option(text: str, panel: str, *names: str, **limits: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **limits)


def train(
    context: typer.Context,
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    run_dir: Annotated[
        Path, _option("Folder for checkpoints, history and logs.", _RUN, "--run-dir", "--results-dir")
    ] = DEFAULT_RUN_DIR,
    model_path: Annotated[
        Path | None, _option("Copy the best model here (.keras), besides best.keras of the run.", _RUN)
    ] = None,
    config: Annotated[  # noqa: ARG001  read by its callback, before the other options
        str | None,
        _option(
            "TOML file with values for these options, or `reference` or `shipped`; typed options override.",
            _RUN,
            is_eager=True,
            callback=read_config_file,
        ),
    ] = None,
    resume: Annotated[
        bool, _option("Go on where a run was cut off; begin where there is none.", _RUN, "--resume")
    ] = False,
    dry_run: Annotated[
        bool, _option("Print split, phases and parameter counts; train and write nothing.", _RUN, "--dry-run")
    ] = False,
    distribute: Annotated[
        bool,
        _option("Share every batch out over all accelerators (KERAS_BACKEND=jax).", _RUN, "--distribute"),
    ] = False,
    image_cache: Annotated[
        Path | None,
        _option("Keep decoded images and their cells here for the next run; some 1 MB an image.", _RUN),
    ] = None,
    workers: Annotated[
        int | None, _option("Threads that make batches; one a processor where absent.", _RUN, min=1)
    ] = None,
    seed: Annotated[int, _option("Of split, order, augmentation, weights and dropout.", _RUN)] = 42,
    data_seed: Annotated[
        int | None, _option("Of order, augmentation and dropout, where it is not the seed.", _RUN)
    ] = None,
    train_split: Annotated[str, _option("Which split to train on.", _DATA)] = "Train",
    device: Annotated[
        list[str] | None, _option("Use this device alone (repeatable); all where absent.", _DATA)
    ] = None,
    more_device: Annotated[
        list[Path] | None,
        _option("Train on this folder, <device>/<Class>/*, as well (repeatable).", _DATA),
    ] = None,
    negatives: Annotated[
        list[Path] | None,
        _option("Images of none of the five classes, <folder>/<kind>/*, for not_wbc (repeatable).", _DATA),
    ] = None,
    negative_share: Annotated[
        float, _share("Share of each batch that is drawn from them, where there are any.", _DATA)
    ] = 0.125,
    teacher: Annotated[
        list[Path] | None,
        _option("Learn from this classifier (.keras or exported version) as well (repeatable).", _DATA),
    ] = None,
    sampling: Annotated[
        Literal["all", "fair"],
        _option("Every image once an epoch, or draws by class, device and cell alike.", _DATA),
    ] = "all",
    val_fraction: Annotated[
        float, _option("Share held out for validation, by slides and classes.", _DATA, min=0.01, max=0.5)
    ] = 0.15,
    validate_device: Annotated[
        str | None,
        _option("Validate on all of this device, and train on the others: how a new one may fare.", _DATA),
    ] = None,
    painted_root: Annotated[
        Path | None,
        _option("Mix in images of this data set of `wbc-train synthesize`; validation has none.", _DATA),
    ] = None,
    painted_share: Annotated[
        float, _share("Share of each batch that is painted, where there are painted images.", _DATA)
    ] = 0.4,
    batch_size: Annotated[int, _option("Images in a step.", _DATA, min=2)] = 16,
    img_size: Annotated[int, _option("Side of the model's input in pixels.", _DATA, min=32)] = IMAGE_SIZE,
    phase1_epochs: Annotated[
        int, _option("Epochs with a frozen backbone; none without pre-trained weights.", _PHASES, min=0)
    ] = 15,
    phase2_epochs: Annotated[int, _option("Epochs of the whole network.", _PHASES, min=0)] = 15,
    progressive_epochs: Annotated[
        int, _option("Epochs of the whole network at the progressive size, before phase 2.", _PHASES, min=0)
    ] = 0,
    progressive_img_size: Annotated[
        int, _option("The smaller size: most of the learning at a fraction of the cost.", _PHASES, min=32)
    ] = 112,
    phase1_learning_rate: Annotated[float, _option("Of the head alone.", _PHASES, min=0.0)] = 1e-3,
    phase2_learning_rate: Annotated[
        float, _option("Of the whole network; from random weights some 1e-3.", _PHASES, min=0.0)
    ] = 1e-5,
    progressive_learning_rate: Annotated[float, _option("At the progressive size.", _PHASES, min=0.0)] = 1e-3,
    schedule: Annotated[
        Literal["plateau", "cosine"],
        _option("Halve the rate after epochs without gain, or let it fall as a cosine per phase.", _PHASES),
    ] = "plateau",
    plateau_patience: Annotated[
        int, _option("Epochs without a better validation score until the rate is halved.", _PHASES, min=1)
    ] = 3,
    patience: Annotated[
        int, _option("Epochs without a better validation score until a phase ends; 0: never.", _PHASES, min=0)
    ] = 8,
    checkpoint: Annotated[
        Literal["best", "last"], _option("Keep the best epoch on validation, or the last.", _PHASES)
    ] = "best",
    weight_decay: Annotated[float, _option("Of AdamW; 0 is plain Adam.", _PHASES, min=0.0)] = 0.0,
    clip_norm: Annotated[float, _option("Largest norm of the gradients; 0: any.", _PHASES, min=0.0)] = 1.0,
    ema_momentum: Annotated[
        float,
        _option("Score and save a running average of the weights (some 0.99); 0: off.", _PHASES, min=0.0),
    ] = 0.0,
    backbone: Annotated[str, _option("A network of keras.applications.", _NETWORK)] = "DenseNet121",
    backbone_weights: Annotated[
        str,
        _option(
            "imagenet (downloaded; EfficientNetLite: of an installed package), none (random), or a path.",
            _NETWORK,
        ),
    ] = "imagenet",
    frozen_blocks: Annotated[
        int,
        _option(
            "Blocks of an EfficientNetLite that stay as they came, with all its batch norm.", _NETWORK, min=0
        ),
    ] = 0,
    linear_head: Annotated[
        bool, _option("No dense blocks between the pooled maps and the outputs.", _NETWORK, "--linear-head")
    ] = False,
    batch_norm_momentum: Annotated[
        float, _share("Momentum of batch normalisation's statistics.", _NETWORK)
    ] = 0.9,
    main_loss: Annotated[
        Literal["cce", "focal"], _option("Loss of the five-class head: cross-entropy or focal.", _LOSS)
    ] = "cce",
    label_smoothing: Annotated[float, _option("Clipped to 0 .. 0.3.", _LOSS)] = 0.1,
    focal_class_weights: Annotated[
        str, _option(f"For the focal loss, in the order {', '.join(CLASS_NAMES)}.", _LOSS)
    ] = "1.2,1.1,1.0,1.1,1.15",
    disable_aux_binary_head: Annotated[
        bool,
        _option("Do not train the auxiliary head (the model keeps it).", _LOSS, "--disable-aux-binary-head"),
    ] = False,
    attention_loss_weight: Annotated[
        float,
        _option("Of the loss that teaches the attention where the cell is; 0: none.", _LOSS, min=0.0),
    ] = 0.0,
    not_wbc_loss_weight: Annotated[
        float, _option("Of the loss of not_wbc, which needs --negatives; 0: not trained.", _LOSS, min=0.0)
    ] = 0.0,
    aux_loss_weight: Annotated[float, _option("Of the auxiliary head's loss.", _LOSS, min=0.0)] = 1.0,
    aux_positive_class: Annotated[str, _option("1 on the auxiliary head.", _LOSS)] = "Neutrophil",
    aux_negative_class: Annotated[str, _option("0 on it; other classes do not count.", _LOSS)] = "Lymphocyte",
    color_normalization: Annotated[
        Literal["none", "reinhard"],
        _option(
            "Map each image's LAB statistics onto the training images' mean; measure first.", _AUGMENTATION
        ),
    ] = "none",
    normalization_reference_samples: Annotated[
        int, _option("At most so many training images make that mean.", _AUGMENTATION, min=1)
    ] = 1200,
    preprocessing: Annotated[
        MefVersion,
        _option(
            "Version of the Medical Enhanced Filter; v5, v6: our own anchoring of the stain.", _AUGMENTATION
        ),
    ] = "v1",
    crop_scale: Annotated[
        float,
        _option("Side of the cell-centred crop in cell sizes; 0: the whole frame.", _AUGMENTATION, min=0.0),
    ] = 1.4,
    crop_prob: Annotated[float, _share("Probability of a foreground crop.", _AUGMENTATION)] = 0.2,
    bg_randomization_prob: Annotated[
        float, _share("Probability of a changed background (blur, tint, noise).", _AUGMENTATION)
    ] = 0.15,
    bg_randomization_strength: Annotated[
        float, _share("How much of the changed background is mixed in.", _AUGMENTATION)
    ] = 0.35,
    stain_jitter_prob: Annotated[
        float, _share("Probability of a shift of the LAB colours.", _AUGMENTATION)
    ] = 0.3,
    xai_sample_count: Annotated[
        int, _option("Validation images whose Grad-CAM is held against the cell.", _FOCUS, min=1)
    ] = 24,
    xai_every_n_epochs: Annotated[
        int, _option("Epochs between two checks; 0: no monitor.", _FOCUS, min=0)
    ] = 2,
    xai_focus_threshold: Annotated[
        float, _share("Least mean share of the heatmap that lies on the cell.", _FOCUS)
    ] = 0.55,
    xai_patience: Annotated[
        int, _option("Checks in a row below it that stop the training.", _FOCUS, min=1)
    ] = 3,
) -> None:
    """Train a classifier; the best checkpoint by balanced accuracy on validation is kept.

    First the head on a frozen backbone, then the whole network. The defaults are those of the reference
    system; `--config shipped` has the settings of the model in the repository. A run's folder holds its
    manifest, split summary, history (CSV and PNG), TensorBoard logs and checkpoints; after a kill it goes on
    with --resume. Variations beyond the options stand in the `augmentation` table of a configuration file.
    For research use only. Not for use in diagnostic procedures.
    """
    from orchestrator.vision.preprocessing import Recipe
    from training import train as training_run
    from training.augmentation import AugmentationConfig
    from training.run_config import TrainingConfig

    settings = TrainingConfig(
        data_root=data_root,
        run_dir=run_dir,
        model_path=model_path,
        image_cache=image_cache,
        workers=workers,
        train_split=train_split,
        devices=tuple(device or ()),
        more_devices=tuple(more_device or ()),
        negatives=tuple(negatives or ()),
        negative_share=negative_share,
        teachers=tuple(teacher or ()),
        linear_head=linear_head,
        not_wbc_loss_weight=not_wbc_loss_weight,
        sampling=sampling,
        frozen_blocks=frozen_blocks,
        checkpoint=checkpoint,
        val_fraction=val_fraction,
        validate_device=validate_device,
        painted_root=painted_root,
        painted_share=painted_share,
        seed=seed,
        data_seed=data_seed,
        batch_size=batch_size,
        img_size=img_size,
        phase1_epochs=phase1_epochs,
        phase2_epochs=phase2_epochs,
        progressive_epochs=progressive_epochs,
        progressive_img_size=progressive_img_size,
        phase1_learning_rate=phase1_learning_rate,
        phase2_learning_rate=phase2_learning_rate,
        progressive_learning_rate=progressive_learning_rate,
        schedule=schedule,
        plateau_patience=plateau_patience,
        patience=patience,
        backbone=backbone,
        backbone_weights=backbone_weights,
        main_loss=main_loss,
        label_smoothing=label_smoothing,
        focal_class_weights=_numbers("--focal-class-weights", focal_class_weights),
        aux_head=not disable_aux_binary_head,
        attention_loss_weight=attention_loss_weight,
        aux_loss_weight=aux_loss_weight,
        aux_positive_class=aux_positive_class,
        aux_negative_class=aux_negative_class,
        weight_decay=weight_decay,
        clip_norm=clip_norm,
        ema_momentum=ema_momentum,
        batch_norm_momentum=batch_norm_momentum,
        color_normalization=color_normalization,
        normalization_reference_samples=normalization_reference_samples,
        xai_sample_count=xai_sample_count,
        xai_every_n_epochs=xai_every_n_epochs,
        xai_focus_threshold=xai_focus_threshold,
        xai_patience=xai_patience,
        distribute=distribute,
        recipe=Recipe(crop_scale=crop_scale or None, mef_version=preprocessing),
        augmentation=_augmentation(
            AugmentationConfig,
            {
                "crop_prob": crop_prob,
                "bg_randomization_prob": bg_randomization_prob,
                "bg_randomization_strength": bg_randomization_strength,
                "stain_jitter_prob": stain_jitter_prob,
            },
            config_table(context, "augmentation"),
        ),
    )
    if dry_run:
        training_run.dry_run(settings)
    else:
        training_run.train(settings, resume=resume)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(f"{option}: expected numbers with commas, received {text!r}") from error


def _augmentation(kind: Any, options: dict[str, float], table: dict[str, Any]) -> Any:
    """The strengths of the options, and the table's for those that are no options."""
    from dataclasses import fields

    known = {field.name for field in fields(kind)} - options.keys()
    if wrong := sorted(table.keys() - known):
        raise ConfigurationError(
            f"[augmentation]: expected {', '.join(sorted(known))}, received {', '.join(wrong)}"
        )
    lists_as_tuples = {key: tuple(v) if isinstance(v, list) else v for key, v in table.items()}
    return kind(**options, **lists_as_tuples)
