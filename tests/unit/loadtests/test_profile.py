"""The table of stages, from what /metrics says before and after."""

import os
import subprocess
import sys
import time

import pytest

from loadtests.profile import rows_of, spy, stages_of

BEFORE = """# HELP wbc_stage_duration_seconds .
# TYPE wbc_stage_duration_seconds histogram
wbc_stage_duration_seconds_bucket{le="+Inf",stage="decode"} 10
wbc_stage_duration_seconds_sum{stage="decode"} 1.0
wbc_stage_duration_seconds_count{stage="decode"} 10
wbc_stage_duration_seconds_bucket{le="+Inf",stage="report"} 4
wbc_stage_duration_seconds_sum{stage="report"} 4.0
wbc_stage_duration_seconds_count{stage="report"} 4
"""


def test_stages_are_what_ran_between_two_readings_the_costliest_first():
    after = BEFORE.replace('sum{stage="decode"} 1.0', 'sum{stage="decode"} 1.2').replace(
        'count{stage="decode"} 10', 'count{stage="decode"} 30'
    )
    after += 'wbc_stage_duration_seconds_sum{stage="model"} 2.0\n'
    after += 'wbc_stage_duration_seconds_count{stage="model"} 40\n'

    rows = rows_of(stages_of(BEFORE), stages_of(after), requests=20)

    assert rows == [("model", "50.00", "2.00", "100.00"), ("decode", "10.00", "1.00", "10.00")]


def test_what_cannot_be_looked_into_is_said(tmp_path):
    spying = spy(2**22 + os.getpid(), 1, tmp_path / "flame.svg")

    _, said = spying.communicate(timeout=60)

    assert spying.returncode != 0
    assert said.strip()


@pytest.mark.skipif(sys.platform != "linux", reason="rights to look into another process differ")
def test_a_flame_graph_of_a_process_names_what_it_does(tmp_path):
    code = "def is_busy():\n    while True:\n        pass\nis_busy()"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        time.sleep(0.5)
        spying = spy(process.pid, 2, tmp_path / "flame.svg")
        _, said = spying.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    if spying.returncode:
        pytest.skip(f"this machine does not let one process look into another: {said.strip()[:200]}")

    assert "is_busy" in (tmp_path / "flame.svg").read_text()
