"""Images without a white cell: where they are cut from real frames, and how often they are marked."""

import cv2
import numpy as np
import pytest

from orchestrator.domain import Finding, ReviewReason
from orchestrator.errors import ConfigurationError
from training.negatives import (
    Negative,
    empty_window,
    has_boxes,
    painted_negatives,
    photograph_windows,
    real_negatives,
    review_rates,
)
from training.painted_negatives import NEGATIVES

MARK = (250, 0, 250)


@pytest.fixture
def data_root(tmp_path):
    """Frames of two devices; the box is painted in a colour that nothing else has."""
    rows = ["path,device,x0,y0,x1,y1"]
    for number, (split, device, box) in enumerate(
        [
            ("Train", "a", (120, 100, 240, 230)),
            ("Train", "a", (10, 10, 130, 140)),
            ("TestA", "b", (150, 150, 260, 250)),
            ("TestB", "b", (150, 150, 260, 250)),
            ("TestA", "b", (5, 5, 355, 355)),
            ("TestA", "b", ("", "", "", "")),
        ]
    ):
        path = tmp_path / split / "Basophil" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame = np.full((360, 360, 3), 200, np.uint8)
        if box[0] != "":
            frame[box[1] : box[3], box[0] : box[2]] = MARK
        cv2.imwrite(str(path), frame[:, :, ::-1])
        rows.append(f"{path.relative_to(tmp_path).as_posix()},{device},{','.join(map(str, box))}")
    (tmp_path / "manifest.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def test_windows_of_real_frames_show_nothing_of_the_cell(data_root):
    negatives = real_negatives(data_root, per_device=10)

    assert [negative.kind for negative in negatives] == [
        "a field without a white cell",
        "a field without a white cell",
        "b field without a white cell",  # TestB was not asked for, one frame is full, one has no box
    ]
    for negative in negatives:
        assert (negative.rgb == 200).all()
        assert negative.rgb.shape[0] == negative.rgb.shape[1] >= 64
    assert len(real_negatives(data_root, per_device=1)) == 2


@pytest.mark.parametrize("seed", range(20))
def test_a_window_lies_in_the_frame_beside_the_box_at_half_a_cell_or_more(seed):
    random = np.random.default_rng(seed)
    top, left = random.integers(0, 200, 2)
    bottom, right = top + random.integers(80, 180), left + random.integers(80, 180)

    rows, columns = empty_window((400, 500), (top, left, bottom, right), random)

    assert 0 <= rows.start < rows.stop <= 400
    assert 0 <= columns.start < columns.stop <= 500
    side = rows.stop - rows.start
    assert side == columns.stop - columns.start
    size = max(bottom - top, right - left)
    assert max(64, 0.5 * size) <= side <= size
    apart = rows.stop <= top or rows.start >= bottom or columns.stop <= left or columns.start >= right
    assert apart


@pytest.mark.parametrize("box", [(10, 10, 390, 390), (40, 40, 360, 360)])
def test_a_frame_without_room_beside_the_cell_has_no_window(box):
    assert empty_window((400, 400), box, np.random.default_rng(0)) is None


def test_a_folder_without_boxes_is_told(tmp_path):
    assert not has_boxes(tmp_path)
    (tmp_path / "manifest.csv").write_text("path,device,slide\na,b,c\n")
    assert not has_boxes(tmp_path)
    with pytest.raises(ConfigurationError, match=r"manifest\.csv with the columns .*x0"):
        real_negatives(tmp_path)


def test_rates_count_each_kind_and_its_reasons():
    def find(rgb):
        reasons = (ReviewReason("no_cell", "."), ReviewReason("blurred", "."))[: int(rgb.max())]
        return Finding(0, (1.0, 0, 0, 0, 0), 0.5, -3.0, 0.0, "none", reasons)

    images = [np.full((2, 2, 3), value, np.uint8) for value in (0, 1, 2)]
    rates = review_rates(
        [Negative("red cells", rgb) for rgb in images] + [Negative("blank", images[0])], find
    )

    assert list(rates) == ["red cells", "blank"]
    assert (rates["red cells"].flagged, rates["red cells"].total) == (2, 3)
    assert rates["red cells"].share == pytest.approx(2 / 3)
    assert rates["red cells"].reasons == {"no_cell": 2, "blurred": 1}
    assert rates["blank"].share == 0


def test_painted_negatives_are_of_every_kind_and_the_same_every_time():
    first, again = (painted_negatives(2, seed=1) for _ in range(2))

    assert [negative.kind for negative in first] == [
        f"painted {kind}" for kind in NEGATIVES for _ in range(2)
    ]
    assert all(np.array_equal(one.rgb, other.rgb) for one, other in zip(first, again, strict=True))
    assert not np.array_equal(first[0].rgb, painted_negatives(1, seed=2)[0].rgb)


def test_photographs_are_windows_of_different_places():
    windows = [negative.rgb for negative in photograph_windows(6)]

    assert all(window.dtype == np.uint8 and window.shape[0] == window.shape[1] >= 80 for window in windows)
    assert len({window.tobytes() for window in windows}) == 6
