"""``wbc-train focus-agreement``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.options import DEFAULT_DATA_ROOT, DEFAULT_MODEL, DataRoot


def focus_agreement(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository (a SavedModel).")
    ] = DEFAULT_MODEL,
    split: Annotated[str, typer.Option(help="With true masks in manifest.csv.")] = "TestB",
    profile: Annotated[str, typer.Option(help="Device profile.")] = "default",
) -> None:
    """Compare the focus verdict (sound, doubtful, background) with the one by true masks, and count how many
    planted shortcuts it tells."""
    from orchestrator.errors import ConfigurationError
    from orchestrator.profiles import load_profiles
    from training.datasets import read_split
    from training.focus_agreement import agreement_table, judge_focus_of
    from training.predictors import open_predictor

    profiles = load_profiles(None)
    if profile not in profiles:
        raise ConfigurationError(f"no profile {profile!r}; there are {', '.join(profiles)}")
    predict = open_predictor(model_path, "embedded", explain=True)
    cases = list(judge_focus_of(read_split(data_root, split), profiles[profile], predict))
    Console().print(agreement_table(cases))
