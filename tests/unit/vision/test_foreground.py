"""Nucleus and cell masks."""

import csv

import cv2
import numpy as np

from orchestrator.model_contract import IMAGE_SIZE
from orchestrator.vision.crop import extract
from orchestrator.vision.decode import decode
from orchestrator.vision.foreground import cell_masks, nucleus_component
from orchestrator.vision.preprocessing import Recipe, preprocess
from tests.synthetic_cells import synthetic_cell_with_masks


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_masks_of_a_synthetic_cell_overlap_the_true_ones():
    for class_name in ("Lymphocyte", "Monocyte", "Neutrophil"):
        smear = synthetic_cell_with_masks(class_name, seed=1, size=600)
        around = np.s_[150:450, 150:450]

        masks = cell_masks(np.ascontiguousarray(smear.rgb[around]))

        assert masks.nucleus.shape == masks.cell.shape == (300, 300)
        assert dice(masks.nucleus, smear.nucleus[around]) > 0.8, class_name
        assert dice(masks.cell > 0.5, smear.cell[around]) > 0.75, class_name


def test_masks_of_an_unseen_microscope_overlap_the_true_ones(wbc_data):
    nucleus_scores, cell_scores = [], []
    with (wbc_data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mask"]][::5]
    for row in rows:
        rgb = decode((wbc_data / row["path"]).read_bytes()).rgb
        truth = cv2.imread(str(wbc_data / row["mask"]), cv2.IMREAD_COLOR)
        truth = cv2.resize(truth, rgb.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        cell = preprocess(rgb, Recipe())
        truth = extract(truth, cell.window, IMAGE_SIZE)[:, :, 0]

        nucleus_scores.append(dice(cell.masks.nucleus, truth > 192))
        cell_scores.append(dice(cell.masks.cell > 0.5, truth > 64))

    assert np.mean(nucleus_scores) > 0.92
    assert np.mean(cell_scores) > 0.95


def test_a_blank_field_has_no_nucleus_and_no_cell():
    blank = np.full((120, 160, 3), 245, np.uint8)

    assert nucleus_component(blank) is None
    masks = cell_masks(blank)
    assert not masks.nucleus.any()
    assert not masks.cell.any()


def test_the_soft_mask_stays_between_0_and_1_and_leaves_red_cells_out():
    smear = synthetic_cell_with_masks("Lymphocyte", seed=0, size=600)
    around = np.s_[150:450, 150:450]

    mask = cell_masks(np.ascontiguousarray(smear.rgb[around])).cell

    assert mask.dtype == np.float32
    assert mask.min() >= 0
    assert mask.max() <= 1
    assert mask[smear.cell[around]].mean() > 0.8
    assert mask[~smear.cell[around]].mean() < 0.1
