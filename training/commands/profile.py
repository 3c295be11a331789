"""``wbc-train profile``."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from orchestrator.domain import UInt8Array
from orchestrator.errors import ConfigurationError
from training.options import DEFAULT_DATA_ROOT, DEFAULT_MODEL, DataRoot


def profile(
    images: Annotated[
        Path,
        typer.Argument(help="Folder of images of the new microscope; with labels, one sub-folder per class."),
    ],
    output: Annotated[
        Path, typer.Option(help="The file to write; its name is the profile's: my-scope.toml.")
    ],
    base: Annotated[str, typer.Option(help="The built-in profile to start from.")] = "default",
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository (a SavedModel).")
    ] = DEFAULT_MODEL,
    reinhard: Annotated[
        Literal["base", "off", "device", "training"],
        typer.Option(
            help="Colour normalisation: as the base profile, off, onto the mean of these images, or onto the "
            "mean of the images of --data-root/Train. It has hurt some devices: measure before relying on it."
        ),
    ] = "base",
    use_prior: Annotated[
        bool, typer.Option("--use-prior", help="Decide by the estimated shares of the classes.")
    ] = False,
    training_prior: Annotated[
        str | None,
        typer.Option(help="Shares of the five classes in training, with commas; equal where absent."),
    ] = None,
    review_share: Annotated[
        float, typer.Option(min=0.0, max=0.5, help="Share of such images that the energy sends to review.")
    ] = 0.03,
    description: Annotated[str | None, typer.Option(help="A sentence about the device.")] = None,
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    limit: Annotated[
        int, typer.Option(min=1, help="Look at no more images than these, evenly spread.")
    ] = 500,
    yes: Annotated[bool, typer.Option("--yes", help="Write without asking.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it is there.")] = False,
) -> None:
    """Make a device profile from images of a new microscope, and show what it changes before writing.

    Unlabelled images give crop scale, colours, the shares of the classes and the limit of the energy; those
    of 50 cells or more also how the device's cells look to the model, by which another microscope's are
    noticed; about 100 labelled ones also the temperature. Put the file into the folder that WBC_PROFILES_DIR
    names.
    """
    from orchestrator.cell_features import projection
    from training.device_profile import EQUAL_SHARES, Choices, comparison_table, propose, read_device_images
    from training.evaluate import chosen_profile
    from training.predictors import model_identity, open_predictor
    from training.profile_file import check_target, write_profile

    name = check_target(output, force=force)
    choices = Choices(
        reinhard, use_prior, EQUAL_SHARES if training_prior is None else _shares(training_prior), review_share
    )
    chosen, found = chosen_profile(base), read_device_images(images, limit)
    model, directions = model_identity(model_path), projection()
    proposal = propose(
        name,
        found,
        chosen,
        open_predictor(model_path, "tensorflow"),
        choices,
        training_images=_training_images(data_root) if reinhard == "training" else (),
        description=description,
        directions=directions if directions.belongs_to(model) else None,
    )
    console = Console()
    console.print(comparison_table(proposal))
    if not (yes or typer.confirm(f"Write {output}?")):
        console.print("nothing written")
        raise typer.Exit(1)
    console.print(f"written: {write_profile(output, proposal, force=force)}", highlight=False)


def _shares(text: str) -> tuple[float, ...]:
    """Five shares over 0 that sum to 1, from ``0.2,0.2,...``; the policy of a profile checks them."""
    from orchestrator.routing import RoutingPolicy

    try:
        shares = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigurationError(
            f"--training-prior: expected numbers with commas, received {text!r}"
        ) from error
    RoutingPolicy("prior", review_threshold=0.0, prior=shares, training_prior=shares)
    return shares


def _training_images(data_root: Path) -> Iterator[UInt8Array]:
    from training.datasets import read_split

    for sample in read_split(data_root, "Train"):
        yield sample.load()
