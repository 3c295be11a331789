"""A training run: what it writes, that it learns, and that it survives a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import cv2
import keras
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from training.train import Phase, TrainingConfig, train

COLOURS = [(40, 40, 160), (200, 60, 40), (60, 160, 60), (120, 120, 120), (180, 60, 180)]


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Discs whose colour is their class: learned in a few steps by a small network."""
    root = tmp_path_factory.mktemp("discs")
    random = np.random.default_rng(0)
    for name, colour in zip(CLASS_NAMES, COLOURS, strict=True):
        folder = root / "Train" / name
        folder.mkdir(parents=True)
        for number in range(8):
            rgb = np.full((96, 96, 3), 235, np.uint8)
            centre = tuple(int(c) for c in random.integers(40, 56, 2))
            cv2.circle(rgb, centre, int(random.integers(18, 26)), colour, -1)
            cv2.imwrite(str(folder / f"{number}.png"), rgb[:, :, ::-1])
    return root


@pytest.fixture
def config(data_root, tmp_path):
    return TrainingConfig(
        data_root=data_root,
        run_dir=tmp_path / "run",
        val_fraction=0.25,
        batch_size=10,
        img_size=32,
        progressive_img_size=32,
        progressive_epochs=1,
        phase2_epochs=2,
        phase2_learning_rate=1e-3,
        backbone="VGG16",
        backbone_weights="none",
    )


def history(run_dir):
    with (run_dir / "history.csv").open(newline="") as file:
        return [(row["phase"], int(row["epoch"])) for row in csv.DictReader(file)]


def test_a_run_leaves_its_best_model_its_history_and_its_manifest(config):
    best = train(config)

    assert history(config.run_dir) == [("progressive", 1), ("phase2", 1), ("phase2", 2)]
    model = keras.models.load_model(best)
    assert set(model.predict(np.zeros((1, 32, 32, 3), np.float32), verbose=0)) == {
        "main_out",
        "aux_binary_out",
    }
    manifest = json.loads((config.run_dir / "run.json").read_text())
    assert manifest["images"] == 40
    assert manifest["config"]["seed"] == config.seed
    assert len(manifest["data_sha256"]) == 64
    assert manifest["versions"]["keras"] == keras.version()


def test_a_finished_run_is_not_overwritten_and_not_trained_again(config):
    best = train(config)
    before = best.read_bytes()

    with pytest.raises(ConfigurationError, match="--resume"):
        train(config)
    train(config, resume=True)

    assert best.read_bytes() == before
    assert len(history(config.run_dir)) == 3


def test_a_run_of_another_configuration_is_not_resumed(config):
    train(replace(config, progressive_epochs=0, phase2_epochs=1))

    with pytest.raises(ConfigurationError, match="config differs"):
        train(replace(config, progressive_epochs=0, phase2_epochs=1, batch_size=8), resume=True)


def test_a_killed_run_goes_on_where_it_was(config, project_root):
    """The real command, killed without warning after its first epoch."""
    command = [
        *(sys.executable, "-m", "training", "train", "--resume"),
        *("--data-root", str(config.data_root), "--run-dir", str(config.run_dir)),
        *("--val-fraction", "0.25", "--batch-size", "10", "--img-size", "32"),
        *("--progressive-epochs", "0", "--phase2-epochs", "3", "--phase2-learning-rate", "1e-3"),
        *("--backbone", "VGG16", "--backbone-weights", "none"),
    ]
    environment = os.environ | {"KERAS_BACKEND": "tensorflow"}
    state = config.run_dir / "state.json"
    with subprocess.Popen(
        command, cwd=project_root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 240
        while not state.is_file() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert state.is_file(), "the run was to be killed after its first epoch"
    done_before = json.loads(state.read_text())["epoch"]
    assert done_before < 3

    subprocess.run(command, cwd=project_root, env=environment, check=True, capture_output=True, timeout=300)

    epochs = [epoch for _, epoch in history(config.run_dir)]
    assert epochs[-1] == 3
    assert epochs[:done_before] == list(range(1, done_before + 1))
    assert sorted(set(epochs)) == [1, 2, 3]


def test_without_pretrained_weights_there_is_no_phase_with_a_frozen_backbone(config):
    assert [phase.name for phase in config.phases()] == ["progressive", "phase2"]
    pretrained = replace(config, backbone_weights="imagenet", progressive_epochs=0)
    assert [(p.name, p.train_backbone) for p in pretrained.phases()] == [("phase1", False), ("phase2", True)]


def test_a_run_without_epochs_is_refused(config):
    with pytest.raises(ConfigurationError, match="at least one phase"):
        train(replace(config, progressive_epochs=0, phase2_epochs=0))


def test_phases_keep_the_configured_sizes_and_rates(config):
    assert config.phases()[1] == Phase("phase2", 2, 32, 1e-3)
