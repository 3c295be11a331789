"""A run's folder: whenever a run is killed, models, history and state tell of the same epoch."""

import json
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import ConfigurationError
from training.run_folder import RunFolder, git_revision
from training.run_state import RunState

MANIFEST = {
    "config": {"seed": 1, "run_dir": "here", "devices": ("a",)},
    "data_sha256": "d",
    "git": None,
    "versions": {"keras": "3"},
}


def epoch(folder, state, score, *, commit=True):
    """What an epoch leaves behind, its number in place of a model; killed before the commit if asked."""
    better = state.record(score)
    number = str(state.epochs_done)
    if better:
        folder.pending("best", state.epochs_done).write_text(number)
    folder.pending("last", state.epochs_done).write_text(number)
    if commit:
        folder.commit(state, {"phase": "phase1", "epoch": state.epoch})


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


def test_a_committed_epoch_is_there_when_the_run_is_taken_up(folder):
    state = folder.open(MANIFEST, resume=False)
    epoch(folder, state, (0.5, -1.0))
    epoch(folder, state, (0.4, -1.0))

    assert RunFolder(folder.path).open(MANIFEST, resume=True) == state
    assert (folder.last.read_text(), folder.best.read_text()) == ("2", "1")
    assert [row["epoch"] for row in folder.history_rows()] == ["1", "2"]


def test_an_epoch_killed_before_its_commit_leaves_nothing(folder):
    state = folder.open(MANIFEST, resume=False)
    epoch(folder, state, (0.5, -1.0))
    epoch(folder, state, (0.6, -1.0), commit=False)
    with folder.history.open("a") as file:
        file.write("phase1,2\n")  # the row had been written, the state had not

    state = RunFolder(folder.path).open(MANIFEST, resume=True)

    assert state.epochs_done == 1
    assert state.best == (0.5, -1.0)
    assert (folder.last.read_text(), folder.best.read_text()) == ("1", "1")
    assert [row["epoch"] for row in folder.history_rows()] == ["1"]
    assert not list(folder.path.glob(".*.keras"))


def test_an_epoch_killed_right_after_its_commit_is_put_in_place(folder):
    state = folder.open(MANIFEST, resume=False)
    epoch(folder, state, (0.5, -1.0))
    epoch(folder, state, (0.6, -1.0), commit=False)
    with folder.history.open("a") as file:
        file.write("phase1,2\n")
    folder.write_state(state)  # the commit itself; the models had not been renamed

    assert RunFolder(folder.path).open(MANIFEST, resume=True).epochs_done == 2
    assert (folder.last.read_text(), folder.best.read_text()) == ("2", "2")


def test_a_folder_that_holds_a_run_is_not_overwritten(folder):
    folder.open(MANIFEST, resume=False)

    with pytest.raises(ConfigurationError, match="--resume"):
        folder.open(MANIFEST, resume=False)


def test_a_run_of_other_settings_or_data_is_not_taken_up(folder):
    folder.open(MANIFEST, resume=False)

    with pytest.raises(ConfigurationError, match=r"config differs .* in seed"):
        folder.open(MANIFEST | {"config": MANIFEST["config"] | {"seed": 2}}, resume=True)
    for what in ("data", "painted", "negatives", "teachers"):
        with pytest.raises(ConfigurationError, match="data differs"):
            folder.open(MANIFEST | {f"{what}_sha256": "e"}, resume=True)


def test_a_run_may_be_taken_up_in_another_place_and_says_on_what_it_went_on(folder):
    folder.open(MANIFEST, resume=False)
    moved = MANIFEST | {"config": MANIFEST["config"] | {"run_dir": "there"}, "versions": {"keras": "4"}}

    assert folder.open(moved, resume=True) == RunState()
    manifest = json.loads(folder.manifest.read_text())
    assert manifest["versions"] == {"keras": "3"}
    assert manifest["resumed"] == [{"git": None, "versions": {"keras": "4"}}]


def test_the_revision_is_that_of_the_checkout_that_tracks_the_file(tmp_path):
    tracked, foreign = tmp_path / "tracked.py", tmp_path / "foreign.py"
    tracked.touch()
    foreign.touch()
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.org")
    for arguments in (
        ("init", "--quiet"),
        ("add", "tracked.py"),
        (*identity, "commit", "--quiet", "-m", "x"),
    ):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True, capture_output=True)

    revision = git_revision(tracked)

    assert revision is not None
    assert len(revision["revision"]) == 40
    assert revision["changed"] is False
    tracked.write_text("changed")
    assert git_revision(tracked) == revision | {"changed": True}
    assert git_revision(foreign) is None
    assert git_revision(Path("/nowhere/at/all.py")) is None
