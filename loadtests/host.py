"""How busy the machine is, which every timing is to be read with, and what a process takes of it."""

import os
from pathlib import Path


def host_in_words() -> str:
    """Cores, and the load average of the last minute (runnable threads of everybody on this machine)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{cores} cores, load average {os.getloadavg()[0]:.1f}"


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MB (2**20 bytes), by Linux' own account.

    Raises ``OSError`` where there is no such process, or no Linux.
    """
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise OSError(f"expected VmRSS of process {pid}, found none")


def cpu_seconds(pid: int) -> float:
    """Processor time, user and system, that a process has used so far.

    Raises ``OSError`` as :func:`resident_mb`.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
