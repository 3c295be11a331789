"""The options of ``wbc-train train``: the reference's names and defaults, configuration files, the Job."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import yaml  # type: ignore[import-untyped]

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.profiles import load_profiles
from tests.fakes.tiny_training import tiny_classifier, write_discs
from training import train as training_run
from training.averaged_weights import batch_norm_layers
from training.cli import app
from training.commands.config_file import CONFIGS
from training.run_config import SERVED_MEF, TrainingConfig

REFERENCE = {
    "train_split": "Train",
    "val_fraction": 0.15,
    "seed": 42,
    "data_seed": None,
    "img_size": 224,
    "batch_size": 16,
    "sampling": "all",
    "backbone": "DenseNet121",
    "backbone_weights": "imagenet",
    "linear_head": False,
    "batch_norm_momentum": 0.99,  # Keras' default
    "phase1_epochs": 15,
    "phase2_epochs": 15,
    "progressive_epochs": 0,
    "phase1_learning_rate": 1e-3,
    "phase2_learning_rate": 1e-5,
    "patience": 8,
    "plateau_patience": 3,
    "plateau_factor": 0.5,
    "schedule": "plateau",
    "checkpoint": "best",
    "weight_decay": 0.0,
    "clip_norm": 0.0,
    "ema_momentum": 0.0,
    "aux_head": True,
    "aux_loss_weight": 1.0,
    "aux_positive_class": "Neutrophil",
    "aux_negative_class": "Lymphocyte",
    "attention_loss_weight": 0.0,
    "not_wbc_loss_weight": 0.0,
    "color_normalization": "none",
    "normalization_reference_samples": 1200,
    "crop_scale": 0.0,
    "main_loss": "cce",
    "label_smoothing": 0.1,
    "focal_class_weights": (1.2, 1.1, 1.0, 1.1, 1.15),
    "xai_sample_count": 24,
    "xai_every_n_epochs": 2,
    "xai_focus_threshold": 0.55,
    "xai_patience": 3,
}
"""The reference's table of settings, but for its filter, and what it does not have switched off."""

REFERENCE_AUGMENTATION = {
    "crop_prob": 0.2,
    "bg_randomization_prob": 0.15,
    "bg_randomization_strength": 0.35,
    "stain_jitter_prob": 0.3,
    "lab_jitter": (8.0, 6.0, 6.0),
    "crop_scale_jitter": (0.9, 1.1),  # RandomZoom(0.1)
    "rotation_prob": 1.0,
    "anchor_prob": 1.0,
    "fade_prob": 1.0,
    **dict.fromkeys(("shift_jitter", "anchor_jitter", "grown_prob", "shrunk_prob", "faint_prob"), 0.0),
    **dict.fromkeys(
        ("stain_prob", "sharpen_prob", "defocus_prob", "resolution_prob", "noise_prob", "jpeg_prob"), 0.0
    ),
}


def of_reference(config):
    """The settings and the variations of a run that the reference has an opinion on."""
    return (
        {name: getattr(config, name) for name in REFERENCE},
        {name: getattr(config.augmentation, name) for name in REFERENCE_AUGMENTATION},
    )


@pytest.fixture
def settings(monkeypatch):
    """The configuration that a command line comes to."""
    seen = []
    monkeypatch.setattr(training_run, "train", lambda config, **_: seen.append(config))

    def parse(*arguments) -> TrainingConfig:
        typer.main.get_command(app).main(["train", *arguments], standalone_mode=False)
        return seen[-1]

    return parse


BOTH_WAYS = pytest.mark.parametrize(
    ("arguments", "filter_version"), [((), "v6"), (("--config", "reference"), "v1")]
)


@BOTH_WAYS
def test_bare_and_by_its_file_a_run_has_the_settings_of_the_reference(settings, arguments, filter_version):
    config = settings(*arguments)

    assert of_reference(config) == (REFERENCE, REFERENCE_AUGMENTATION)
    assert (config.recipe.crop_scale, config.recipe.mef_version) == (None, filter_version)
    assert config == replace(TrainingConfig(), preprocessing=filter_version)


@BOTH_WAYS
def test_a_step_of_either_is_taken_as_the_reference_takes_it(
    monkeypatch, tmp_path, arguments, filter_version
):
    """What the network was trained by, from the files of the run; sizes alone are other ones."""
    import keras

    trained = training_run.train
    monkeypatch.setattr(
        training_run, "train", lambda config, **_: trained(config, build_model=tiny_classifier)
    )
    data, run_dir = write_discs(tmp_path / "data", per_class=4), tmp_path / "run"
    sizes = ["--img-size", "32", "--batch-size", "10", "--phase1-epochs", "0", "--phase2-epochs", "1"]
    sizes += ["--xai-every-n-epochs", "0"]

    typer.main.get_command(app).main(
        ["train", *arguments, *sizes, "--data-root", str(data), "--run-dir", str(run_dir)],
        standalone_mode=False,
    )

    config = json.loads((run_dir / "run.json").read_text())["config"]
    tiny = {"img_size", "batch_size", "phase1_epochs", "phase2_epochs", "xai_every_n_epochs", "aux_head"}
    expected = json.loads(json.dumps(REFERENCE))
    assert {k: v for k, v in config.items() if k in expected and k not in tiny} == {
        k: v for k, v in expected.items() if k not in tiny
    }
    assert config["preprocessing"] == filter_version
    model = keras.models.load_model(run_dir / "last.keras")
    adam = model.optimizer
    assert isinstance(adam, keras.optimizers.Adam)
    assert (adam.weight_decay, adam.clipnorm, adam.global_clipnorm, adam.use_ema) == (0.0, None, None, False)
    assert float(keras.ops.convert_to_numpy(adam.learning_rate)) == pytest.approx(1e-5)
    assert {layer.momentum for layer in batch_norm_layers(model)} == {0.99}


def test_the_help_says_which_filter_a_bare_run_has_and_shows_every_option():
    command = typer.main.get_command(app).commands["train"]
    help_text = " ".join(command.help.split())

    assert f"on MEF {SERVED_MEF}" in help_text
    assert load_profiles()["default"].recipe.mef_version == SERVED_MEF
    shown = {option for parameter in command.params for option in parameter.opts}
    assert {"--" + name.replace("_", "-") for name in REFERENCE} - shown == {
        "--plateau-factor",
        "--aux-head",
    }
    assert all(parameter.help for parameter in command.params)


def test_every_option_of_the_reference_is_there_by_its_name_but_those_that_vary_a_class_more(settings):
    config = settings(
        *("--data-root", "d", "--results-dir", "r", "--model-path", "m.keras", "--train-split", "T"),
        *("--val-fraction", "0.2", "--seed", "7", "--img-size", "96", "--batch-size", "8"),
        *("--phase1-epochs", "1", "--phase2-epochs", "2", "--crop-prob", "0.1"),
        *(
            "--bg-randomization-prob",
            "0.2",
            "--bg-randomization-strength",
            "0.3",
            "--stain-jitter-prob",
            "0.4",
        ),
        *("--disable-aux-binary-head",),
        *("--aux-loss-weight", "0.8", "--aux-positive-class", "Monocyte", "--aux-negative-class", "Basophil"),
        *(
            "--color-normalization",
            "reinhard",
            "--normalization-reference-samples",
            "9",
            "--main-loss",
            "focal",
        ),
        *("--label-smoothing", "0.2", "--focal-class-weights", "1,2,3,4,5", "--xai-sample-count", "3"),
        *("--xai-every-n-epochs", "4", "--xai-focus-threshold", "0.5", "--xai-patience", "6"),
    )

    assert (config.data_root, config.run_dir, config.model_path) == (Path("d"), Path("r"), Path("m.keras"))
    assert config.augmentation.crop_prob == 0.1
    assert config.augmentation.bg_randomization_strength == 0.3
    assert not config.aux_head
    assert config.aux_class_indices == (CLASS_NAMES.index("Monocyte"), CLASS_NAMES.index("Basophil"))
    assert config.focal_class_weights == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert (config.color_normalization, config.normalization_reference_samples) == ("reinhard", 9)
    assert (config.xai_sample_count, config.xai_every_n_epochs, config.xai_patience) == (3, 4, 6)


def test_a_typed_option_overrides_the_file_and_the_file_overrides_the_default(settings, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text(
        'batch-size = 4\nseed = 7\ndevice = ["raabin"]\nfocal-class-weights = [1, 2, 3, 4, 5]\n'
        "[augmentation]\ngamma = [1.0, 1.0]\n"
    )

    config = settings("--config", str(path), "--seed", "8")

    assert (config.batch_size, config.seed, config.phase1_epochs) == (4, 8, 15)
    assert config.devices == ("raabin",)
    assert config.focal_class_weights == (1.0, 2.0, 3.0, 4.0, 5.0)
    assert config.augmentation.gamma == (1.0, 1.0)
    assert config.augmentation.crop_prob == 0.2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("batchsize = 4", "expected names of options, received 'batchsize'"),
        ("batch-size", "is no TOML"),
        ("[augmentation]\ncrop_prob = 0.5", "received crop_prob"),
        ("focal-class-weights = [1, 2]", "expected 5 focal class weights, received 2"),
    ],
)
def test_a_file_with_a_mistake_is_refused(settings, tmp_path, content, message):
    path = tmp_path / "run.toml"
    path.write_text(content)

    with pytest.raises(ConfigurationError, match=message):
        settings("--config", str(path))


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_files_that_ship_are_accepted(settings, path):
    assert settings("--config", path.stem).phases()


def test_a_dry_run_tells_split_phases_and_parameters_and_writes_nothing(tmp_path, capsys):
    data = write_discs(tmp_path / "data", per_class=4)
    arguments = ["--data-root", str(data), "--run-dir", str(tmp_path / "run"), "--backbone", "VGG16"]

    typer.main.get_command(app).main(
        ["train", "--dry-run", "--validate-device", "other", *arguments], standalone_mode=False
    )

    printed = " ".join(capsys.readouterr().out.split())
    assert "phase1: at most 15 epochs of 1 steps at 224 px, learning rate 0.001 (plateau)" in printed
    assert "phase2: at most 15 epochs" in printed
    assert "parameters trained" in printed
    assert "For research use only. Not for use in diagnostic procedures." in printed
    assert not (tmp_path / "run").exists()


def test_the_command_line_of_the_kubernetes_job_is_accepted(settings, project_root):
    job = yaml.safe_load((project_root / "k8s" / "training" / "job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert container["command"] == ["wbc-train", "train"]
    config = settings(*container["args"])
    assert config.distribute
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert str(config.data_root) in mounts
    assert str(config.run_dir.parent) in mounts


def test_the_kubernetes_job_asks_for_a_gpu_and_runs_without_privileges(project_root):
    folder = project_root / "k8s" / "training"
    job = yaml.safe_load((folder / "job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert int(container["resources"]["limits"]["nvidia.com/gpu"]) >= 1
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "/" not in container["image"], "the registry is the site's: kustomize sets it"
    claims = {v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v}
    stored = {d["metadata"]["name"] for d in yaml.safe_load_all((folder / "storage.yaml").read_text())}
    assert claims == stored
    listed = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert {"job.yaml", "storage.yaml"} == set(listed)
