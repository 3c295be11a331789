"""What every test may ask for."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

# Before the first import of Keras or TensorFlow: the project trains on TensorFlow, whatever a personal
# Keras configuration says, and a failing test is easier to read without TensorFlow's start-up notes.
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

# No test asks a language model that the shell, or the file .env, of whoever runs it has a key for.
for key in ("GITHUB_TOKEN", "GEMINI_API_KEY"):
    os.environ.pop(key, None)
os.environ["WBC_ENV_FILE"] = ""

# Two processes for each of some hundred services would be most of the time that the tests take; those which a
# test starts as a process of its own (:mod:`tests.running_service`) have them.
os.environ.setdefault("WBC_IMAGES__PROCESSES", "0")

# The many interpreters that tests start find everything compiled, also where this one was told, as it is in
# containers, to keep nothing; and so do the next tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A loaded machine is no failure (no deadline), and every run draws the same examples.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")

PROJECT_ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """A service that a test starts in this process configures logging, which the next test must not
    inherit."""
    root, requests = logging.getLogger(), logging.getLogger("orchestrator.requests")
    before = root.level, list(root.handlers), requests.level
    yield
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    requests.setLevel(before[2])
    logging.captureWarnings(False)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that holds pyproject.toml."""
    return PROJECT_ROOT


@pytest.fixture(scope="session")
def wbc_data() -> Path:
    """The folder of real images, ``<split>/<Class>/*`` with ``manifest.csv``; the test is skipped without it.

    ``WBC_DATA_ROOT`` says where it is; otherwise it is looked for beside the project.
    """
    root = Path(os.environ.get("WBC_DATA_ROOT") or PROJECT_ROOT.parent / "shared" / "data" / "wbc")
    if not (root / "manifest.csv").is_file():
        pytest.skip(f"no images: {root}/manifest.csv does not exist (set WBC_DATA_ROOT)")
    return root


@pytest.fixture(scope="session")
def synthetic_cell() -> Callable[..., NDArray[np.uint8]]:
    """Paints a cell: ``synthetic_cell("Neutrophil", seed=3, size=360)`` is RGB, uint8 ``[360, 360, 3]``."""
    from tests.synthetic_cells import synthetic_cell as paint

    return paint
