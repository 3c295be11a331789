"""``wbc-train export``."""

from pathlib import Path
from typing import Annotated

import typer

from training.options import DEFAULT_DATA_ROOT, DEFAULT_REPOSITORY, DEFAULT_RUN_DIR, DataRoot


def export(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    run_dir: Annotated[
        Path, typer.Option(help="The run whose best checkpoint is exported.")
    ] = DEFAULT_RUN_DIR,
    repository: Annotated[Path, typer.Option(help="The model repository.")] = DEFAULT_REPOSITORY,
    version: Annotated[int, typer.Option(min=1, help="Version folder to write.")] = 1,
    profile: Annotated[str, typer.Option(help="Profile of the measurements in the model card.")] = "default",
    negatives_per_kind: Annotated[
        int,
        typer.Option(min=1, help="Images without a white cell, of each kind and device, for the model card."),
    ] = 60,
    force: Annotated[bool, typer.Option("--force", help="Replace the version if it is there.")] = False,
) -> None:
    """Write a run's best model as SavedModel, verify it, measure it and write its model card."""
    from training.publish import publish

    publish(
        run_dir, data_root, repository, version, profile, force=force, negatives_per_kind=negatives_per_kind
    )
