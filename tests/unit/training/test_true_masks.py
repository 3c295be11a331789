"""Focus measured with masks that people drew."""

import cv2
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.vision.crop import Window
from tests.predictions import predicted
from tests.synthetic_cells import synthetic_cell_with_masks
from training.cells import evaluate_cells
from training.datasets import read_split
from training.evaluate import chosen_profile
from training.true_masks import read_mask_paths, window_masks


@pytest.fixture(scope="module")
def painted():
    return synthetic_cell_with_masks("Monocyte", 4, 240)


@pytest.fixture
def data_root(painted, tmp_path):
    """A split of two images, of which one has its masks."""
    folder = tmp_path / "TestB" / "Monocyte"
    folder.mkdir(parents=True)
    (tmp_path / "masks").mkdir()
    for name in ("drawn", "plain"):
        cv2.imwrite(str(folder / f"{name}.png"), painted.rgb[:, :, ::-1])
    cv2.imwrite(str(tmp_path / "masks" / "drawn.png"), painted.levels)
    (tmp_path / "manifest.csv").write_text(
        "path,device,slide,mask\n"
        "TestB/Monocyte/drawn.png,painted,,masks/drawn.png\n"
        "TestB/Monocyte/plain.png,painted,,\n"
    )
    return tmp_path


def looks_everywhere(views):
    """Answers Monocyte with maps that are even but for a corner: only the share of the frame counts."""
    main = np.full((len(views), 5), 0.1, np.float32)
    main[:, 3] = 0.6
    cams = np.ones((len(views), 5, 7, 7), np.float32)
    cams[:, :, 0, 0] = 0.0
    aux = np.full(len(views), 0.5, np.float32)
    return predicted(main, aux, np.log(main), cams)


def test_a_mask_is_cut_out_as_the_image_is(painted, data_root):
    masks = window_masks(data_root / "masks" / "drawn.png", Window(0, 0, 240, 240), (240, 240, 3))

    assert masks.cell.shape == masks.nucleus.shape == (224, 224)
    assert masks.cell.mean() == pytest.approx(painted.cell.mean(), rel=0.02)
    assert masks.nucleus.mean() == pytest.approx(painted.nucleus.mean(), rel=0.02)
    assert not (masks.nucleus & (masks.cell < 0.5)).any()
    rows, columns = np.nonzero(painted.cell)
    top, left = float(rows.min()), float(columns.min())
    tight = Window(top, left, float(np.ptp(rows) + 1), float(np.ptp(columns) + 1))
    assert window_masks(data_root / "masks" / "drawn.png", tight, (240, 240, 3)).cell.mean() > 0.7


def test_a_mask_of_another_size_is_refused(data_root):
    with pytest.raises(ConfigurationError, match=r"mask drawn\.png: expected the image's size \(360, 363\)"):
        window_masks(data_root / "masks" / "drawn.png", Window(0, 0, 360, 363), (360, 363, 3))


def test_the_focus_says_whose_masks_it_was_measured_with(data_root):
    samples = read_split(data_root, "TestB")
    profile = chosen_profile("default", "none")

    drawn, plain = evaluate_cells(looks_everywhere, samples, profile, mask_paths=read_mask_paths(data_root))

    assert (drawn.focus.masks, plain.focus.masks) == ("true", "own")
    assert drawn.finding == plain.finding  # what is marked for review rests on our own masks in any case
    assert drawn.focus.ratio == pytest.approx(plain.focus.ratio, abs=0.15)
    assert drawn.focus.ratio != plain.focus.ratio


def test_without_a_manifest_there_are_no_true_masks(tmp_path):
    assert read_mask_paths(tmp_path) == {}
