"""What ``wbc adapt`` reads as labelled images, and what it refuses."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from orchestrator.commands.adapt import labelled_files
from orchestrator.commands.cli import app
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES


def an_image(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), 200, np.uint8))
    return path


def test_folders_tell_class_and_specimen(tmp_path):
    an_image(tmp_path / "S-1" / "Basophil" / "1.png")
    an_image(tmp_path / "S-2" / "neutrophil" / "1.png")

    found = labelled_files([tmp_path])

    assert [CLASS_NAMES[one.class_index] for one in found] == ["Basophil", "Neutrophil"]
    assert [one.group.rsplit("/")[-1] for one in found] == ["S-1", "S-2"]


def test_an_image_beside_the_classes_is_told(tmp_path):
    an_image(tmp_path / "Basophils" / "1.png")

    with pytest.raises(ConfigurationError, match="'Basophils', which is no class; expected a folder named"):
        labelled_files([tmp_path])


def test_a_table_tells_file_label_and_specimen(tmp_path):
    table = tmp_path / "labels.csv"
    table.write_text("file;label;specimen\na.png;Monocyte;S-1\nb.png;;S-1\nc.png;eosinophil;\n")

    found = labelled_files([table])

    assert [(Path(one.name).name, one.class_index, one.group) for one in found] == [
        ("a.png", CLASS_NAMES.index("Monocyte"), "S-1"),
        ("c.png", CLASS_NAMES.index("Eosinophil"), None),
    ]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("file,class\na.png,Monocyte\n", "expected the columns file and label"),
        ("file,label\na.png,Blast\n", "row 2: expected one of Basophil"),
        ("file,label\na.png,\n", "no labelled image was found"),
    ],
)
def test_a_table_that_says_no_labels_is_refused(tmp_path, text, why):
    table = tmp_path / "labels.csv"
    table.write_text(text)

    with pytest.raises(ConfigurationError, match=why):
        labelled_files([table])


def test_without_a_folder_for_heads_it_says_which_setting():
    result = CliRunner().invoke(app, ["adapt", "--profile", "default"])

    assert "WBC_HEADS_DIR" in str(result.exception)
