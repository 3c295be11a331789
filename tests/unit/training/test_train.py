"""A training run: what it leaves, that it is the same every time, and that it survives a kill."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec

import cv2
import keras
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import MAIN_OUT
from tests.fakes.tiny_training import tiny_classifier, tiny_config, write_discs
from training.loader import load_images, model_input, plain_pixels
from training.metrics import balanced_accuracy
from training.run_config import Phase, TrainingConfig
from training.run_recipe import recipe_beside
from training.train import read_parts, train

SETTINGS = {
    "phase1_epochs": 3,
    "phase2_epochs": 3,
    "plateau_patience": 1,
    "xai_every_n_epochs": 2,
    "xai_sample_count": 4,
    "xai_focus_threshold": 1.0,  # no cell fills its crop, so that every check is low
    "xai_patience": 2,
    "ema_momentum": 0.7,
}
CLOCK = {"seconds", "images_per_s"}


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    return write_discs(tmp_path_factory.mktemp("discs"))


@pytest.fixture(scope="module")
def run_dir(data_root, tmp_path_factory):
    """A run of two phases that nothing disturbed until the focus monitor stopped it in the second."""
    run_dir = tmp_path_factory.mktemp("run") / "run"
    train(
        tiny_config(data_root, run_dir, model_path=run_dir / "copy" / "best.keras", **SETTINGS),
        build_model=tiny_classifier,
    )
    return run_dir


def history(run_dir):
    with (run_dir / "history.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in CLOCK} for row in csv.DictReader(file)]


def score_of(checkpoint, config):
    """Balanced accuracy of a checkpoint on the validation part, computed from the files alone."""
    validation = load_images(read_parts(config)[1]["validation"])
    pixels = model_input(plain_pixels(validation, config.recipe), config.img_size)
    probabilities = keras.models.load_model(checkpoint).predict(pixels, verbose=0)[MAIN_OUT.name]
    assert np.isfinite(probabilities).all()
    return balanced_accuracy([image.class_index for image in validation], probabilities.argmax(axis=1))


def no_model(_config):
    raise AssertionError("a run that is resumed needs no new model")


def test_a_run_trains_the_head_and_then_all_of_the_network(run_dir):
    rows = history(run_dir)

    assert [(row["phase"], row["epoch"]) for row in rows] == [
        *(("phase1", str(epoch)) for epoch in (1, 2, 3)),
        *(("phase2", str(epoch)) for epoch in (1, 2)),
    ]
    assert [bool(row["xai_focus"]) for row in rows] == [False, True, False, False, True]
    assert all(0 <= float(row["val_balanced_accuracy"]) <= 1 for row in rows)


def test_the_learning_rate_is_halved_after_each_epoch_without_gain_and_starts_anew_with_a_phase(run_dir):
    rates = {"phase1": 3e-3, "phase2": 1e-3}
    best = {}
    for row in history(run_dir):
        phase, score = row["phase"], (float(row["val_balanced_accuracy"]), -float(row["val_loss"]))
        assert float(row["learning_rate"]) == pytest.approx(rates[phase])
        if phase in best and score <= best[phase]:
            rates[phase] /= 2
        best[phase] = max(score, best.get(phase, score))


def test_the_best_checkpoint_is_the_one_that_the_history_says(run_dir, data_root):
    best = max(float(row["val_balanced_accuracy"]) for row in history(run_dir))

    assert score_of(run_dir / "best.keras", tiny_config(data_root, run_dir)) == pytest.approx(best)
    assert (run_dir / "copy" / "best.keras").read_bytes() == (run_dir / "best.keras").read_bytes()
    for best in (run_dir / "best.keras", run_dir / "copy" / "best.keras"):
        assert recipe_beside(best) == TrainingConfig().recipe, "how its pixels are made is said beside it"


def test_the_manifest_says_what_was_trained_on_what_with_what(run_dir):
    manifest = json.loads((run_dir / "run.json").read_text())

    assert manifest["parts"] == {"training": 30, "validation": 10, "painted": 0, "negatives": 0}
    assert manifest["config"]["seed"] == 42
    assert len(manifest["data_sha256"]) == 64
    assert manifest["versions"]["keras"] == keras.version()
    assert [phase["train_backbone"] for phase in manifest["phases"]] == [False, True]
    assert manifest["notice"] == "For research use only. Not for use in diagnostic procedures."


def test_the_split_summary_counts_parts_devices_and_classes(run_dir):
    with (run_dir / "split_summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    counts = {(row["part"], row["device"]): (row["Basophil"], row["images"]) for row in rows}
    assert counts == {
        **{("training", device): ("3", "15") for device in ("one", "other")},
        **{("validation", device): ("1", "5") for device in ("one", "other")},
    }


def test_a_run_leaves_a_plot_and_tensorboard_logs_of_each_phase(run_dir):
    plot = cv2.imread(str(run_dir / "training_history.png"))

    assert plot is not None
    assert len(np.unique(plot.reshape(-1, 3), axis=0)) > 10, "lines, not an empty sheet"
    for phase in ("phase1", "phase2"):
        assert list((run_dir / "tensorboard" / phase).glob("validation/events.*"))


def test_a_run_that_looks_at_the_background_is_stopped_in_all_its_phases(run_dir):
    """The second low check is one of phase 2: low checks are counted across phases."""
    state = json.loads((run_dir / "state.json").read_text())

    assert (state["finished"], state["low_focus_checks"]) == ("focus", 2)
    assert (history(run_dir)[-1]["phase"], state["epochs_done"]) == ("phase2", 5)


def test_a_finished_run_is_neither_overwritten_nor_trained_again(run_dir, data_root):
    config = tiny_config(data_root, run_dir, **SETTINGS)
    before = (run_dir / "best.keras").read_bytes(), history(run_dir)

    with pytest.raises(ConfigurationError, match="--resume"):
        train(config, build_model=no_model)
    train(config, resume=True, build_model=no_model)

    assert ((run_dir / "best.keras").read_bytes(), history(run_dir)) == before


def test_a_killed_run_goes_on_as_if_nothing_had_happened(run_dir, data_root, tmp_path, project_root):
    """Killed in a phase without warning, in a process of its own; the other run says what was to come."""
    killed = tmp_path / "run"
    first_phase = SETTINGS | {"phase2_epochs": 0}
    settings = {"data_root": str(data_root), "run_dir": str(killed), **first_phase}
    state = killed / "state.json"
    with subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.tiny_training", json.dumps(settings)],
        cwd=project_root,
        env=os.environ | {"KERAS_BACKEND": keras.config.backend()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 240
        while not state.is_file() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "the run was to be killed after its first epoch"
    done_before = json.loads(state.read_text())["epochs_done"]
    assert 1 <= done_before < 3

    config = tiny_config(data_root, killed, **first_phase)
    best = train(config, resume=True, build_model=no_model)

    after = json.loads(state.read_text())
    assert (after["finished"], after["low_focus_checks"]) == ("completed", 1)
    resumed = history(killed)
    undisturbed = [row for row in history(run_dir) if row["phase"] == "phase1"]
    assert [(row["phase"], row["epoch"]) for row in resumed] == [
        (row["phase"], row["epoch"]) for row in undisturbed
    ]
    for row, expected in zip(resumed, undisturbed, strict=True):
        numbers, numbers_expected = (
            {k: float(v) for k, v in r.items() if v and k != "phase"} for r in (row, expected)
        )
        assert numbers == pytest.approx(numbers_expected, rel=1e-3, abs=1e-4)
    assert score_of(best, config) == pytest.approx(
        max(float(row["val_balanced_accuracy"]) for row in resumed)
    )


@pytest.mark.skipif(find_spec("jax") is None, reason="JAX is not installed")
def test_a_run_on_jax_shares_its_batches_out_over_two_devices(data_root, tmp_path, project_root):
    run_dir = tmp_path / "run"
    settings = {
        **{"data_root": str(data_root), "run_dir": str(run_dir), "distribute": True},
        **{"phase1_epochs": 0, "phase2_epochs": 1, "schedule": "cosine"},
    }
    completed = subprocess.run(
        [sys.executable, "-m", "tests.fakes.tiny_training", json.dumps(settings)],
        cwd=project_root,
        env=os.environ
        | {
            "KERAS_BACKEND": "jax",
            "JAX_PLATFORMS": "cpu",
            "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # compiled in half of the time
            "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )

    assert completed.returncode == 0, completed.stderr[-2000:]
    assert "5 images of a batch on each of 2 devices" in " ".join(completed.stdout.split())
    (row,) = history(run_dir)
    assert np.isfinite(float(row["loss"]))
    assert list((run_dir / "tensorboard" / "phase2").glob("train/events.*"))
    assert (run_dir / "best.keras").is_file()


def test_without_pretrained_weights_there_is_no_phase_with_a_frozen_backbone(data_root, tmp_path):
    config = tiny_config(data_root, tmp_path / "run", progressive_epochs=1, progressive_img_size=32)

    assert [(p.name, p.train_backbone) for p in config.phases()] == [
        ("phase1", False),
        ("progressive", True),
        ("phase2", True),
    ]
    from_random = replace(config, backbone_weights="none")
    assert from_random.skips_frozen_phase
    assert [phase.name for phase in from_random.phases()] == ["progressive", "phase2"]
    assert from_random.phases()[1] == Phase("phase2", 2, 32, 1e-3)


def test_a_run_without_epochs_is_refused(data_root, tmp_path):
    config = tiny_config(data_root, tmp_path / "run", backbone_weights="none", phase2_epochs=0)

    with pytest.raises(ConfigurationError, match="at least one phase"):
        train(config, build_model=no_model)


def test_the_last_epoch_is_kept_where_that_is_asked_for_though_another_was_better(data_root, tmp_path):
    more = write_discs(tmp_path / "more", per_class=2) / "Train"
    config = tiny_config(
        data_root, tmp_path / "best", more_devices=(more,), sampling="fair", phase1_epochs=0, phase2_epochs=4
    )
    config = replace(config, phase2_learning_rate=-0.3)  # uphill: it gets worse with every epoch

    kept = {}
    for checkpoint in ("best", "last"):
        run_dir = tmp_path / checkpoint
        train(replace(config, run_dir=run_dir, checkpoint=checkpoint), build_model=tiny_classifier)
        kept[checkpoint] = json.loads((run_dir / "state.json").read_text())["best_at"]

    assert kept["best"] < kept["last"] == 4
    assert sum(len(part) for part in read_parts(config)[1].values()) == 50


def test_a_whole_device_can_be_held_out(data_root, tmp_path):
    config = tiny_config(data_root, tmp_path / "run", validate_device="other")

    _, parts = read_parts(config)

    assert {sample.device for sample in parts["training"]} == {"one"}
    assert {sample.device for sample in parts["validation"]} == {"other"}
    assert (len(parts["training"]), len(parts["validation"])) == (20, 20)
    with pytest.raises(ConfigurationError, match=r"devices of manifest\.csv"):
        read_parts(replace(config, validate_device="unheard of"))
    with pytest.raises(ConfigurationError, match="as both"):
        replace(config, devices=("other",))


def test_images_of_no_class_train_unless_they_are_of_the_device_that_is_held_out(data_root, tmp_path):
    kinds = tmp_path / "other" / "_other" / "platelet"
    kinds.mkdir(parents=True)
    for number in range(12):
        (kinds / f"{number}.png").write_bytes(b"")
    config = tiny_config(data_root, tmp_path / "run", negatives=(kinds.parent,))

    _, parts = read_parts(config)
    _, without = read_parts(replace(config, validate_device="other"))

    assert 0 < len(parts["negatives"]) < 12
    assert without["negatives"] == []


def test_painted_images_are_trained_on_and_never_validated_on(data_root, tmp_path):
    painted = write_discs(tmp_path / "painted", per_class=2)
    config = tiny_config(data_root, tmp_path / "run", painted_root=painted, painted_share=0.5)

    _, parts = read_parts(config)

    assert {name: len(part) for name, part in parts.items()} == {
        "training": 30,
        "validation": 10,
        "painted": 10,
        "negatives": 0,
    }
    assert all(sample.path.is_relative_to(painted) for sample in parts["painted"])
    with pytest.raises(ConfigurationError, match=r"painted images in \(0, 1\), received 1"):
        replace(config, painted_share=1.0)


def test_a_run_is_not_gone_on_with_on_other_painted_images(data_root, tmp_path):
    config = tiny_config(
        data_root,
        tmp_path / "run",
        **{"painted_root": write_discs(tmp_path / "painted", per_class=1)},
        **{"phase1_epochs": 0, "phase2_epochs": 1, "xai_every_n_epochs": 0},
    )
    train(config, build_model=tiny_classifier)
    other = write_discs(tmp_path / "other", per_class=2)

    with pytest.raises(ConfigurationError, match="the data differs"):
        train(replace(config, painted_root=other), resume=True, build_model=no_model)

    assert json.loads((config.run_dir / "run.json").read_text())["parts"]["painted"] == 5
