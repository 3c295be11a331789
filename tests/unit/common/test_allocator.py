"""What the C library's allocator is told."""

import subprocess
import sys

import pytest

MEASURE = """
import resource
import numpy as np
from orchestrator.common.allocator import keep_image_memory

if {kept}:
    keep_image_memory()
for _ in range(50):
    np.ones(400_000, np.uint8)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(500):
    np.ones(400_000, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(*, kept: bool) -> int:
    command = [sys.executable, "-c", MEASURE.format(kept=kept)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mallopt is the GNU C library's")
def test_the_memory_of_a_freed_image_serves_the_next_one_without_fresh_pages():
    assert page_faults(kept=True) < 500
