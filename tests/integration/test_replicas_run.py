"""The load test of several orchestrators, in small: what it measures is as it should be."""

from loadtests.replicas import run


def test_two_orchestrators_share_the_work_and_kills_of_them_fail_no_cell() -> None:
    figures = run(replicas=2, cells=8, kills=1, worker_kills=2, seconds=3600, lease_s=20)

    assert figures.wrong == [], str(figures)
    assert figures.rows[0][1].startswith("64 of 64 needed")
