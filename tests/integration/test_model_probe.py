"""``wbc model``, as the pods of TensorFlow Serving run it: processes of their own."""

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from orchestrator.model_server.fingerprint import model_sha256
from tests.export_fixture import ExportedModel
from tests.running_service import PROJECT_ROOT, free_port

WBC = [sys.executable, "-c", "from orchestrator.commands.cli import main; main()"]


@contextmanager
def process(command: list[str], **variables: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that has written its first line."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT), "WBC_ENV_FILE": "", **variables}
    running = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        assert running.stdout.readline(), "it ended"
        yield running
    finally:
        running.kill()
        running.communicate()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_a_server_that_hangs_in_predict_is_found_although_its_status_answers(
    small_exported_model: ExportedModel,
) -> None:
    grpc_port, rest_port, port = free_port(), free_port(), free_port()
    stand_in = [sys.executable, "-m", "tests.fakes.tf_serving_stand_in", "--threads=1"]
    stand_in += [f"--model-dir={small_exported_model.model_dir}"]
    stand_in += [f"--port={grpc_port}", f"--rest-port={rest_port}"]
    asked = {"WBC_TF_SERVING__TARGET": f"127.0.0.1:{grpc_port}", "WBC_TF_SERVING__TIMEOUT_S": "3"}
    livez, rest = f"http://127.0.0.1:{port}/livez", f"http://127.0.0.1:{rest_port}"

    def delay(seconds: float) -> None:
        told = json.dumps({"delay_s": seconds}).encode()
        urllib.request.urlopen(f"{rest}/faults", told).close()

    with process([*WBC, "model", "probe", "--host=127.0.0.1", f"--port={port}"], **asked) as probe:
        assert status(livez) == 503  # nobody is there
        with process(stand_in):
            delay(0.0)
            answered = [status(livez) for _ in range(3)]  # the first may compile the network for longer
            assert answered[-1] == 200
            delay(3600.0)
            assert status(f"{rest}/v1/models/wbc/metadata") == 200
            assert status(livez) == 503
            delay(0.0)
            assert status(livez) == 200
        probe.send_signal(signal.SIGTERM)
        assert probe.wait(30) == 0


def verified(folder: Path, hashes: Mapping[int, str]) -> tuple[int, str]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PROJECT_ROOT),
        "WBC_ENV_FILE": "",
        "WBC_TF_SERVING__SHA256": json.dumps(hashes),
    }
    ended = subprocess.run(
        [*WBC, "model", "verify", str(folder)], env=environment, capture_output=True, text=True, timeout=120
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_version_whose_files_are_others_or_unknown_is_refused(tmp_path: Path) -> None:
    version = tmp_path / "8"
    (version / "variables").mkdir(parents=True)
    (version / "saved_model.pb").write_bytes(b"graph")
    (version / "variables" / "data").write_bytes(b"weights")
    known = {8: model_sha256(version)}

    assert verified(tmp_path, known)[0] == 0
    also = shutil.copytree(version, tmp_path / "08")  # which the server takes for 8, too
    (also / "variables" / "data").write_bytes(b"weightz")
    assert verified(tmp_path, known)[0] == 2
    version.rename(tmp_path / "kept")
    also.rename(version)
    (tmp_path / "kept").rename(also)
    assert verified(tmp_path, known)[0] == 2
    shutil.rmtree(also)
    code, told = verified(tmp_path, known)
    assert code == 2
    assert f"expected SHA-256 {known[8]}, received {model_sha256(version)}" in " ".join(told.split())
    assert verified(tmp_path, {7: known[8]})[0] == 2
    assert verified(version, known)[0] == 2  # no folder of versions
