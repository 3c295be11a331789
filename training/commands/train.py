"""``wbc-train train``."""

from typing import Annotated

from training.commands.config_file import read_config_file
from training.commands.from_fields import options_of
from training.options import option
from training.run_config import RUN, TrainingConfig


@options_of(TrainingConfig)
def train(
    settings: TrainingConfig,
    config: Annotated[  # noqa: ARG001  read by its callback, before the other options
        str | None,
        option(
            "TOML file with values for these options, or `reference` or `shipped`; typed options override.",
            RUN,
            is_eager=True,
            callback=read_config_file,
        ),
    ] = None,
    resume: Annotated[
        bool, option("Go on where a run was cut off; begin where there is none.", RUN, "--resume")
    ] = False,
    dry_run: Annotated[
        bool, option("Print split, phases and parameter counts; train and write nothing.", RUN, "--dry-run")
    ] = False,
) -> None:
    """Train a classifier; the best checkpoint by balanced accuracy on validation is kept.

    First the head on a frozen backbone, then the whole network. The defaults are those of the reference
    system but for its filter: the whole frame, its zoom, turns, mirrors, backgrounds and LAB jitter, no other
    variation of stain or camera, on MEF v6, the service's. `--config reference` is all of it, on MEF v1;
    `--config shipped` has the settings of the model in the repository. A run's folder holds its manifest,
    split summary, history (CSV and PNG), TensorBoard logs and checkpoints; after a kill it goes on with
    --resume. Variations beyond the options stand in the `augmentation` table of a configuration file.
    For research use only. Not for use in diagnostic procedures.
    """
    from training import train as training_run

    if dry_run:
        training_run.dry_run(settings)
    else:
        training_run.train(settings, resume=resume)
