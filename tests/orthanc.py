"""A real Orthanc with its DICOMweb plugin, as Debian installs it, in a folder of its own."""

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.running_service import free_port

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
USER, PASSWORD = "archivist", "long password"
START_TIMEOUT_S = 30.0


@contextmanager
def running_orthanc(folder: Path) -> Iterator[str]:
    """Start one on a free port, with a user and a password; gives the URL of its DICOMweb.

    The test is skipped where it is not installed.
    """
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        pytest.skip("no Orthanc: install Debian's packages orthanc and orthanc-dicomweb")
    port = free_port()
    configuration = folder / "orthanc.json"
    configuration.write_text(
        json.dumps(
            {
                "StorageDirectory": str(folder / "storage"),
                "IndexDirectory": str(folder / "index"),
                "HttpPort": port,
                "HttpBindAddresses": ["127.0.0.1"],
                "DicomServerEnabled": False,
                "RemoteAccessAllowed": False,
                "AuthenticationEnabled": True,
                "RegisteredUsers": {USER: PASSWORD},
                "Plugins": [str(PLUGIN)],
                "DicomWeb": {"Enable": True},
            }
        )
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, str(configuration)], stdout=log, stderr=log, cwd=folder)
    try:
        url = f"http://127.0.0.1:{port}/dicom-web"
        _wait_for(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/studies", timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 401:  # it asks who we are: it listens
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"Orthanc did not start; it said: {log.read_text()[-2000:]}")
