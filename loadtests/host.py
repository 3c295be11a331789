"""How busy the machine is, which every timing is to be read with, and what a service takes of it."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil


def host_in_words() -> str:
    """Cores, and the load average of the last minute (runnable threads of everybody on this machine)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return f"{cores} cores, load average {os.getloadavg()[0]:.1f}"


@contextmanager
def divided_cores() -> Iterator[Callable[[], None]]:
    """What is started within has all cores but one, which this thread has once it calls what this gives.

    Nothing is divided on one core, nor where an operating system knows no such thing.
    """
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(cores) < 2:
        yield lambda: None
        return
    own = {max(cores)}
    os.sched_setaffinity(0, cores - own)
    try:
        yield lambda: os.sched_setaffinity(0, own)
    finally:
        os.sched_setaffinity(0, cores)


def resident_mb(pid: int) -> float:
    """Resident memory in MB (2**20 bytes) of a process and those that it started, by Linux' own account.

    What each has for itself, and what several map of the same file once, whoever else maps it, too.

    Raises ``psutil.NoSuchProcess`` where there is none.
    """
    private, shared = 0, Counter[str]()
    for one in _family(pid):
        for found in one.memory_maps(grouped=True):
            own = found.private_clean + found.private_dirty
            private += own
            shared[found.path] = max(shared[found.path], found.rss - own)
    return (private + shared.total()) / 2**20


def cpu_seconds(pid: int) -> float:
    """Processor time, user and system, that a process and those that it started have used so far.

    Raises ``psutil.NoSuchProcess`` where there is none.
    """
    times = [one.cpu_times() for one in _family(pid)]
    return sum(one.user + one.system for one in times)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
