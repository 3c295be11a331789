"""Reading the class folders and splitting off a validation part."""

import csv
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES
from training.datasets import (
    FEW_CELLS,
    NOT_WBC_INDEX,
    Sample,
    data_fingerprint,
    fair_shares,
    read_device,
    read_negatives,
    read_run_samples,
    read_split,
    split_parts,
    validation_split,
)


def write_image(path, level=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((24, 24, 3), level, np.uint8))


@pytest.fixture
def data_root(tmp_path):
    for index, name in enumerate(CLASS_NAMES):
        for number in range(3):
            write_image(tmp_path / "Train" / name / f"{number}.png", 20 * index + number)
    (tmp_path / "Train" / "Basophil" / "notes.txt").write_text("not an image")
    return tmp_path


def test_samples_carry_the_class_of_their_folder_in_the_contracts_order(data_root):
    samples = read_split(data_root, "Train")

    assert len(samples) == 15
    assert all(sample.path.parent.name == CLASS_NAMES[sample.class_index] for sample in samples)


def test_device_and_slide_come_from_the_manifest(data_root):
    (data_root / "manifest.csv").write_text(
        "path,device,slide\nTrain/Basophil/0.png,raabin,s1\nTrain/Basophil/1.png,raabin,(unknown)\n"
    )

    samples = {sample.path.name: sample for sample in read_split(data_root, "Train")[:3]}

    assert (samples["0.png"].device, samples["0.png"].slide) == ("raabin", "s1")
    assert samples["1.png"].slide == "", "a remark in brackets is no slide"
    assert samples["2.png"].device == "unknown"


def test_true_masks_come_from_the_manifest(data_root):
    levels = np.array([[0, 128], [255, 0]], np.uint8)
    (data_root / "masks").mkdir()
    cv2.imwrite(str(data_root / "masks/0.png"), levels)
    (data_root / "manifest.csv").write_text(
        "path,device,slide,mask\n"
        "Train/Basophil/0.png,raabin,,masks/0.png\nTrain/Basophil/1.png,raabin,,\n"
        "Train/Basophil/2.png,raabin,,masks/none.png\n"
    )

    with_mask, without, lost = read_split(data_root, "Train")[:3]

    assert with_mask.mask == data_root / "masks/0.png"
    np.testing.assert_array_equal(with_mask.load_true_mask(), levels)
    assert without.mask is None
    assert without.load_true_mask() is None
    with pytest.raises(ConfigurationError, match=r"2\.png at .*none\.png"):
        lost.load_true_mask()


def test_a_sample_is_decoded_as_rgb(data_root):
    assert read_split(data_root, "Train")[-1].load()[0, 0].tolist() == [82, 82, 82]


def test_a_missing_split_or_an_empty_one_is_said(data_root):
    with pytest.raises(ConfigurationError, match="TestA"):
        read_split(data_root, "TestA")
    (data_root / "TestB").mkdir()
    with pytest.raises(ConfigurationError, match="found none"):
        read_split(data_root, "TestB")


def test_a_manifest_without_its_columns_is_said(data_root):
    (data_root / "manifest.csv").write_text("path,label\n")

    with pytest.raises(ConfigurationError, match="device, slide"):
        read_split(data_root, "Train")


def make_samples(groups):
    """``groups``: (device, class, slide, count)."""
    return [
        Sample(path=f"{device}{slide}{cls}{n}", class_index=cls, device=device, slide=slide)
        for device, cls, slide, count in groups
        for n in range(count)
    ]


def test_no_slide_is_on_both_sides_and_every_stratum_is_on_both():
    samples = make_samples(
        [("a", c, f"s{c}{i}", 5) for c in range(5) for i in range(8)] + [("b", c, "", 30) for c in range(5)]
    )

    training, validation = validation_split(samples, 0.15, seed=1)

    slides = [{s.slide for s in part if s.slide} for part in (training, validation)]
    assert not slides[0] & slides[1]
    assert len(training) + len(validation) == len(samples)
    for part in (training, validation):
        assert len(Counter((s.device, s.class_index) for s in part)) == 10
    assert 0.1 < len(validation) / len(samples) < 0.23


def test_a_class_on_one_large_slide_stays_in_training():
    samples = make_samples([("a", 0, "big", 80), ("a", 1, "", 40)])

    training, _ = validation_split(samples, 0.15, seed=0)

    assert sum(s.class_index == 0 for s in training) == 80


def test_where_every_slide_is_too_large_to_hold_out_it_is_said():
    one_slide = make_samples([(device, cls, "s1", 4) for device in "ab" for cls in range(5)])

    with pytest.raises(ConfigurationError, match="no slide is small enough to hold out 15%"):
        split_parts(one_slide, 0.15, seed=1)


def test_the_split_depends_on_the_seed_alone():
    samples = make_samples([("a", c, "", 20) for c in range(5)])

    assert validation_split(samples, 0.2, 3) == validation_split(samples, 0.2, 3)
    assert validation_split(samples, 0.2, 3) != validation_split(samples, 0.2, 4)


@pytest.fixture
def more(tmp_path):
    """Folder of a further device: six basophils of which two are held back, by slide and by field, and one
    doubted."""
    root = tmp_path / "more"
    rows = ["path,device,slide,cell_group,note"]
    for name, slide, cell, note in (
        ("f1_0", "a", "c1", ""),
        ("f1_1", "a", "c1", ""),
        ("f2_0", "a", "c2", "label_conflict: two classes"),
        ("f3_0", "b", "c3", ""),
        ("f4_0", "", "", "cut_by_frame"),
        ("f5_0", "", "", ""),
    ):
        write_image(root / "scope" / "Basophil" / f"{name}.png")
        rows.append(f"scope/Basophil/{name}.png,scope,{slide},{cell},{note}")
    (root / "manifest.csv").write_text("\n".join(rows))
    (tmp_path / "fields").mkdir()
    (tmp_path / "fields" / "fields.csv").write_text(
        "path,slide,split\nscope/f1.png,a,dev\nscope/f3.png,b,test\nscope/f5.png,,test\nother/f4.png,,test\n"
    )
    return root / "scope"


def test_of_a_further_device_nothing_that_is_held_back_or_doubted_is_read(more):
    samples = read_device(more)

    assert [(s.path.stem, s.device, s.slide, s.cell) for s in samples] == [
        ("f1_0", "scope", "a", "c1"),
        ("f1_1", "scope", "a", "c1"),
        ("f4_0", "scope", "", ""),
    ]


@pytest.mark.parametrize("named", [".", "scope", "../more/scope"])
def test_what_is_held_back_is_left_out_however_the_folder_is_named(more, named, monkeypatch):
    monkeypatch.chdir(more if named == "." else more.parent)

    assert [s.path.stem for s in read_device(Path(named))] == ["f1_0", "f1_1", "f4_0"]


def test_an_image_of_a_whole_field_that_is_held_back_is_left_out(more):
    write_image(more / "Basophil" / "f5.png")

    assert "f5" not in [sample.path.stem for sample in read_device(more)]


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("path,slide,split\nscope/f1.png,a,Test\n", "expected dev or test as split, received 'Test'"),
        ("path,slide,split\nscope/f1.png,a\n", "expected dev or test as split, received ''"),
        ("path,slide\nscope/f1.png,a\n", "lacks the columns split"),
    ],
)
def test_a_table_that_does_not_say_what_is_held_back_is_refused(more, table, complaint):
    (more.parent.parent / "fields" / "fields.csv").write_text(table)

    with pytest.raises(ConfigurationError, match=complaint):
        read_device(more)


def test_a_table_of_a_spreadsheet_is_read_and_one_that_is_no_text_refused(data_root):
    table = "path,device,slide\nTrain/Basophil/0.png,raabin,s1\n"
    (data_root / "manifest.csv").write_text(table, encoding="utf-8-sig")
    assert read_split(data_root, "Train")[0].device == "raabin"

    (data_root / "manifest.csv").write_text(table.replace("s1", "é"), encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"manifest\.csv is no table of UTF-8 text"):
        read_split(data_root, "Train")


def test_a_run_reads_further_devices_beside_its_split(data_root, more):
    samples = read_run_samples(data_root, "Train", more=[more])

    assert Counter(sample.device for sample in samples) == {"unknown": 15, "scope": 3}


def test_of_the_real_devices_nothing_of_a_test_slide_or_field_is_read(wbc_data):
    root = wbc_data.parent / "more"
    if not root.is_dir():
        pytest.skip(f"no further devices: {root} does not exist")
    with (wbc_data.parent / "fields" / "fields.csv").open(newline="") as file:
        held_back = [row for row in csv.DictReader(file) if row["split"] == "test"]
    slides = {row["slide"] for row in held_back if row["path"].startswith("chula/")}
    fields = {Path(row["path"]).stem for row in held_back if row["path"].startswith("bccd/")}

    chula, bccd = read_device(root / "chula"), read_device(root / "bccd")

    assert len(chula) > 300
    assert not {sample.slide for sample in chula} & slides
    assert len(bccd) > 200
    assert not {sample.path.stem.rsplit("_", 1)[0] for sample in bccd} & fields


def test_draws_are_fair_to_classes_devices_and_cells():
    def image(class_index, device, cell=""):
        return Sample(Path("x.png"), class_index, device, cell=cell)

    one = [image(0, "one") for _ in range(2 * FEW_CELLS)]
    twice = [image(0, "other", f"c{number // 2}") for number in range(2 * FEW_CELLS)]
    few = [image(0, "third") for _ in range(FEW_CELLS // 4)]
    alone = [image(1, "one")]

    shares = fair_shares([*one, *twice, *few, *alone])

    assert shares.sum() == pytest.approx(1)
    assert shares[-1] == pytest.approx(0.5), "a class counts as much as another"
    of_one, of_other, of_third = np.split(shares[:-1], [len(one), len(one) + len(twice)])
    assert of_one.sum() == pytest.approx(of_other.sum())
    assert of_third.sum() == pytest.approx(of_one.sum() / 4), "few cells are not drawn over and over"
    assert np.ptp(of_other) == pytest.approx(0)


@pytest.mark.parametrize("fraction", [0.0, 0.6, -1])
def test_a_senseless_fraction_is_refused(fraction):
    with pytest.raises(ValueError, match="fraction"):
        validation_split(make_samples([("a", 0, "", 10)]), fraction, 0)


def test_on_the_real_train_split_every_class_of_every_device_is_validated(wbc_data):
    samples = read_split(wbc_data, "Train")

    training, validation = validation_split(samples, 0.15, 42)

    strata = Counter((s.device, s.class_index) for s in samples)
    held_out = Counter((s.device, s.class_index) for s in validation)
    assert set(held_out) == set(strata)
    assert max(held_out[s] / strata[s] for s in strata) < 0.3
    assert not {s.slide for s in training if s.slide} & {s.slide for s in validation if s.slide}


def test_the_fingerprint_changes_with_a_label_and_with_a_pixel(data_root):
    before = data_fingerprint(read_split(data_root, "Train"))
    assert before == data_fingerprint(read_split(data_root, "Train"))

    (data_root / "Train/Basophil/0.png").rename(data_root / "Train/Monocyte/x.png")
    moved = data_fingerprint(read_split(data_root, "Train"))
    write_image(data_root / "Train/Monocyte/1.png", 200)

    assert len({before, moved, data_fingerprint(read_split(data_root, "Train"))}) == 3


def test_images_of_no_class_are_halved_by_their_names_and_no_class_is_theirs(tmp_path):
    folder = tmp_path / "scope" / "_other"
    for kind in ("erythroblast", "platelet"):
        (folder / kind).mkdir(parents=True)
        for number in range(40):
            (folder / kind / f"{number}.png").write_bytes(b"")

    trained, held_out = read_negatives(folder), read_negatives(folder, held_out=True)

    assert len(trained) + len(held_out) == 80
    assert min(len(trained), len(held_out)) > 20
    assert not {sample.path for sample in trained} & {sample.path for sample in held_out}
    assert {(sample.class_index, sample.device) for sample in [*trained, *held_out]} == {
        (NOT_WBC_INDEX, "scope")
    }
    assert {sample.slide for sample in trained} == {"erythroblast", "platelet"}
    with pytest.raises(ConfigurationError, match="expected images in"):
        read_negatives(tmp_path)
