"""What several commands, and the settings that become options, say of an option."""

from pathlib import Path
from typing import Annotated, Any, Final

import typer


def option(text: str, panel: str, *names: str, **limits: Any) -> Any:
    """An option with its help ``text`` in the ``panel`` of the help; ``names`` other than the parameter's."""
    return typer.Option(*names, help=text, rich_help_panel=panel, **limits)


def share(text: str, panel: str) -> Any:
    """An option in [0, 1]."""
    return option(text, panel, min=0.0, max=1.0)


DataRoot = Annotated[
    Path, typer.Option(help="Folder with Train/, TestA/, TestB/, each with one sub-folder per class.")
]
DEFAULT_DATA_ROOT: Final = Path("data/wbc")
DEFAULT_RUN_DIR: Final = Path("runs/latest")
DEFAULT_REPOSITORY: Final = Path("model_repository")
DEFAULT_MODEL: Final = DEFAULT_REPOSITORY / "wbc" / "9"
