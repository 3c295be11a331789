"""Masks by a closed outline."""

import csv

import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.cell_outline import outlined_masks
from orchestrator.vision.crop import cell_window, extract, locate_cell
from orchestrator.vision.decode import decode
from orchestrator.vision.foreground import cell_masks
from tests.synthetic_cells import synthetic_cell_with_masks


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def crop_with_masks(class_name, seed, density=1.0):
    """A painted cell as serving crops it, stained as densely as asked, and its true masks."""
    smear = synthetic_cell_with_masks(class_name, seed)
    stained = 256 * ((smear.rgb + 1.0) / 256) ** density
    rgb = np.clip(stained, 0, 255).astype(np.uint8)
    window = cell_window(locate_cell(rgb), 1.4, rgb.shape)
    true = [
        extract(np.repeat(mask[:, :, np.newaxis] * np.uint8(255), 3, 2), window, IMAGE_SIZE)[:, :, 0] > 127
        for mask in (smear.nucleus, smear.cell)
    ]
    return extract(rgb, window, IMAGE_SIZE), *true


@pytest.mark.parametrize("class_name", CLASS_NAMES)
@pytest.mark.parametrize("density", [0.7, 1.0, 1.4])
def test_masks_of_a_painted_cell_agree_with_the_true_ones_however_densely_stained(class_name, density):
    crop, nucleus, cell = crop_with_masks(class_name, 1, density)

    masks = outlined_masks(crop)

    assert masks.nucleus.dtype == np.bool_
    assert dice(masks.cell > 0.5, cell) > 0.93
    # A basophil's granules lie over its nucleus: where that ends is not painted.
    assert dice(masks.nucleus, nucleus) > (0.75 if class_name == "Basophil" else 0.95)


def test_the_soft_mask_lies_in_0_to_1_holds_the_nucleus_and_leaves_red_cells_out():
    crop, _, cell = crop_with_masks("Neutrophil", 2)

    masks = outlined_masks(crop)

    assert masks.cell.dtype == np.float32
    assert 0 <= masks.cell.min() <= masks.cell.max() <= 1
    assert masks.cell[masks.nucleus].mean() > 0.9
    assert masks.cell[cell].mean() > 0.9
    assert masks.cell[~cell].mean() < 0.05


def test_a_blank_field_has_no_masks():
    masks = outlined_masks(np.full((120, 160, 3), 245, np.uint8))

    assert masks.cell.shape == masks.nucleus.shape == (120, 160)
    assert not masks.cell.any()
    assert not masks.nucleus.any()


def test_a_crop_need_not_be_square():
    smear = synthetic_cell_with_masks("Monocyte", 3)
    part = np.s_[60:300, 20:350]

    masks = outlined_masks(np.ascontiguousarray(smear.rgb[part]))

    assert masks.cell.shape == (240, 330)
    assert dice(masks.cell > 0.5, smear.cell[part]) > 0.9


def test_a_nucleus_that_fills_the_crop_is_a_mask_without_an_error():
    random = np.random.default_rng(0)
    crop = (np.array([96, 52, 138]) + random.normal(0, 12, (90, 90, 1))).clip(0, 255).astype(np.uint8)
    crop[:6, :6] = 240

    masks = outlined_masks(crop)

    assert masks.cell.shape == (90, 90)
    assert np.isfinite(masks.cell).all()


def box_overlap(mask, box):
    rows, columns = np.nonzero(mask)
    own = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    shared = max(0, min(own[2], box[2]) - max(own[0], box[0])) * max(
        0, min(own[3], box[3]) - max(own[1], box[1])
    )
    return shared / sum((b[2] - b[0]) * (b[3] - b[1]) for b in (own, box)) * 2  # Dice of the boxes


def test_on_train_the_outline_fits_the_boxes_better_than_the_grown_mask(wbc_data):
    with (wbc_data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("Train") and row["x0"]][::20]
    scores = {outlined_masks: [], cell_masks: []}
    for row in rows:
        rgb = decode((wbc_data / row["path"]).read_bytes()).rgb
        window = cell_window(locate_cell(rgb), 1.4, rgb.shape)
        scale = IMAGE_SIZE / window.width
        box = [
            (float(row[key]) - start) * scale
            for key, start in (
                ("x0", window.left),
                ("y0", window.top),
                ("x1", window.left),
                ("y1", window.top),
            )
        ]
        crop = extract(rgb, window, IMAGE_SIZE)
        for method, overlaps in scores.items():
            overlaps.append(box_overlap(method(crop).cell > 0.5, box))

    assert np.mean(scores[outlined_masks]) > 0.9
    assert np.mean(scores[outlined_masks]) > np.mean(scores[cell_masks]) + 0.03
