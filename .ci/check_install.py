"""Make the service's environment from nothing, as a new user would, ask it one image, and stop it.

Once for each interpreter and pip: the oldest pip that matters (Debian 12's), the one that the interpreter
brings, and the newest. Needs nothing but Python; each time downloads what `make run` does. Exit code 1, and
what went wrong, where one fails.
"""

import argparse
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INTERPRETERS = ("python3.11", "python3.12", "python3.13")
PIPS = {"oldest": "pip==23.0.1", "own": None, "newest": "pip"}
IMAGE = ROOT / "tests" / "golden" / "example.png"
READY_WITHIN_S = 180.0

_open = urllib.request.build_opener(
    urllib.request.ProxyHandler({})
).open  # no proxy stands before this machine


class InstallFailed(Exception):
    """An environment that could not be made, or that lacks something."""


def make_environment(
    folder: Path, lock: Path, options: list[str], python: str = sys.executable, pip: str = "own"
) -> Path:
    """A virtual environment with what ``lock`` names and nothing else; the path of its interpreter.

    Args:
        folder: where it is made; must not exist.
        lock: a requirements file with pins and hashes.
        options: of ``pip install``, as the Makefile gives them.
        python: the interpreter to make it with.
        pip: ``oldest``, ``own`` or ``newest``.

    Raises:
        InstallFailed: a step failed, or a package in it lacks one that it needs.
    """
    _run([python, "-m", "venv", str(folder)])
    inside = folder / "bin" / "python"
    call = [str(inside), "-m", "pip", "--disable-pip-version-check"]
    if (requirement := PIPS[pip]) is not None:
        _run([*call, "install", "--quiet", "--upgrade", requirement])
    _run([*call, "install", "--quiet", *options, "--requirement", str(lock)])
    _look_for_gaps(call, folder / "installed.txt")
    return inside


def _look_for_gaps(pip: list[str], listed: Path) -> None:
    """Let pip resolve what is installed: it must want nothing more.

    ``pip check`` would not do: it does not see what is needed for an extra alone.
    """
    listed.write_text(_run([*pip, "freeze", "--all"]))
    said = _run([*pip, "install", "--dry-run", "--no-index", "--requirement", str(listed)])
    if "Would install" in said:
        raise InstallFailed(f"the lock lacks what it needs: {said.strip().splitlines()[-1]}")


def ask(inside: Path) -> str:
    """Start the service of an environment, ask it one image, stop it; the class that it answered.

    Raises:
        InstallFailed: it did not start, did not answer, or answered no class.
    """
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as stream:
            service = subprocess.Popen(
                [str(inside.with_name("wbc")), "serve", "--host", "127.0.0.1", "--port", str(port)],
                cwd=ROOT, env=_clean_environment(), stdout=stream, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            _until_ready(service, f"http://127.0.0.1:{port}/readyz")
            with _open(_request(f"http://127.0.0.1:{port}/predict"), timeout=60) as response:
                answer = json.load(response)
        except (InstallFailed, OSError, ValueError) as error:
            said = log.read_text(errors="replace")[-4000:]
            raise InstallFailed(f"the service: {error}\n{said}") from error
        finally:
            service.terminate()
            try:
                service.wait(timeout=30)
            except subprocess.TimeoutExpired:
                service.kill()
                service.wait()
    if answer["class"] not in answer["all_probabilities"]:
        raise InstallFailed(
            f"expected one of {list(answer['all_probabilities'])}, received {answer['class']!r}"
        )
    return str(answer["class"])


def _clean_environment() -> dict[str, str]:
    """Nothing of whoever runs the check: the settings' defaults, as on a new machine."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("WBC_", "PYTHON"))}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _request(url: str) -> urllib.request.Request:
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="cell.png"\r\n\r\n'
    body = head.encode() + IMAGE.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
    return urllib.request.Request(
        url, body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}, method="POST"
    )


def _until_ready(service: "subprocess.Popen[bytes]", url: str) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if service.poll() is not None:
            raise InstallFailed(f"it ended with exit code {service.returncode}")
        try:
            with _open(url, timeout=5):
                return
        except OSError:  # refused, or an answer that is an error
            time.sleep(0.3)
    raise InstallFailed(f"not ready within {READY_WITHIN_S:.0f} s")


def _run(command: list[str]) -> str:
    """What the command wrote to its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=ROOT)
    if done.returncode:
        raise InstallFailed(f"{shlex.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


def main() -> None:
    """Check every interpreter asked for with every pip asked for; exit code 1 where one fails."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pip", choices=PIPS, action="append", help="which pip; all three where absent")
    parser.add_argument(
        "--python",
        action="append",
        help=f"interpreter; where absent those of {', '.join(INTERPRETERS)} that are there",
    )
    parser.add_argument("--options", default="", help="of pip install, in one string: the Makefile's LOCKED")
    parser.add_argument(
        "--project-options", default="", help="of pip install, for the project: the Makefile's PROJECT"
    )
    parser.add_argument("--lock", type=Path, default=ROOT / "requirements" / "runtime.txt")
    asked = parser.parse_args()
    pythons = asked.python or [name for name in INTERPRETERS if _answers(name)] or [sys.executable]
    failed = False
    for python in pythons:
        for pip in asked.pip or PIPS:
            began = time.monotonic()
            with tempfile.TemporaryDirectory() as folder:
                try:
                    inside = make_environment(
                        Path(folder) / "run", asked.lock, shlex.split(asked.options), python, pip
                    )
                    _run([str(inside), "-m", "pip", "install", *shlex.split(asked.project_options)])
                    said = f"answered {ask(inside)}"
                except InstallFailed as error:
                    failed, said = True, f"FAILED: {error}"
            print(f"{python}, {pip} pip: {said} ({time.monotonic() - began:.0f} s)", flush=True)
    sys.exit(failed)


def _answers(python: str) -> bool:
    """Whether there is such an interpreter; a shim of a version manager may stand for none."""
    if shutil.which(python) is None:
        return False
    return subprocess.run([python, "-c", ""], capture_output=True).returncode == 0


if __name__ == "__main__":
    main()
