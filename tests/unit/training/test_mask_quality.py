"""How masks are judged."""

import csv

import cv2
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from tests.synthetic_cells import synthetic_cell_with_masks
from training.commands.masks import masks as masks_command
from training.datasets import read_split
from training.mask_quality import (
    METHODS,
    FrameMasks,
    box_agreement,
    dice,
    measure_masks,
    reference_masks,
)


@pytest.fixture(scope="module")
def data_root(tmp_path_factory):
    """Train: two cells with boxes. TestB: two with masks, and one with neither."""
    root = tmp_path_factory.mktemp("painted")
    (root / "masks").mkdir()
    rows = []
    for seed, (split, name, told) in enumerate(
        (
            ("Train", "Lymphocyte", "box"),
            ("Train", "Eosinophil", "box"),
            ("TestB", "Neutrophil", "mask"),
            ("TestB", "Monocyte", "mask"),
            ("TestB", "Monocyte", "nothing"),
        )
    ):
        smear = synthetic_cell_with_masks(name, seed, 240)
        path = f"{split}/{name}/{seed}.png"
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / path), smear.rgb[:, :, ::-1])
        row = {"path": path, "device": "painted", "slide": ""}
        if told == "box":
            cell_rows, columns = np.nonzero(smear.cell)
            row |= {"x0": columns.min(), "y0": cell_rows.min()}
            row |= {"x1": columns.max() + 1, "y1": cell_rows.max() + 1}
        if told == "mask":
            cv2.imwrite(str(root / "masks" / f"{seed}.png"), smear.levels)
            row["mask"] = f"masks/{seed}.png"
        rows.append(row)
    with (root / "manifest.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ("path", "device", "slide", "x0", "y0", "x1", "y1", "mask"))
        writer.writeheader()
        writer.writerows(rows)
    return root


def test_masks_are_judged_where_there_are_masks_and_boxes_where_there_are_boxes(data_root):
    scores = {(s.split, s.method): s for s in measure_masks(data_root, ["Train", "TestB"])}

    train, test = scores["Train", "outlined"], scores["TestB", "outlined"]
    assert (train.masks, train.boxes) == (0, 2)
    assert train.dice_cell is None
    assert train.box_iou > 0.85
    assert train.centre_error < 0.05
    assert (test.masks, test.boxes) == (2, 0)
    assert test.box_iou is None
    assert test.dice_cell > 0.93
    assert test.dice_nucleus > 0.93
    assert set(scores) == {(split, method) for split in ("Train", "TestB") for method in METHODS}


def test_the_true_masks_themselves_have_a_dice_of_1(data_root):
    samples = {s.load().tobytes(): s for s in read_split(data_root, "TestB") if s.mask}

    def known(rgb):
        levels = samples[rgb.tobytes()].load_true_mask()
        return FrameMasks(levels > 0, levels == 255)

    (score,) = measure_masks(data_root, ["TestB"], {"known": known})

    assert score.dice_cell == score.dice_nucleus == 1


def test_the_reference_tells_no_nucleus_and_takes_red_cells_for_foreground(data_root):
    (score,) = measure_masks(data_root, ["TestB"], {"reference": reference_masks})

    assert score.dice_nucleus is None
    assert score.dice_cell < 0.9


def test_dice_and_boxes_of_known_shapes():
    mask = np.zeros((20, 20), bool)
    mask[5:15, 5:15] = True
    half = mask.copy()
    half[10:] = False

    assert dice(mask, half) == pytest.approx(2 * 50 / 150)
    assert dice(mask, ~mask) == 0
    assert box_agreement(mask, (5, 5, 15, 15)) == (1, 0)
    assert box_agreement(half, (5, 5, 15, 15)) == pytest.approx((0.5, 0.25))
    assert box_agreement(np.zeros_like(mask), (5, 5, 15, 15)) == (0, float("inf"))


def test_the_command_writes_a_row_per_split_and_method(data_root, tmp_path):
    masks_command(data_root, "TestB", tmp_path / "new" / "masks.csv")

    with (tmp_path / "new" / "masks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["method"] for row in rows] == list(METHODS)
    assert float(rows[-1]["dice_cell"]) > 0.93


def test_data_without_masks_and_boxes_is_an_error_that_says_what_is_missing(tmp_path):
    folder = tmp_path / "Train" / "Monocyte"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "one.png"), np.full((64, 64, 3), 200, np.uint8))

    with pytest.raises(ConfigurationError, match="expected true masks or boxes"):
        measure_masks(tmp_path, ["Train"])
