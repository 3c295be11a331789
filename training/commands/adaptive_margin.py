"""``wbc-train adaptive-margin``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.options import DEFAULT_DATA_ROOT, DEFAULT_MODEL, DataRoot


def adaptive_margin(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository (a SavedModel).")
    ] = DEFAULT_MODEL,
    profiles_dir: Annotated[
        Path, typer.Option(help="Folder of the profiles (*.toml) to choose it for.")
    ] = Path("orchestrator/profiles"),
    val_fraction: Annotated[
        float, typer.Option(help="Of the run that trained the model; so are the seed and the device.")
    ] = 0.15,
    seed: Annotated[int, typer.Option(help="Of the division of Train.")] = 42,
    validate_device: Annotated[
        str | None, typer.Option(help="The device held out for validation, where one was.")
    ] = None,
    more_device: Annotated[
        list[Path] | None,
        typer.Option(help="As of that run: a folder <device>/<Class>/* (repeatable)."),
    ] = None,
    write: Annotated[
        bool, typer.Option("--write", help="Write `adaptive_margin` into the profiles' files.")
    ] = False,
) -> None:
    """Choose how clear the first view must be for adaptive test-time augmentation to stop there.

    Looks at the validation part of Train and --more-device, never at TestA or TestB, and needs no labels: it
    asks how often all eight views decide otherwise than the first. Run it for every new model; it takes
    minutes.
    For research use only. Not for use in diagnostic procedures.
    """
    from orchestrator.profiles import load_profiles
    from training.adaptive_margin import choose_margins, margin_table, write_margin
    from training.predictors import model_identity, open_predictor

    files = sorted(profiles_dir.glob("*.toml"))
    known = load_profiles(profiles_dir)
    choices = choose_margins(
        open_predictor(model_path, "embedded"),
        [known[file.stem] for file in files],
        data_root,
        val_fraction=val_fraction,
        seed=seed,
        validate_device=validate_device,
        more=more_device or (),
    )
    console = Console()
    console.print(margin_table(choices))
    if not write:
        console.print("nothing written; --write puts them into the profiles' files")
        return
    model = f"model version {model_identity(model_path).version}"
    for file, choice in zip(files, choices, strict=True):
        write_margin(file, choice, model)
        console.print(f"written: {file}", highlight=False)
