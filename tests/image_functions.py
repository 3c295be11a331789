"""What the tests let image workers do; in a module, so that a process of its own can import it."""

import os
import resource
import signal
import time
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import UnsupportedImage
from orchestrator.observability.stages import stage


def brighter(image: NDArray[np.uint8], by: int = 1) -> dict[str, object]:
    return {"image": image + np.uint8(by), "by": by, "process": os.getpid()}


def refuse(name: str) -> None:
    with stage(name):
        raise UnsupportedImage("Not this one.")


def fail() -> None:
    raise ZeroDivisionError("in the worker")


def staged(*names: str) -> None:
    for name in names:
        with stage(name):
            time.sleep(0.01)


def note(path: Path, word: str, seconds: float = 0.0) -> str:
    with path.open("a") as file:
        file.write(word)
    time.sleep(seconds)
    return word


def hold(path: Path, until: Path) -> str:
    """Begin, which ``path`` shows, and end when there is ``until``."""
    path.touch()
    while not until.exists():
        time.sleep(0.005)
    return path.name


def end_suddenly(path: Path, word: str, times: int, how: signal.Signals = signal.SIGSEGV) -> str:
    """Ends its process the first ``times`` times: by a fault of its own, or as from outside."""
    note(path, word)
    if path.read_text().count(word) <= times:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), how)
    return word


def never_end(path: Path) -> None:
    note(path, "x")
    time.sleep(600)


def threads_of_opencv() -> int:
    return cv2.getNumThreads()
