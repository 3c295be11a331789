"""One target under atheris (libFuzzer for Python): ``python -m tests.fuzz.guided TARGET [FLAGS] [FILES]``.

Flags and files are libFuzzer's. A process of its own, as libFuzzer ends it at the first failure. Where
atheris is absent it understands ``-max_total_time`` and ``-seed``, and tries changed seeds without guidance.
"""

import importlib.util
import random
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.fuzz.mutation import drawn

# Modules are instrumented as they are imported: so these are named here, and the targets are imported later.
GUIDES: Final[Mapping[str, Sequence[str]]] = {
    "image": ("orchestrator.vision.containers",),
    "form": ("orchestrator.edge.http.uploads", "python_multipart"),
    "archive": ("orchestrator.edge.http.zip_archive", "zipfile"),
    "inference": ("orchestrator.edge.open_inference.message", "orchestrator.edge.open_inference.tensors"),
    "tensor": ("orchestrator.model_server.tensor_codec",),
    "hl7": ("orchestrator.interop",),
    "language": ("orchestrator.edge.http.languages",),
}
"""The targets, and the modules whose lines guide the search."""


def main(arguments: Sequence[str]) -> None:
    name, *flags = arguments
    if importlib.util.find_spec("atheris") is None:
        _unguided(name, flags)
        return
    import atheris

    with atheris.instrument_imports(include=list(GUIDES[name])):
        from tests.fuzz.targets import TARGETS

    atheris.Setup([name, *flags], TARGETS[name].run)
    atheris.Fuzz()


def _unguided(name: str, flags: Sequence[str]) -> None:
    """Writes its figures as libFuzzer does."""
    from tests.fuzz.targets import TARGETS

    numbers = dict(flag.lstrip("-").split("=", 1) for flag in flags if "=" in flag)
    ends_s = time.monotonic() + float(numbers.get("max_total_time", 10))
    rng = random.Random(int(numbers.get("seed", 1)))
    target, seeds = TARGETS[name], TARGETS[name].seeds()
    runs = 0
    while time.monotonic() < ends_s:
        data = drawn(seeds, rng)
        try:
            target.run(data)
        except BaseException:
            Path(numbers.get("artifact_prefix", "") + "crash").write_bytes(data)
            raise
        finally:
            runs += 1
    sys.stderr.write(f"stat::number_of_executed_units: {runs}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
