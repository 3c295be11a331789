"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Final

import typer

DataRoot = Annotated[
    Path, typer.Option(help="Folder with Train/, TestA/, TestB/, each with one sub-folder per class.")
]
DEFAULT_DATA_ROOT: Final = Path("data/wbc")
DEFAULT_RUN_DIR: Final = Path("runs/latest")
DEFAULT_REPOSITORY: Final = Path("model_repository")
DEFAULT_MODEL: Final = DEFAULT_REPOSITORY / "wbc" / "7"
