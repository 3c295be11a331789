"""The objective, Locust's statistics, and the verdict over both."""

from math import inf
from pathlib import Path

import pytest

from loadtests.objective import KindStatistics, is_met, judge, read_objective, read_statistics

SLO = """\
[all]
least_requests = 10
answered_share = 0.9
[single]
p95_ms = 100
p99_ms = 200
"""
TIMES = "\n".join(["kind,ms,failed", *["single,1049.4,0"] * 19, "single,1149.6,0", *["burst,3.0,1"] * 4])


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def statistics(**changes: float) -> dict[str, KindStatistics]:
    values = {
        "requests": 20, "failures": 0, "p50_ms": 50.0, "p95_ms": 90.0, "p99_ms": 150.0,
        **changes,
    }  # fmt: skip
    row = KindStatistics(**values)  # type: ignore[arg-type]
    return {"single": row, "Aggregated": row}


def missed(found: dict[str, KindStatistics], folder: Path) -> list[str]:
    return [
        one.target for one in judge(read_objective(written(folder / "slo.toml", SLO)), found) if not one.met
    ]


def test_the_shipped_objective_names_the_kinds_that_the_locustfile_sends(project_root: Path) -> None:
    source = (project_root / "loadtests/locustfile.py").read_text(encoding="utf-8")
    kinds = read_objective().latency
    assert set(kinds) == {"single", "burst", "field", "batch", "bad file"}
    for kind in kinds:
        assert f'("{kind}",' in source or f'"{kind}", file' in source


def test_statistics_are_read_by_kind_and_a_kind_without_answers_has_no_times(tmp_path: Path) -> None:
    found = read_statistics(written(tmp_path / "load_times.csv", TIMES))
    assert found["burst"] == KindStatistics(4, 4, inf, inf, inf)
    assert (found["Aggregated"].requests, found["Aggregated"].failures) == (24, 4)


def test_percentiles_are_measured_times_and_not_rounded_ones(tmp_path: Path) -> None:
    found = read_statistics(written(tmp_path / "load_times.csv", TIMES))
    assert found["single"] == KindStatistics(20, 0, 1049.4, 1049.4, 1149.6)


def test_a_run_within_every_limit_meets_the_objective(tmp_path: Path) -> None:
    verdicts = judge(read_objective(written(tmp_path / "slo.toml", SLO)), statistics())
    assert is_met(verdicts)
    assert len(verdicts) == 4


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({"requests": 9}, "at least 10 requests"),
        ({"failures": 3}, "answered as expected: at least 90.00%"),
        ({"p95_ms": 101.0}, "single: p95 at most 100 ms"),
        ({"p99_ms": float("inf")}, "single: p99 at most 200 ms"),
    ],
)
def test_one_missed_target_is_named(tmp_path: Path, changes: dict[str, float], target: str) -> None:
    assert missed(statistics(**changes), tmp_path) == [target]


def test_a_kind_that_sent_nothing_and_a_run_without_requests_miss(tmp_path: Path) -> None:
    everything = statistics()
    del everything["single"]
    assert len(missed(everything, tmp_path)) == 2
    assert len(missed({}, tmp_path)) == 4


@pytest.mark.parametrize(
    "wrong", ["[all]\nleast_requests = 0\n", SLO + "p100_ms = 1\n", "all = [", "[single]\n"]
)
def test_a_wrong_objective_is_refused_by_its_file_name(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ValueError, match=r"slo\.toml"):
        read_objective(written(tmp_path / "slo.toml", wrong))
