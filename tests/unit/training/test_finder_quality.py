"""How often the cell is found, and images without one are marked."""

import csv

import cv2
import numpy as np
import pytest

from orchestrator.domain import Finding, ReviewReason
from orchestrator.model_contract import CLASS_NAMES
from tests.synthetic_cells import synthetic_cell_with_masks
from training.finder_quality import (
    empty_table,
    finder_table,
    located_overlap,
    measure_empty,
    measure_finder,
)
from training.negatives import field_negatives


def box_of(mask):
    rows, columns = np.nonzero(mask)
    return (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A split with one good and one wrong box, and a further device with a whole field."""
    root = tmp_path_factory.mktemp("data")
    cell = synthetic_cell_with_masks("Lymphocyte", 0, 240)
    good, wrong = box_of(cell.cell), (0, 0, 30, 30)
    header = "path,device,slide,mask,x0,y0,x1,y1"
    for folder, rows in (
        ("wbc", [("Train", "a", good), ("Train", "a", wrong)]),
        ("more", [("scope", "scope", good)]),
    ):
        (root / folder).mkdir()
        with (root / folder / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, header.split(","), restval="")
            writer.writeheader()
            for number, (split, device, box) in enumerate(rows):
                path = f"{split}/Lymphocyte/{number}.png"
                write(root / folder / path, cell.rgb)
                corners = dict(zip(("x0", "y0", "x1", "y1"), box, strict=True))
                writer.writerow({"path": path, "device": device, **corners})
    fields = [("scope/field.png", "dev"), ("scope/held.png", "test"), ("other/field.png", "dev")]
    for path, _ in fields:
        field = np.full((400, 400, 3), 200, np.uint8)
        field[20:120, 20:120] = 90  # what the box is of
        write(root / "fields" / path, field)
    (root / "fields" / "fields.csv").write_text(
        "path,slide,split,x0,y0,x1,y1\n"
        + "".join(f"{path},,{split},20,20,120,120\n" for path, split in fields)
    )
    return root


def write(path, rgb):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), rgb[:, :, ::-1])


def test_a_cell_is_found_where_the_located_square_overlaps_its_box_by_half(data):
    scores = {
        (s.split, s.device): s
        for s in measure_finder(data / "wbc", ["Train"], more=[data / "more" / "scope"])
    }

    assert (scores["Train", "a"].images, scores["Train", "a"].found) == (2, 0.5)
    assert (scores["scope", "scope"].images, scores["scope", "scope"].found) == (1, 1.0)
    of_fields = scores["scope fields", "scope"]
    assert (of_fields.images, of_fields.found) == (1, 0.0)  # of an empty field that is not held back
    assert scores["scope", "scope"].overlap > 0.7


def test_a_cell_of_a_whole_field_is_looked_for_in_its_surroundings(tmp_path):
    cell = synthetic_cell_with_masks("Lymphocyte", 0, 240)
    (tmp_path / "more/scope").mkdir(parents=True)
    left, top, right, bottom = box_of(cell.cell)
    field = np.full((600, 600, 3), 230, np.uint8)
    field[300:540, 200:440] = cell.rgb
    field[360:600, 460:600] = cell.rgb[:, 50:190] // 2  # darker and larger, beyond what is cut out
    write(tmp_path / "fields/scope/one.png", field)
    box = f"{left + 200},{top + 300},{right + 200},{bottom + 300}"
    table = f"path,slide,split,x0,y0,x1,y1\nscope/one.png,,dev,{box}\n"
    (tmp_path / "fields/fields.csv").write_text(table)
    write(tmp_path / "more/scope/Lymphocyte/one.png", cell.rgb)
    (score,) = measure_finder(tmp_path, [], more=[tmp_path / "more/scope"])
    assert (score.split, score.images, score.found) == ("scope fields", 1, 1.0)


def test_nothing_located_overlaps_nothing():
    assert located_overlap(np.full((120, 120, 3), 220, np.uint8), (20, 20, 90, 90)) == 0


def test_a_drawn_mask_says_where_the_cell_is(tmp_path):
    cell = synthetic_cell_with_masks("Monocyte", 1, 240)
    write(tmp_path / "TestB/Monocyte/1.png", cell.rgb)
    cv2.imwrite(str(tmp_path / "mask.png"), np.where(cell.cell, 255, 0).astype(np.uint8))
    (tmp_path / "manifest.csv").write_text("path,device,slide,mask\nTestB/Monocyte/1.png,t,,mask.png\n")
    (score,) = measure_finder(tmp_path, ["TestB"])
    assert (score.truth, score.found) == ("mask", 1.0)


def test_painted_devices_have_a_score_each(data):
    scores = [s for s in measure_finder(data / "wbc", [], painted=1) if s.truth == "painted"]
    assert {s.device for s in scores} == {"scanner", "phone", "camera", "any"}
    assert {s.images for s in scores} == {len(CLASS_NAMES)}
    assert "For research use only" in finder_table(scores).caption


def test_windows_of_fields_that_are_not_held_back_are_counted_as_marked_or_not(data):
    shapes = []

    def find(rgb):
        shapes.append(rgb.shape)
        marked = (ReviewReason("uncertain_cell", "."),) if (rgb == 200).all() else ()
        return Finding(0, (0.2,) * 5, 0.5, -5.0, 0.0, "none", marked)

    (of_device,) = [
        s for s in measure_empty(data / "wbc", 5, find, more=[data / "more" / "scope"]) if "scope" in s.kind
    ]
    assert (of_device.images, of_device.marked, of_device.reasons) == (1, 1.0, "uncertain_cell 1")
    assert shapes[-1][:2] == (140, 140)
    windows = [field_negatives(data / "more" / "scope", 1, seed=seed)[0] for seed in range(40)]
    assert all((window.rgb == 200).all() for window in windows)  # nothing of the cell that the box is of
    assert "For research use only" in empty_table([of_device]).caption
