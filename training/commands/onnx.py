"""``wbc-train onnx``."""

from pathlib import Path
from typing import Annotated

import typer

from training.options import DEFAULT_MODEL


def onnx(
    folder: Annotated[Path, typer.Argument(help="The model repository of Triton to write.")],
    model: Annotated[Path, typer.Option(help="The version that is written.")] = DEFAULT_MODEL,
) -> None:
    """Write a version of the model as ONNX, checked against its SavedModel, for Triton and its like."""
    from training.onnx_export import export_onnx

    for path in export_onnx(model, folder):
        typer.echo(path)
