"""``wbc-train features``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.options import DEFAULT_DATA_ROOT, DEFAULT_MODEL, DataRoot


def features(
    data_root: DataRoot = DEFAULT_DATA_ROOT,
    more_device: Annotated[
        list[Path] | None,
        typer.Option(help="A folder <device>/<Class>/*, but for what is held back there (repeatable)."),
    ] = None,
    profile_of: Annotated[
        list[str] | None,
        typer.Option(help="<device>=<profile>, where they are called otherwise: barcelona=cellavision-dm96."),
    ] = None,
    most: Annotated[int, typer.Option(min=50, help="Cells of a device, evenly spread.")] = 900,
    model_path: Annotated[
        Path, typer.Option(help="A version folder of the model repository.")
    ] = DEFAULT_MODEL,
    profiles_dir: Annotated[Path, typer.Option(help="Folder of the profiles.")] = Path(
        "orchestrator/profiles"
    ),
    projection: Annotated[Path, typer.Option(help="The projection's file.")] = Path(
        "orchestrator/cell_features.npz"
    ),
) -> None:
    """Fit what tells by a cell's features whether it is of a profile's device, and write it.

    Of Train and --more-device; never of TestA or TestB. One view of each cell, by profile `default`. Run it
    for every new model. For research use only. Not for use in diagnostic procedures.
    """
    import numpy as np

    from orchestrator.profiles import load_profiles
    from orchestrator.routing import average
    from training.cells import look
    from training.datasets import read_run_samples
    from training.device_features import (
        DeviceCells,
        fit_features,
        group_of,
        profile_files,
        write_features,
        write_projection,
    )
    from training.predictors import model_identity, open_predictor

    samples = read_run_samples(data_root, "Train", more=more_device or ())
    by_device = {device: [s for s in samples if s.device == device] for device in {s.device for s in samples}}
    chosen = [
        of[i]
        for of in by_device.values()
        for i in np.unique(np.linspace(0, len(of) - 1, min(most, len(of))).round().astype(int))
    ]
    named = dict(pair.split("=", 1) for pair in profile_of or () if "=" in pair)
    files = profile_files(profiles_dir, {d: d for d in by_device} | named, sorted(by_device))
    base = load_profiles()["default"]
    seen = look(
        open_predictor(model_path, "embedded"), chosen, base.recipe, "none", "cells", limits=base.quality
    )
    answers = [average(cell.prediction) for cell in seen]
    cells = DeviceCells(
        np.stack([answer.features for answer in answers]).astype(np.float64),
        np.array([int(np.argmax(answer.probabilities)) for answer in answers]),
        np.array([sample.device for sample in chosen]),
        np.array([group_of(sample) for sample in chosen]),
    )
    fitted, statistics = fit_features(cells, model_identity(model_path))
    write_projection(projection, fitted)
    for device, found in statistics.items():
        write_features(
            files[device], found, f"of {(cells.devices == device).sum()} cells, wbc-train features"
        )
    Console().print(f"written: {projection}, {', '.join(str(file) for file in files.values())}")
