"""The mean of the weights of several runs, as one more run.

Runs that begin with the same weights and see the images in another order tend to end in one valley: the mean
of their weights is a network, too, and often a better one on data of another kind (Wortsman et al. 2022,
arXiv:2203.05482; Rame et al. 2022, arXiv:2205.09739). Not measured on cells here.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

import training.layers  # noqa: F401  a run's classifier has layers of its own, which loading must know
from orchestrator.errors import ConfigurationError
from training.run_folder import RunFolder, write_json

_MAY_DIFFER: Final = frozenset({"data_seed", "run_dir", "model_path", "image_cache", "workers"})


def average_runs(runs: Sequence[Path], output: Path) -> Path:
    """Write the mean of the runs' best checkpoints into ``output`` with the manifest of the first; return its
    ``best.keras``.

    Raises :class:`ConfigurationError` where there are fewer than two runs, one is not finished, they were
    trained on other data or with other settings than an order of their own, or ``output`` is a run already.
    """
    if len(runs) < 2:
        raise ConfigurationError(f"expected at least two runs to average, received {len(runs)}")
    folders = [RunFolder(run) for run in runs]
    manifests = [_manifest(folder) for folder in folders]
    for run, manifest in zip(runs[1:], manifests[1:], strict=True):
        if wrong := _differences(manifests[0], manifest):
            raise ConfigurationError(
                f"{run} differs from {runs[0]} in {', '.join(wrong)}: no mean is sensible"
            )
    target = RunFolder(output)
    if target.manifest.exists():
        raise ConfigurationError(f"{output} holds a run already: choose another folder")
    model = keras.models.load_model(folders[0].best, compile=False)
    others = [keras.models.load_model(folder.best, compile=False).get_weights() for folder in folders[1:]]
    model.set_weights(
        [
            np.mean(same, axis=0, dtype=np.float64).astype(same[0].dtype)
            for same in zip(model.get_weights(), *others, strict=True)
        ]
    )
    output.mkdir(parents=True, exist_ok=True)
    model.save(target.best)
    orders = [manifest["config"]["data_seed"] for manifest in manifests]
    write_json(target.manifest, manifests[0] | {"averaged_data_seeds": orders})
    return target.best


def _manifest(folder: RunFolder) -> dict[str, Any]:
    if not (folder.best.is_file() and folder.manifest.is_file()):
        raise ConfigurationError(f"expected best.keras and run.json in {folder.path}; train first")
    manifest: dict[str, Any] = json.loads(folder.manifest.read_text(encoding="utf-8"))
    return manifest


def _differences(first: dict[str, Any], second: dict[str, Any]) -> list[str]:
    settings = sorted(
        key
        for key, value in first["config"].items()
        if key not in _MAY_DIFFER and second["config"].get(key) != value
    )
    return settings + [
        key for key in ("data_sha256", "negatives_sha256") if first.get(key) != second.get(key)
    ]
