import numpy as np
import pytest

from orchestrator.model_contract import CAM_SIZE
from orchestrator.vision.foreground import CellMasks
from orchestrator.vision.heatmap import focus_ratio
from training.focus_agreement import FocusCase, planted, summary


def round_cell(side: int = 224) -> CellMasks:
    rows, columns = np.indices((side, side))
    distance = np.hypot(rows - side / 2, columns - side / 2)
    return CellMasks(distance < side / 6, (distance < side / 3).astype(np.float32))


@pytest.mark.parametrize(
    ("heat", "least", "most"), [("nucleus", 0.9, 1.0), ("background", 0.0, 0.2), ("border", 0, 0.2)]
)
def test_planted_maps_lie_where_they_are_planted(heat, least, most):
    masks = round_cell()
    cam = planted(heat, masks)
    assert cam.shape == (CAM_SIZE, CAM_SIZE)
    side = 224 // CAM_SIZE
    whole = np.kron(cam, np.ones((side, side), np.float32))
    assert least <= focus_ratio(whole, masks.cell) <= most


def test_a_row_counts_agreement_and_what_was_told():
    cases = [
        FocusCase("model", "sound", "sound", 0.9, 0.92),
        FocusCase("model", "doubtful", "background", 0.6, 0.5),
        FocusCase("model", "sound", "doubtful", 0.9, 0.7),
        FocusCase("model", "background", "background", 0.2, 0.2),
    ]
    assert summary("model", cases) == (
        "the network's", "4", "1", "1", "2", "50.0%", "75.0%", "50.0%", "0.080",
    )  # fmt: skip
