"""The capacity model: what comes first, and that documents and autoscaling say the same."""

from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from loadtests.capacity import GPUS, REQUESTS_A_POD, limits, main, pods_for, table


def test_the_table_of_the_page_on_speed_is_made_by_it(project_root: Path) -> None:
    assert table() in (project_root / "docs" / "speed.md").read_text()


@pytest.mark.parametrize(
    ("pods", "gbit", "first"),
    [(2, 10, "orchestrators"), (1000, 10, "a100"), (1000, 0.5, "Gbit")],
)
def test_the_first_limit_is_that_of_what_there_is_least_of(pods: int, gbit: float, first: str) -> None:
    found = limits("a100", 2, pods, gbit=gbit)
    assert first in found[0].name
    assert [limit.requests_s for limit in found] == sorted(limit.requests_s for limit in found)


def test_processes_for_images_spare_pods() -> None:
    assert pods_for(800) == 20
    assert pods_for(800, processes=3) == 9


def test_it_says_what_is_an_estimate_and_what_it_is_not_for(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--gpu", "h100", "--replicas", "4"])
    told = capsys.readouterr().out
    assert "4 x h100 (estimate)" in told
    assert "(measured)" in told
    assert "research use only" in told


def test_the_most_orchestrators_feed_the_most_gpus(project_root: Path) -> None:
    def most(name: str) -> int:
        path = project_root / "k8s" / "components" / "autoscaling" / f"{name}.yaml"
        found = yaml.safe_load(path.read_text())["spec"]["maxReplicaCount"]
        assert isinstance(found, int)
        return found

    fed = most("tf-serving") * GPUS["l4"].requests_s
    assert fed <= most("orchestrator") * REQUESTS_A_POD[0] < 1.2 * fed
