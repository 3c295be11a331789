"""The mean of runs that began alike."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from tests.fakes.tiny_training import tiny_classifier
from training.average import average_runs


def run(folder, value, **changes):
    """A finished run whose only layer has weights of one value."""
    folder.mkdir()
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.set_weights([np.full(weight.shape, value, np.float32) for weight in model.get_weights()])
    model.save(folder / "best.keras")
    config = {"seed": 1, "data_seed": None, "run_dir": str(folder), "batch_size": 8} | changes
    manifest = {"config": config, "data_sha256": "d", "versions": {}}
    (folder / "run.json").write_text(json.dumps(manifest))
    return folder


def test_the_mean_of_runs_has_the_mean_of_their_weights_and_says_of_which(tmp_path):
    runs = [run(tmp_path / "a", 1.0), run(tmp_path / "b", 4.0, data_seed=7)]

    best = average_runs(runs, tmp_path / "mean")

    weights = keras.models.load_model(best).get_weights()
    assert all((weight == 2.5).all() for weight in weights)
    manifest = json.loads((tmp_path / "mean" / "run.json").read_text())
    assert manifest["averaged_data_seeds"] == [None, 7]
    assert manifest["config"]["batch_size"] == 8


def test_runs_of_other_settings_or_data_have_no_mean(tmp_path):
    first, other = run(tmp_path / "a", 1.0), run(tmp_path / "b", 4.0, seed=2, batch_size=16)

    with pytest.raises(ConfigurationError, match="batch_size, seed"):
        average_runs([first, other], tmp_path / "mean")
    with pytest.raises(ConfigurationError, match="at least two runs"):
        average_runs([first], tmp_path / "mean")
    with pytest.raises(ConfigurationError, match="train first"):
        average_runs([first, tmp_path / "nothing"], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()


def test_a_run_is_not_written_over(tmp_path):
    runs = [run(tmp_path / "a", 1.0), run(tmp_path / "b", 4.0, data_seed=7)]

    with pytest.raises(ConfigurationError, match="holds a run already"):
        average_runs(runs, runs[0])


def test_the_command_knows_the_layers_of_a_classifier_that_it_has_not_built(tmp_path):
    runs = [run(tmp_path / "a", 1.0), run(tmp_path / "b", 4.0, data_seed=7)]
    for folder in runs:
        tiny_classifier().save(folder / "best.keras")

    command = [
        sys.executable,
        "-m",
        "training",
        "average",
        *map(str, runs),
        "--output",
        str(tmp_path / "mean"),
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)

    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "mean" / "best.keras").is_file()
