"""The SHA-256 that names a model in every result, in the model card and in the log."""

import hashlib
from pathlib import Path


def model_sha256(version_dir: Path) -> str:
    """Return the SHA-256 (hex) over a SavedModel's graph and variables.

    ``saved_model.pb`` and every file of ``variables/`` count, with their names, in the order of the
    names. The model card, the warm-up records and what TensorFlow writes beside them do not: they do
    not change an answer.

    Raises:
        FileNotFoundError: ``version_dir`` holds no ``saved_model.pb``.
    """
    graph = version_dir / "saved_model.pb"
    variables = sorted((version_dir / "variables").glob("*"))
    digest = hashlib.sha256()
    for path in (graph, *variables):
        size = path.stat().st_size
        # Name and length first, so that no two sets of files read as the same bytes.
        digest.update(f"{path.relative_to(version_dir).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
