"""The folder of a run: all that is needed to go on after a kill and to say afterwards what was done.

::

    run.json               configuration, data fingerprint, code revision, versions
    split_summary.csv      images by part, device and class
    state.json             how far the run has come
    last.keras             the model with its optimizer, after the last epoch
    best.keras             the best by balanced accuracy on the validation part
    history.csv            a row per epoch
    training_history.png   the same to look at
    tensorboard/           event files, a folder per phase

An epoch counts once ``state.json`` says so. Models are written before it under names of their own and
renamed after it, so that whenever a run is killed, models, history and state tell of the same epoch.
"""

import csv
import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from orchestrator.errors import ConfigurationError
from training.run_config import PLACES
from training.run_state import RunState

HISTORY_COLUMNS: Final = (
    "phase",
    "epoch",
    "seconds",
    "images_per_s",
    "learning_rate",
    "loss",
    "main_out_loss",
    "aux_binary_out_loss",
    "not_wbc_loss",
    "main_out_accuracy",
    "val_loss",
    "val_accuracy",
    "val_balanced_accuracy",
    "val_macro_f1",
    "xai_focus",
)
"""Losses and accuracies; ``val_loss`` is that of the main head; ``xai_focus`` is empty in most epochs."""


class RunFolder:
    """Reads and writes the files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.best = path / "best.keras"
        self.last = path / "last.keras"
        self.manifest = path / "run.json"
        self.history = path / "history.csv"
        self.history_plot = path / "training_history.png"
        self.split_summary = path / "split_summary.csv"
        self.tensorboard = path / "tensorboard"
        self._state = path / "state.json"

    def open(self, manifest: Mapping[str, Any], *, resume: bool) -> RunState:
        """Create the folder for a run, or take up the state found there.

        Raises:
            ConfigurationError: it holds a run and ``resume`` is not set, or one of other settings or data.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        if not self.manifest.is_file():
            write_json(self.manifest, dict(manifest))
        elif not resume:
            raise ConfigurationError(
                f"{self.path} holds a run already: go on with it by --resume, or choose another folder"
            )
        else:
            self._take_up(_plain(dict(manifest)))
        state = (
            RunState.from_json(json.loads(self._state.read_text(encoding="utf-8")))
            if self._state.is_file()
            else RunState()
        )
        self._settle(state)
        self._cut_history(state.epochs_done)
        return state

    def pending(self, name: str, epochs_done: int) -> Path:
        """Where the model ``last`` or ``best`` of an epoch is saved before the epoch is committed."""
        return self.path / f".{name}-{epochs_done}.keras"

    def commit(self, state: RunState, row: Mapping[str, Any]) -> None:
        """Make an epoch count: append its row, write the state, put its models in their places."""
        new = not self.history.is_file()
        with self.history.open("a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS, restval="", extrasaction="ignore")
            if new:
                writer.writeheader()
            writer.writerow(row)
        self.write_state(state)
        self._settle(state)

    def write_state(self, state: RunState) -> None:
        """Write the state alone."""
        write_json(self._state, state.to_json())

    def add_to_manifest(self, key: str, value: Any) -> None:
        """Write down what only the run itself could find out."""
        write_json(self.manifest, json.loads(self.manifest.read_text(encoding="utf-8")) | {key: value})

    def history_rows(self) -> list[dict[str, str]]:
        """The rows of the history, one an epoch."""
        if not self.history.is_file():
            return []
        with self.history.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def _take_up(self, manifest: dict[str, Any]) -> None:
        before = json.loads(self.manifest.read_text(encoding="utf-8"))
        data = ("data_sha256", "painted_sha256", "negatives_sha256", "teachers_sha256")
        if any(before.get(key) != manifest.get(key) for key in data):
            raise ConfigurationError(
                "cannot resume: the data differs from that of the run before, or a teacher does"
            )
        then, now = ({k: v for k, v in m["config"].items() if k not in PLACES} for m in (before, manifest))
        if then != now:
            changed = sorted(key for key in then.keys() | now.keys() if then.get(key) != now.get(key))
            raise ConfigurationError(
                f"cannot resume: the config differs from that of the run before in {', '.join(changed)}"
            )
        ran_on = {key: manifest[key] for key in ("git", "versions")}
        write_json(self.manifest, before | {"resumed": [*before.get("resumed", []), ran_on]})

    def _settle(self, state: RunState) -> None:
        """Give the models of the committed epoch their names; throw away those of no such epoch."""
        for name, target, epochs_done in (
            ("last", self.last, state.epochs_done),
            ("best", self.best, state.best_at),
        ):
            committed = self.pending(name, epochs_done)
            for path in self.path.glob(f".{name}-*.keras"):
                if path == committed:
                    path.replace(target)
                else:
                    path.unlink()

    def _cut_history(self, rows: int) -> None:
        """Drop the row of an epoch that was written down and never committed."""
        kept = self.history_rows()[:rows]
        if not self.history.is_file():
            return
        temporary = self.history.with_suffix(".partial")
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS)
            writer.writeheader()
            writer.writerows(kept)
        temporary.replace(self.history)


def git_revision(source: Path) -> dict[str, Any] | None:
    """Commit of the checkout that tracks the file ``source``, and whether files differ from it; else None.

    A package installed into an environment that lies in somebody's checkout is not tracked by it.
    """
    git = shutil.which("git")
    if git is None:
        return None
    try:
        _, revision, status = (
            subprocess.run(
                [git, "-C", str(source.parent), *arguments],
                capture_output=True,
                text=True,
                timeout=30,
                check=True,
            ).stdout.strip()
            for arguments in (
                ("ls-files", "--error-unmatch", source.name),
                ("rev-parse", "HEAD"),
                ("status", "--porcelain", "--untracked-files=no"),
            )
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return {"revision": revision, "changed": bool(status)}


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Write a table."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_json(path: Path, content: Any) -> None:
    """Write a file that is there as a whole or not at all; paths become text, tuples lists."""
    temporary = path.with_name(f".{path.name}.partial")
    temporary.write_text(json.dumps(content, indent=2, default=str) + "\n", encoding="utf-8")
    temporary.replace(path)


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """What reading the written JSON gives back."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return plain
