"""``wbc-train synthesize``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def synthesize(
    output: Annotated[Path, typer.Option(help="A new folder for the data set.")] = Path("data/synthetic"),
    train_per_class: Annotated[
        int, typer.Option(min=1, help="Images of each class and device in Train.")
    ] = 40,
    test_per_class: Annotated[
        int, typer.Option(min=0, help="Images of each class and device in TestA and TestB.")
    ] = 12,
    devices: Annotated[
        str, typer.Option(help="Devices of Train and TestA, with commas: scanner, phone, camera, any.")
    ] = "scanner,phone",
    unseen_device: Annotated[
        str, typer.Option(help="The device of TestB, which is not trained on, or none for no TestB.")
    ] = "camera",
    negatives_per_kind: Annotated[
        int, typer.Option(min=0, help="Images without a white cell, of each kind.")
    ] = 10,
    fields_per_device: Annotated[
        int,
        typer.Option(
            min=0, help="Whole fields with white cells, of each device, and half as many without any."
        ),
    ] = 0,
    seed: Annotated[int, typer.Option(min=0, help="The same seed paints the same images.")] = 42,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a processor by default.")] = None,
) -> None:
    """Paint a data set of white blood cells, to run every command without real images.

    Five classes by their morphology among red cells and platelets, as several devices would show them, with
    masks, boxes, attributes and images that hold no white cell; and whole fields, crowded, touching or cut,
    with boxes and outlines. Then, for example:

    wbc-train train --data-root data/synthetic --crop-scale 1.4 --backbone Compact --backbone-weights none

    It is no measure of accuracy on real blood.
    """
    from training.synthesize import CONTACT_SHEET, SynthesisPlan
    from training.synthesize import synthesize as paint

    console = Console()
    plan = SynthesisPlan(
        train_per_class,
        test_per_class,
        tuple(name.strip() for name in devices.split(",") if name.strip()),
        None if unseen_device == "none" else unseen_device,
        negatives_per_kind,
        seed,
        fields_per_device,
    )
    folder = paint(output, plan, workers=workers, console=console)
    console.print(f"written to {folder}; look at {folder / CONTACT_SHEET}", soft_wrap=True)
