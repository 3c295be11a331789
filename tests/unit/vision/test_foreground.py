"""Nucleus and cell masks."""

import csv

import cv2
import numpy as np

from orchestrator.vision.decode import decode
from orchestrator.vision.foreground import cell_masks, nucleus_component, soft_foreground
from tests.synthetic_cells import synthetic_cell_with_masks


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_masks_of_a_synthetic_cell_overlap_the_true_ones():
    for class_name in ("Lymphocyte", "Monocyte", "Neutrophil"):
        smear = synthetic_cell_with_masks(class_name, seed=1)

        masks = cell_masks(smear.rgb)

        assert masks.nucleus.shape == masks.cell.shape == smear.rgb.shape[:2]
        assert dice(masks.nucleus, smear.nucleus) > 0.8, class_name


def test_the_nucleus_of_an_unseen_microscope_overlaps_the_true_one(wbc_data):
    scores = []
    with (wbc_data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask"]][::10]
    for row in rows:
        rgb = decode((wbc_data / row["path"]).read_bytes()).rgb
        truth = cv2.imread(str(wbc_data / row["mask"]), cv2.IMREAD_GRAYSCALE) == 255
        scores.append(dice(cell_masks(rgb).nucleus, truth))

    assert np.mean(scores) > 0.88


def test_a_blank_field_has_no_nucleus_and_is_foreground_all_over():
    blank = np.full((120, 160, 3), 245, np.uint8)

    assert nucleus_component(blank) is None
    masks = cell_masks(blank)
    assert not masks.nucleus.any()
    np.testing.assert_array_equal(masks.cell, 1)


def test_the_soft_mask_stays_between_0_and_1_and_prefers_the_cell():
    smear = synthetic_cell_with_masks("Monocyte", seed=0)
    row, column = (int(indices.mean()) for indices in np.nonzero(smear.cell))
    half = int(0.7 * np.sqrt(smear.cell.sum()))
    around = np.s_[max(0, row - half) : row + half, max(0, column - half) : column + half]

    mask = soft_foreground(np.ascontiguousarray(smear.rgb[around]))

    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[smear.cell[around]].mean() > 0.8
    assert mask[~smear.cell[around]].mean() < 0.5
