import csv
import json

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from training.cli import app
from training.datasets import read_split, validation_split
from training.field_quality import real_fields
from training.negatives import real_negatives
from training.painted_negatives import NEGATIVES
from training.synthesize import SynthesisPlan, synthesize

PLAN = SynthesisPlan(train_per_class=11, test_per_class=1, negatives_per_kind=2, seed=5)


@pytest.fixture(scope="module")
def data_set(tmp_path_factory):
    return synthesize(tmp_path_factory.mktemp("painted") / "data", PLAN, workers=2)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_painted_data_set_reads_as_a_real_one(data_set):
    train, test_a, test_b = (read_split(data_set, split) for split in ("Train", "TestA", "TestB"))

    assert (len(train), len(test_a), len(test_b)) == (110, 10, 5)
    assert {sample.device for sample in train} == {sample.device for sample in test_a} == {"scanner", "phone"}
    assert {sample.device for sample in test_b} == {"camera"}
    assert {sample.class_index for sample in train} == set(range(5))
    assert not {sample.slide for sample in train} & {sample.slide for sample in test_a}


def test_slides_let_a_validation_part_be_cut_off(data_set):
    training, validation = validation_split(read_split(data_set, "Train"), 0.15, seed=1)

    assert {sample.class_index for sample in validation} == set(range(5))
    assert not {sample.slide for sample in training} & {sample.slide for sample in validation}


def test_every_image_has_a_box_and_a_mask_that_agree(data_set):
    manifest = {row["path"]: row for row in rows(data_set / "manifest.csv")}

    assert len(manifest) == 125
    for sample in read_split(data_set, "Train")[::9]:
        row = manifest[sample.path.relative_to(data_set).as_posix()]
        assert row["label_source"] == "painted"
        levels = sample.load_true_mask()
        assert levels is not None
        assert levels.shape == sample.load().shape[:2] == (int(row["height"]), int(row["width"]))
        left, top, width, height = cv2.boundingRect((levels > 0).astype(np.uint8))
        assert [left, top, left + width, top + height] == [int(row[key]) for key in ("x0", "y0", "x1", "y1")]


def test_every_image_has_its_attributes(data_set):
    attributes = rows(data_set / "attributes.csv")

    assert [row["path"] for row in attributes] == [row["path"] for row in rows(data_set / "manifest.csv")]
    assert all(all(row.values()) and len(row) == 12 for row in attributes)


def test_negatives_lie_apart_from_the_splits(data_set):
    folders = {path.name for path in (data_set / "negatives").iterdir()}

    assert folders == {kind.replace(" ", "_") for kind in NEGATIVES}
    assert len(list((data_set / "negatives").glob("*/*.jpg"))) == 2 * len(NEGATIVES)
    assert real_negatives(data_set, per_device=3), (
        "and windows beside the cells can be cut as from real frames"
    )


def test_the_contact_sheet_shows_each_class_device_and_kind(data_set):
    sheet = cv2.imread(str(data_set / "contact_sheet.png"))

    strips = 2 * 2 * len(CLASS_NAMES) + len(CLASS_NAMES) + len(NEGATIVES)
    assert sheet.shape == (strips * 144, 8 * 128, 3)
    assert sheet[16:144, :128].std() > 5


def test_the_readme_names_the_command_and_the_purpose(data_set):
    text = (data_set / "README.md").read_text(encoding="utf-8")

    assert "For research use only. Not for use in diagnostic procedures." in text
    assert "--train-per-class 11 --test-per-class 1 --devices scanner,phone --unseen-device camera" in text


def test_the_number_of_processes_changes_no_pixel(data_set, tmp_path):
    plan = SynthesisPlan(train_per_class=1, test_per_class=0, negatives_per_kind=0, seed=5)

    alone = synthesize(tmp_path / "alone", plan, workers=1)

    for path in sorted(alone.glob("Train/*/*.jpg")):
        assert path.read_bytes() == (data_set / path.relative_to(alone)).read_bytes()


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "precious.txt").write_text("mine")

    with pytest.raises(ConfigurationError, match="expected a new or empty folder"):
        synthesize(tmp_path, PLAN, workers=1)

    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"devices": ("scanner", "telescope")}, "expected different devices of scanner, phone, camera, any"),
        ({"unseen_device": "phone"}, "expected different devices"),
        ({"devices": ()}, "received camera"),
        ({"train_per_class": 0}, "at least one image of each class to train on"),
        ({"test_per_class": -1}, "expected test_per_class of at least 0, received -1"),
    ],
)
def test_a_plan_that_cannot_be_painted_says_why(change, message):
    with pytest.raises(ConfigurationError, match=message):
        SynthesisPlan(**change)


def test_the_command_paints_and_says_where(tmp_path):
    arguments = [
        "--train-per-class",
        "1",
        "--test-per-class",
        "0",
        "--devices",
        "any",
        "--unseen-device",
        "none",
    ]

    result = CliRunner().invoke(
        app,
        [
            "synthesize",
            "--output",
            str(tmp_path / "new"),
            *arguments,
            "--negatives-per-kind",
            "0",
            "--workers",
            "1",
        ],
    )

    assert result.exit_code == 0, result.output
    assert "contact_sheet.png" in result.output
    assert len(read_split(tmp_path / "new", "Train")) == 5


def test_whole_fields_come_with_boxes_and_outlines_that_agree_and_some_are_cut_or_empty(tmp_path):
    plan = SynthesisPlan(1, 0, ("scanner",), "camera", 0, seed=3, fields_per_device=3)
    root = synthesize(tmp_path / "data", plan, workers=1) / "fields"

    table = rows(root / "fields.csv")
    with_cells = [row for row in table if row["x0"]]
    assert {row["split"]: row["device"] for row in table} == {"dev": "scanner", "test": "camera"}
    assert {row["is_cut"] for row in with_cells} == {"true", "false"}
    for split in ("dev", "test"):
        fields = real_fields(root, split)
        assert [bool(field.boxes) for field in fields] == [True, True, True, False]
        assert sum(len(field.boxes) for field in fields) == sum(row["split"] == split for row in with_cells)
    for row in with_cells:
        image = cv2.imread(str(root / row["path"]))
        assert image.shape[:2] == (int(row["height"]), int(row["width"]))
        outlines = json.loads((root / row["outlines"]).read_text(encoding="utf-8"))
        rings = [np.array(feature["geometry"]["coordinates"][0]) for feature in outlines["features"]]
        boxes = [[*ring.min(axis=0).astype(int), *(ring.max(axis=0) + 0.5).astype(int)] for ring in rings]
        assert [int(row[key]) for key in ("x0", "y0", "x1", "y1")] in boxes
