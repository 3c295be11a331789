"""How many processor cores this process may use."""

import math
import os
from pathlib import Path
from typing import Final

CPU_MAX: Final = Path("/sys/fs/cgroup/cpu.max")
"""Of control groups, version 2: the time that the group may use, and in which period; in microseconds."""


def available_cores(cpu_max: Path = CPU_MAX) -> int:
    """Cores that this process may be scheduled on, or as many as its container's limit is worth; at least 1.

    With more threads than the limit is worth, the kernel would stop all of them for the rest of each period.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = cpu_max.read_text().split()
        return max(1, min(cores, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or "max": no limit
        return cores
