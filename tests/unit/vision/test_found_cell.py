"""One finding, and its masks in any window."""

import csv
from collections import defaultdict

import cv2
import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.crop import Window, cell_window, extract, locate_cell, place
from orchestrator.vision.decode import decode
from orchestrator.vision.found_cell import find_cell, masks_in
from tests.synthetic_cells import synthetic_cell_with_masks


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


@pytest.mark.parametrize("class_name", CLASS_NAMES)
def test_masks_of_a_painted_cell_overlap_the_true_ones(class_name):
    smear = synthetic_cell_with_masks(class_name, seed=1)

    nucleus, cell = in_the_frame(find_cell(smear.rgb), smear.rgb.shape)

    assert dice(cell, smear.cell) > 0.93
    assert dice(nucleus, smear.nucleus) > (0.75 if class_name == "Basophil" else 0.9)


def test_the_location_is_that_of_locate_cell():
    rgb = synthetic_cell_with_masks("Eosinophil", seed=2).rgb

    assert find_cell(rgb).location == locate_cell(rgb)


@pytest.mark.parametrize("level", [0, 128, 240])
def test_where_nothing_is_found_both_masks_are_empty(level):
    blank = np.full((120, 160, 3), level, np.uint8)

    masks = masks_in(find_cell(blank), Window(0, 0, 120, 160), 64)

    assert find_cell(blank) is None
    assert masks.nucleus.shape == masks.cell.shape == (64, 64)
    assert not masks.nucleus.any()
    assert not masks.cell.any()


@pytest.mark.parametrize(
    "window", [Window(100, 90, 150, 150), Window(0, 0, 360, 360), Window(30, -60, 330, 400)]
)
def test_the_masks_of_a_window_are_where_the_window_shows_the_cell(window):
    """Jittered, whole and squashed alike: the true masks, cut as the pixels are, lie where ours do."""
    smear = synthetic_cell_with_masks("Monocyte", seed=3)
    cell, nucleus = (
        extract(mask.astype(np.uint8) * np.uint8(255), window, IMAGE_SIZE) > 127
        for mask in (smear.cell, smear.nucleus)
    )

    masks = masks_in(find_cell(smear.rgb), window, IMAGE_SIZE)

    assert dice(masks.cell > 0.5, cell) > 0.93
    assert dice(masks.nucleus, nucleus) > 0.8


def test_the_edge_is_soft_and_the_nucleus_within():
    smear = synthetic_cell_with_masks("Lymphocyte", seed=0)
    found = find_cell(smear.rgb)

    masks = masks_in(found, cell_window(found.location, 1.4, smear.rgb.shape), IMAGE_SIZE)

    assert masks.cell.dtype == np.float32
    assert masks.nucleus.dtype == np.bool_
    assert masks.cell.min() == 0
    assert masks.cell.max() == 1
    row = masks.cell[IMAGE_SIZE // 2]
    edge = int(np.count_nonzero((row > 0.02) & (row < 0.98)))
    assert 10 <= edge <= 40  # two edges of about four sigma
    assert masks.cell[masks.nucleus].min() > 0.3


def cell_with_a_wide_outline(around):
    """A small dark nucleus in ``around``'s disc of 2.4 nuclei, on a light field."""
    rgb = np.full((300, 300, 3), (235, 228, 225), np.uint8)
    around(rgb)
    cv2.circle(rgb, (150, 150), 30, (100, 50, 140), -1)
    return cv2.GaussianBlur(rgb, (0, 0), 1.5)


def test_a_small_nucleus_in_even_cytoplasm_keeps_its_wide_outline():
    rgb = cell_with_a_wide_outline(lambda frame: cv2.circle(frame, (150, 150), 55, (190, 165, 205), -1))
    true = cv2.circle(np.zeros((300, 300), np.uint8), (150, 150), 55, 1, -1) > 0

    _, cell = in_the_frame(find_cell(rgb), rgb.shape)

    assert dice(cell, true) > 0.95


def test_masks_of_an_unseen_microscope_overlap_the_true_ones(wbc_data):
    scores = defaultdict(list)
    with (wbc_data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask"]][::5]
    for row in rows:
        rgb = decode((wbc_data / row["path"]).read_bytes()).rgb
        truth = cv2.imread(str(wbc_data / row["mask"]), cv2.IMREAD_GRAYSCALE)
        nucleus, cell = in_the_frame(find_cell(rgb), rgb.shape)
        scores["nucleus"].append(dice(nucleus, truth > 192))
        scores["cell"].append(dice(cell, truth > 64))

    assert np.mean(scores["nucleus"]) > 0.925
    assert np.mean(scores["cell"]) > 0.955


def in_the_frame(found, shape):
    """Nucleus and cell, bool ``[H, W]``, by way of the served crop."""
    window = cell_window(found.location, 1.4, shape)
    masks = masks_in(found, window, IMAGE_SIZE)
    return place(masks.nucleus.astype(np.float32), window, shape) > 0.5, place(
        masks.cell, window, shape
    ) > 0.5
