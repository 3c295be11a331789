"""Configuration files of TensorFlow Serving beside the models, in protobuf text format.

``models.config`` is a ``ModelServerConfig``, ``batching.config`` a ``BatchingParameters``,
``monitoring.config`` a ``MonitoringConfig`` (all ``tensorflow.serving``).
"""

from pathlib import Path
from types import MappingProxyType
from typing import Final

from orchestrator.model_contract import ALLOWED_BATCH_SIZES, MAX_BATCH_SIZE, MODEL_NAME

MODELS_CONFIG: Final = f"""\
# Read by --model_config_file. The path is that of the mounted model repository.
model_config_list {{
  config {{
    name: "{MODEL_NAME}"
    base_path: "/models/{MODEL_NAME}"
    model_platform: "tensorflow"
    # The newest version that is there: load it on a fresh server, then switch.
    model_version_policy {{ latest {{ num_versions: 1 }} }}
  }}
}}
"""

BATCHING_CONFIG: Final = "\n".join(
    [
        "# Read by --batching_parameters_file, with --enable_batching. Of the signature `views` a batch",
        "# counts images, each with up to eight views. For 4 cores and for a GPU; loadtests/capacity.py says",
        "# how long a full batch takes.",
        f"max_batch_size {{ value: {MAX_BATCH_SIZE} }}",
        "# No waiting: images gather by themselves while every thread is busy.",
        "batch_timeout_micros { value: 0 }",
        "# One batch runs, and the next is made ready meanwhile. Each takes 60 MB an image, and more threads",
        "# would only share the same cores, or the one stream of a GPU, with smaller batches.",
        "num_batch_threads { value: 2 }",
        "# A short queue: a caller waits at most for one batch of each thread, or is told to come back.",
        "max_enqueued_batches { value: 2 }",
        "# The last one has to equal max_batch_size; the warm-up records cover each.",
        *(f"allowed_batch_sizes: {size}" for size in ALLOWED_BATCH_SIZES),
        "",
    ]
)

MONITORING_CONFIG: Final = """\
# Read by --monitoring_config_file; needs --rest_api_port.
prometheus_config {
  enable: true
  path: "/monitoring/prometheus/metrics"
}
"""

SERVING_CONFIGS: Final = MappingProxyType(
    {
        "models.config": MODELS_CONFIG,
        "batching.config": BATCHING_CONFIG,
        "monitoring.config": MONITORING_CONFIG,
    }
)


def write_serving_configs(repository: Path) -> tuple[Path, ...]:
    """Write the files that ``repository`` lacks and return their paths.

    A file that is there stays: it may carry a site's tuning.
    """
    written = []
    for name, text in SERVING_CONFIGS.items():
        path = repository / name
        if not path.exists():
            path.write_text(text, encoding="utf-8")
            written.append(path)
    return tuple(written)
