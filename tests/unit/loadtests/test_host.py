"""What a service takes of the machine, its processes together, and which cores a load generator leaves it."""

import os
import subprocess
import sys
import time

import pytest

from loadtests.host import cpu_seconds, divided_cores, resident_mb

BUSY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "x = bytearray(b'1' * 60_000_000); print(len(x), flush=True);"
                          "sum(range(6_000_000)); import time; time.sleep(60)"], stdout=subprocess.PIPE)
child.stdout.readline()
time.sleep(1)
print("ready", flush=True)
time.sleep(60)
"""


def test_memory_and_time_are_those_of_a_process_and_what_it_started() -> None:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            assert parent.stdout.readline() == "ready\n"
            give_up_s = time.monotonic() + 10
            while cpu_seconds(parent.pid) < 0.1 and time.monotonic() < give_up_s:
                time.sleep(0.1)

            assert 65 < resident_mb(parent.pid) < 110  # 57 of the child's array, and two interpreters
            assert cpu_seconds(parent.pid) >= 0.1
        finally:
            subprocess.run(["pkill", "-P", str(parent.pid)], check=False)
            parent.kill()


@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="one core"
)
def test_what_is_started_has_all_cores_but_the_one_that_is_taken_then() -> None:
    before = os.sched_getaffinity(0)
    with divided_cores() as take_own:
        shown = "import os; print(sorted(os.sched_getaffinity(0)))"
        started = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
        take_own()
        own = os.sched_getaffinity(0)

    assert started.stdout.strip() == str(sorted(before - own))
    assert len(own) == 1
    assert os.sched_getaffinity(0) == before
