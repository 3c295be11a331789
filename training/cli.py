"""The ``wbc-train`` command."""

import os
from typing import Annotated

# Before the first import of TensorFlow: its start-up notes are not about this project.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import typer
from rich.console import Console

from orchestrator import __version__
from orchestrator.errors import WbcError
from training.commands.adaptive_margin import adaptive_margin
from training.commands.average import average
from training.commands.compare_backbones import compare_backbones
from training.commands.evaluate import evaluate
from training.commands.export import export
from training.commands.features import features
from training.commands.fields_quality import fields_quality
from training.commands.focus_agreement import focus_agreement
from training.commands.masks import masks
from training.commands.onnx import onnx
from training.commands.profile import profile
from training.commands.synthesize import synthesize
from training.commands.train import train

app = typer.Typer(
    help="Train, evaluate and export the white-blood-cell classifier. For research use only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for command in (
    train,
    average,
    evaluate,
    compare_backbones,
    export,
    onnx,
    profile,
    masks,
    synthesize,
    adaptive_margin,
    focus_agreement,
    features,
    fields_quality,
):
    app.command()(command)
_console = Console(stderr=True)


@app.callback(invoke_without_command=True)
def _version(
    version: Annotated[bool, typer.Option("--version", help="Show the version and leave.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


def main() -> None:
    """Run the command; an error that a person can mend is one line and exit code 2."""
    try:
        app()
    except ModuleNotFoundError as error:
        _console.print(
            f"[bold red]error:[/] {error.name} is missing: this environment serves only. Install the extra "
            "`training` (`onnx` beside it for `wbc-train onnx`), or use .venv/dev that `make test` makes.",
            highlight=False,
        )
        raise SystemExit(2) from error
    except (WbcError, FileNotFoundError, ValueError) as error:
        _console.print(f"[bold red]error:[/] {error}", highlight=False)
        raise SystemExit(2) from error
