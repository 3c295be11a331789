"""The closed outline of a cell, and the masks that it makes."""

import csv

import numpy as np
import pytest

from orchestrator.model_contract import CLASS_NAMES, IMAGE_SIZE
from orchestrator.vision.cell_outline import cell_outline, fill
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

    masks = cell_masks(crop)

    assert masks.nucleus.dtype == np.bool_
    assert dice(masks.cell > 0.5, cell) > 0.93
    if class_name == "Basophil":  # granules lie over the nucleus: where that ends cannot be seen
        assert masks.nucleus[nucleus].mean() > 0.7
    else:
        assert dice(masks.nucleus, nucleus) > 0.95


def test_the_soft_mask_lies_in_0_to_1_holds_the_nucleus_and_leaves_red_cells_out():
    crop, _, cell = crop_with_masks("Neutrophil", 2)

    masks = cell_masks(crop)

    assert masks.cell.dtype == np.float32
    assert 0 <= masks.cell.min() <= masks.cell.max() <= 1
    assert masks.cell[masks.nucleus].mean() > 0.9
    assert masks.cell[cell].mean() > 0.9
    assert masks.cell[~cell].mean() < 0.05


def test_a_blank_field_has_no_masks():
    masks = cell_masks(np.full((120, 160, 3), 245, np.uint8))

    assert masks.cell.shape == masks.nucleus.shape == (120, 160)
    assert not masks.cell.any()
    assert not masks.nucleus.any()


def test_a_crop_need_not_be_square():
    smear = synthetic_cell_with_masks("Monocyte", 3)
    part = np.s_[60:300, 20:350]

    masks = cell_masks(np.ascontiguousarray(smear.rgb[part]))

    assert masks.cell.shape == (240, 330)
    assert dice(masks.cell > 0.5, smear.cell[part]) > 0.9


def test_a_nucleus_that_fills_the_crop_is_a_mask_without_an_error():
    random = np.random.default_rng(0)
    crop = (np.array([96, 52, 138]) + random.normal(0, 12, (90, 90, 1))).clip(0, 255).astype(np.uint8)
    crop[:6, :6] = 240

    masks = cell_masks(crop)

    assert masks.cell.shape == (90, 90)
    assert np.isfinite(masks.cell).all()


def box_overlap(mask, box):
    rows, columns = np.nonzero(mask)
    own = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    shared = max(0, min(own[2], box[2]) - max(own[0], box[0])) * max(
        0, min(own[3], box[3]) - max(own[1], box[1])
    )
    return shared / sum((b[2] - b[0]) * (b[3] - b[1]) for b in (own, box)) * 2  # Dice of the boxes


def test_on_train_the_mask_fits_the_boxes(wbc_data):
    with (wbc_data / "manifest.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["path"].startswith("Train") and row["x0"]][::20]
    overlaps = []
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
        overlaps.append(box_overlap(cell_masks(extract(rgb, window, IMAGE_SIZE)).cell > 0.5, box))

    assert np.mean(overlaps) > 0.92


def test_an_outline_lies_around_its_nucleus_in_the_crops_own_pixels():
    crop, nucleus, cell = crop_with_masks("Eosinophil", 4)

    outline = cell_outline(crop, nucleus.view(np.uint8))

    inside = fill(outline, crop.shape) > 0
    assert outline.dtype == np.float32
    assert dice(inside, cell) > 0.93
    assert inside[nucleus].mean() > 0.98


def test_a_nucleus_too_small_to_be_seen_has_no_outline():
    crop, nucleus, _ = crop_with_masks("Eosinophil", 4)

    assert cell_outline(crop, np.zeros_like(nucleus, np.uint8)) is None


def test_a_larger_crop_has_the_masks_of_the_same_crop_at_the_models_size():
    smear = synthetic_cell_with_masks("Neutrophil", 5, 720)
    window = cell_window(locate_cell(smear.rgb), 1.4, smear.rgb.shape)
    small, large = (cell_masks(extract(smear.rgb, window, side)) for side in (IMAGE_SIZE, 3 * IMAGE_SIZE))

    assert large.cell.shape == large.nucleus.shape == (3 * IMAGE_SIZE, 3 * IMAGE_SIZE)
    assert dice(large.cell[1::3, 1::3] > 0.5, small.cell > 0.5) > 0.97
    assert dice(large.nucleus[1::3, 1::3], small.nucleus) > 0.95
