"""What a stretch of requests comes to, what saturation concludes, and what files are sent."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from loadtests.client import Figures, Outcome, figures
from loadtests.images import bad_files, files_of, painted_cells
from loadtests.saturation import Step, kept_share, peak_was_found, plot, write_csv
from orchestrator.errors import InvalidImage
from orchestrator.vision.decode import decode


def outcomes(count: int, took_s: float, status: int = 200, seconds: float = 10.0) -> list[Outcome]:
    return [Outcome(index * seconds / count, took_s, status) for index in range(count)]


def step(loop: str, level: float, goodput: float) -> Step:
    return Step(loop, level, Figures(1.0, goodput, goodput, 1.0, 2.0, 3.0, 0.5, 0.0))


def test_rates_percentiles_and_shares_of_a_stretch() -> None:
    found = figures([*outcomes(100, 0.05), *outcomes(50, 0.001, 503), *outcomes(50, 0.001, 0)], 10, 1)
    assert found.offered == 20
    assert found.throughput == pytest.approx(10, rel=0.02)
    assert found.goodput == found.throughput
    assert found.p99_ms == pytest.approx(50)
    assert (found.shed_share, found.failed_share) == (0.25, 0.25)


def test_an_answer_after_the_deadline_is_throughput_and_no_goodput() -> None:
    found = figures(outcomes(100, 2.0), 10, 1)
    assert found.throughput > 5
    assert found.goodput == 0


def test_a_backlog_that_is_answered_after_the_end_does_not_count() -> None:
    assert figures(outcomes(100, 11.0), 10, 60).throughput == 0


def test_no_request_has_no_figures() -> None:
    with pytest.raises(ValueError, match="at least one request"):
        figures([], 10, 1)


def test_goodput_at_the_highest_overload_is_compared_with_the_peak_of_all_steps(tmp_path: Path) -> None:
    steps = [step("closed", 1, 5), step("closed", 8, 10), step("open", 1, 9), step("open", 3, 8)]
    assert kept_share(steps) == 0.8
    assert peak_was_found(steps)
    assert kept_share([step("closed", 1, 0), step("open", 3, 0)]) == 0
    assert not peak_was_found([step("closed", 8, 5), step("open", 3, 9)])  # that was no overload
    write_csv(tmp_path / "s.csv", steps)
    plot(tmp_path / "s.png", steps, "a run")
    assert len((tmp_path / "s.csv").read_text().splitlines()) == 5
    assert cv2.imread(str(tmp_path / "s.png")) is not None


def test_painted_cells_have_the_sizes_of_real_ones_and_are_the_same_every_time() -> None:
    cells = painted_cells(per_class=1)
    assert cells == painted_cells(per_class=1)
    assert len({cell.data for cell in cells}) == 10
    assert {decode(cell.data).rgb.shape for cell in cells} == {(360, 360, 3), (575, 575, 3)}
    assert all(10_000 < len(cell.data) < 300_000 for cell in cells)


def test_every_bad_file_is_one_that_the_service_must_refuse() -> None:
    for file in bad_files(painted_cells(per_class=1)):
        with pytest.raises(InvalidImage):
            decode(file.data)


def test_files_of_a_folder_are_spread_evenly_and_lose_their_names(tmp_path: Path) -> None:
    for index in range(10):
        cv2.imwrite(str(tmp_path / f"patient-{index}.png"), np.full((8, 8, 3), 20 * index, np.uint8))
    files = files_of(tmp_path, limit=4)
    assert [file.name for file in files] == ["0.png", "1.png", "2.png", "3.png"]
    assert [int(decode(file.data).rgb.max()) for file in files] == [0, 60, 120, 180]
    with pytest.raises(ValueError, match="found none"):
        files_of(tmp_path / "absent")
