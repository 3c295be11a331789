import os
from pathlib import Path

import pytest

from orchestrator.common.cores import available_cores

ALL = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize("text", ["max 100000\n", "", "100000\n", "many 100000", "100000 0"])
def test_without_a_limit_all_cores_are_available(tmp_path: Path, text: str) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores(tmp_path / "cpu.max") == ALL
    assert available_cores(tmp_path / "none") == ALL


@pytest.mark.parametrize(("text", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("150000 100000", 2)])
def test_a_limit_of_the_container_is_as_many_cores_as_it_is_worth(
    tmp_path: Path, text: str, cores: int
) -> None:
    (tmp_path / "cpu.max").write_text(text)
    assert available_cores(tmp_path / "cpu.max") == min(cores, ALL or 1)


def test_a_limit_over_what_is_there_adds_nothing(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("100000000 100000")
    assert available_cores(tmp_path / "cpu.max") == ALL
