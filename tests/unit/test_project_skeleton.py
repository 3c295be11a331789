"""The project's own rules: what is pinned, what is packaged, and who may import whom."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK_FILES = ("requirements/runtime.txt", "requirements/dev.txt")
SERVED = ("tracing", "writers", "oidc", "interop", "dicom")
ADDRESS = re.compile(r"https?://|git\+|file:|^\s*--?(i|f|(extra-)?index-url|find-links)\b", re.MULTILINE)
MACHINE_PATH = re.compile(r"(?<![\w.$)}/])/(home|root|work|opt|tmp|Users|mnt|srv)/")
SUPPORTED_PYTHONS = ("3.11", "3.12", "3.13")
TRAINING_FRAMEWORKS = {"tensorflow", "tensorflow_serving", "keras", "jax", "torch", "sklearn", "training"}


@pytest.fixture(scope="module")
def pyproject(project_root: Path) -> dict[str, Any]:
    return tomllib.loads((project_root / "pyproject.toml").read_text())


def _pins(lock_file: Path) -> list[Requirement]:
    """The pinned requirements of a lock file, without their hashes."""
    logical_lines = lock_file.read_text().replace("\\\n", " ").splitlines()
    pins = [line.split("--hash")[0] for line in logical_lines if line and not line.lstrip().startswith("#")]
    return [Requirement(pin) for pin in pins]


def _names(pins: list[Requirement]) -> set[str]:
    return {canonicalize_name(pin.name) for pin in pins}


def _run(command: list[str], cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    # A make that runs these tests hands its own flags down; the commands under test shall not see them.
    environment = {
        name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}
    } | variables
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


class TestRequirements:
    @pytest.mark.parametrize(
        "name", [*LOCK_FILES, "pyproject.toml", "Makefile", ".ci/run", ".pre-commit-config.yaml"]
    )
    def test_tooling_names_no_address_and_no_machine_path(self, project_root: Path, name: str) -> None:
        text = (project_root / name).read_text()
        assert ADDRESS.search(text) is None
        assert MACHINE_PATH.search(text) is None
        assert str(project_root) not in text

    @pytest.mark.parametrize("name", LOCK_FILES)
    def test_every_requirement_is_pinned_with_a_hash(self, project_root: Path, name: str) -> None:
        lock_file = project_root / name
        for pin in _pins(lock_file):
            assert [specifier.operator for specifier in pin.specifier] == ["=="], str(pin)
        entries = re.split(r"^(?=[a-z0-9])", lock_file.read_text(), flags=re.MULTILINE)[1:]
        without_hash = [entry.split()[0] for entry in entries if "--hash=sha256:" not in entry]
        assert len(entries) > 20
        assert without_hash == []

    def test_development_runs_on_the_versions_of_production(self, project_root: Path) -> None:
        # Without their markers: the same condition is written in two ways where more packages ask.
        runtime, dev = (
            {(pin.name, str(pin.specifier)) for pin in _pins(project_root / name)} for name in LOCK_FILES
        )
        assert runtime - dev == set()

    @pytest.mark.parametrize(
        ("lock_file", "extras"),
        [(LOCK_FILES[0], SERVED), (LOCK_FILES[1], (*SERVED, "training", "dev"))],
    )
    def test_lock_file_satisfies_pyproject(
        self, project_root: Path, pyproject: dict[str, Any], lock_file: str, extras: tuple[str, ...]
    ) -> None:
        project = pyproject["project"]
        wanted = [*project["dependencies"], *pyproject["dependency-groups"]["build"]]
        for extra in extras:
            wanted += project["optional-dependencies"][extra]
        pins = _pins(project_root / lock_file)
        for requirement in map(Requirement, wanted):
            versions = [
                next(iter(pin.specifier)).version
                for pin in pins
                if canonicalize_name(pin.name) == canonicalize_name(requirement.name)
            ]
            assert versions, f"{requirement} is not in {lock_file}: make lock"
            assert all(map(requirement.specifier.contains, versions)), f"{requirement}, pinned {versions}"

    def test_production_installs_no_training_framework(self, project_root: Path) -> None:
        unwanted = {
            "tensorflow",
            "tensorflow-serving-api",
            "keras",
            "jax",
            "torch",
            "scikit-learn",
            "matplotlib",
        }
        assert _names(_pins(project_root / LOCK_FILES[0])) & unwanted == set()


def _imported_top_levels(folder: Path) -> Iterator[tuple[str, Path]]:
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.split(".")[0], path) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                yield node.module.split(".")[0], path


class TestOrchestrator:
    def test_it_starts_without_tensorflow_and_without_training(self, project_root: Path) -> None:
        listing = _run(
            [
                sys.executable,
                "-c",
                "import sys, orchestrator.commands.cli; print(*sys.modules)",
            ],
            cwd=project_root,
        )
        assert listing.returncode == 0, listing.stderr
        modules = listing.stdout.split()
        assert "orchestrator.bootstrap.services" in modules
        assert {module.split(".")[0] for module in modules} & TRAINING_FRAMEWORKS == set()

    def test_whatever_it_imports_is_a_requirement_of_production(self, project_root: Path) -> None:
        pinned = _names(_pins(project_root / LOCK_FILES[0]))
        providers = packages_distributions()
        checked = set()
        for module, path in _imported_top_levels(project_root / "orchestrator"):
            if module in sys.stdlib_module_names or module in ("orchestrator", "wbc_client"):
                continue
            distributions = {canonicalize_name(name) for name in providers.get(module, [])}
            assert distributions & pinned, f"{path.name} imports {module}, which runtime.txt does not install"
            checked.add(module)
        assert {"numpy", "cv2"} <= checked


class TestPackaging:
    @pytest.mark.parametrize("package", ["orchestrator", "training"])
    def test_every_data_file_is_packaged(
        self, project_root: Path, pyproject: dict[str, Any], package: str
    ) -> None:
        root = project_root / package
        patterns = pyproject["tool"]["setuptools"]["package-data"][package]
        packaged = {path for pattern in patterns for path in root.glob(pattern)}
        data = {
            path
            for path in root.rglob("*")
            if path.is_file() and path.suffix not in {".py", ".pyi", ".pyc", ".proto"}
        }
        assert root / "py.typed" in data
        assert data - packaged == set()


@pytest.fixture
def make_folder(project_root: Path, tmp_path: Path) -> Path:
    """A folder with the Makefile, what it reads, and no environment."""
    for name in ("Makefile", "pyproject.toml", *LOCK_FILES):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(project_root / name, tmp_path / name)
    return tmp_path


def _fake_python(path: Path, version: str) -> Path:
    """An interpreter that says it is another version, runs ``-c`` and does nothing else."""
    major, minor = version.split(".")
    source = (
        f"import sys; sys.version_info = ({major}, {minor}, 4); sys.argv[1] == '-c' and exec(sys.argv[2])"
    )
    path.parent.mkdir(exist_ok=True)
    path.write_text(f'#!/bin/sh\nexec {sys.executable} -c "{source}" "$@"\n')
    path.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
class TestMakefile:
    def test_help_is_the_default_and_names_every_target(self, project_root: Path) -> None:
        answer = _run(["make", "--no-print-directory"], cwd=project_root)
        assert answer.returncode == 0, answer.stderr
        targets = re.findall(r"^\.PHONY: (\w+)$", (project_root / "Makefile").read_text(), re.MULTILINE)
        assert {"run", "test", "check", "format", "train", "export", "lock"} <= set(targets)
        for target in targets:
            assert re.search(rf"^  make {target} +\S", answer.stdout, re.MULTILINE), target

    def test_run_honours_the_port(self, project_root: Path) -> None:
        answer = _run(["make", "--dry-run", "run", "PORT=9123"], cwd=project_root)
        assert re.search(r"serve .*--port 9123\b", answer.stdout)

    @pytest.mark.parametrize("target", ["run", "test"])
    @pytest.mark.parametrize("version", ["3.10", "3.14", "3.15"])
    def test_a_python_without_wheels_is_refused_with_a_reason(
        self, make_folder: Path, target: str, version: str
    ) -> None:
        python = _fake_python(make_folder / "python", version)
        answer = _run(["make", target, f"PYTHON={python}"], cwd=make_folder)
        assert answer.returncode != 0
        assert "Python 3.11, 3.12 or 3.13 is needed" in answer.stderr
        assert "no wheels for a newer one" in answer.stderr
        assert f"is {version}" in answer.stderr
        assert not (make_folder / ".venv").exists()

    @pytest.mark.parametrize("target", ["run", "test"])
    @pytest.mark.parametrize("version", SUPPORTED_PYTHONS)
    def test_a_supported_python_makes_the_environment(
        self, make_folder: Path, target: str, version: str
    ) -> None:
        python = _fake_python(make_folder / "python", version)
        answer = _run(["make", target, f"PYTHON={python}"], cwd=make_folder)
        assert "is needed" not in answer.stderr
        assert f"{python} -m venv --clear" in answer.stdout

    @pytest.mark.parametrize(
        ("there", "chosen"),
        [
            ({"python3": "3.14", "python3.12": "3.12"}, "python3.12"),
            ({"python3": "3.12", "python3.13": "3.13"}, "python3.13"),
            ({"python3": "3.13", "python3.14": "3.14"}, "python3"),
            ({"python3": "3.14", "python3.14": "3.14"}, "python3"),  # refused afterwards
        ],
    )
    def test_the_python_that_is_chosen_is_a_supported_one(
        self, make_folder: Path, there: dict[str, str], chosen: str
    ) -> None:
        for name, version in there.items():
            _fake_python(make_folder / "bin" / name, version)
        make = shutil.which("make")
        assert make is not None
        answer = _run([make, "--dry-run", "run"], cwd=make_folder, PATH=str(make_folder / "bin"))
        assert f"\n{chosen} -m venv" in answer.stdout, answer.stderr

    def test_the_pythons_are_the_same_ones_wherever_they_are_told(
        self, project_root: Path, pyproject: dict[str, Any]
    ) -> None:
        classifiers = " ".join(pyproject["project"]["classifiers"])
        assert tuple(re.findall(r"Python :: (3\.\d+)", classifiers)) == SUPPORTED_PYTHONS
        makefile = (project_root / "Makefile").read_text()
        candidates = " ".join(f"python{version}" for version in SUPPORTED_PYTHONS)
        assert f"PYTHONS := {candidates} python3\n" in makefile
        check = (project_root / ".ci" / "check_install.py").read_text()
        assert re.findall(r'"(python3\.\d+)"', check) == candidates.split()
        *others, last = SUPPORTED_PYTHONS
        in_words = f"Python {', '.join(others)} or {last}"
        for name in ("Makefile", "README.md", "CONTRIBUTING.md"):
            assert in_words in (project_root / name).read_text(), name


# Each line breaks one rule: the module that is made to import, and what it must not.
FORBIDDEN_IMPORTS = [
    ("orchestrator.vision.decode", "fastapi"),
    ("orchestrator.vision.tta", "orchestrator.routing"),
    ("orchestrator.routing", "prometheus_client"),
    ("orchestrator.routing", "orchestrator.observability.metrics"),
    ("orchestrator.model_contract", "grpc"),
    ("orchestrator.model_contract", "openvino"),
    ("orchestrator.domain", "orchestrator.settings"),
    ("orchestrator.errors", "orchestrator.domain"),
    ("orchestrator.analyse", "orchestrator.bootstrap.services"),
    ("orchestrator.analyse", "tensorflow"),
    ("orchestrator.commands.cli", "training.cli"),
    ("training.datasets", "orchestrator.analyse"),
    ("training.datasets", "orchestrator.model_server.base"),
]


@pytest.fixture(scope="module")
def verdict_on_forbidden_imports(
    project_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, str]:
    """The exit status and the words of the import contracts about a copy that breaks every rule above."""
    copy = tmp_path_factory.mktemp("broken")
    shutil.copy(project_root / "pyproject.toml", copy)
    for package in ("orchestrator", "training"):
        shutil.copytree(project_root / package, copy / package, ignore=shutil.ignore_patterns("__pycache__"))
    for importer, imported in FORBIDDEN_IMPORTS:
        path = (copy / importer.replace(".", "/")).with_suffix(".py")
        path.write_text(f"{path.read_text()}\nimport {imported}\n")
    return _lint_imports(copy)


def _lint_imports(root: Path) -> tuple[int, str]:
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    answer = _run([sys.executable, "-c", command, "--no-logo", "--no-cache"], cwd=root)
    return answer.returncode, answer.stdout + answer.stderr


class TestImportContracts:
    def test_the_project_keeps_them(self, project_root: Path) -> None:
        status, words = _lint_imports(project_root)
        assert status == 0, words

    @pytest.mark.parametrize(("importer", "imported"), FORBIDDEN_IMPORTS)
    def test_forbidden_import_is_reported(
        self, verdict_on_forbidden_imports: tuple[int, str], importer: str, imported: str
    ) -> None:
        status, words = verdict_on_forbidden_imports
        assert status == 1, words
        assert re.search(rf"{re.escape(importer)} -> {re.escape(imported)}\b", words), words
