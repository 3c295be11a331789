"""The table in which a person labels the cells of an audit."""

import csv
import io

import pytest

from orchestrator.device_audits.audit import MAX_FILE_BYTES, OTHER, Audit, AuditCell
from orchestrator.device_audits.labels import labels_form, read_labels
from orchestrator.domain import DISCLAIMER
from orchestrator.errors import ConfigurationError
from tests.audited_cells import answer_of, audit_of, image_sha256, plan_of

CELLS = [("Eosinophil", None, 0.99), ("Basophil", None, 0.9), ("Neutrophil", None, 0.8)] * 20


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_table_holds_names_of_images_and_nothing_of_the_answers():
    form = labels_form(audit_of(plan_of(), CELLS))

    rows = rows_of(form)
    assert sorted(row["image"] for row in rows) == [f"{number:04}.png" for number in range(60)]
    assert {row["label"] for row in rows} == {""}
    assert {row["disclaimer"] for row in rows} == {DISCLAIMER}
    # The same images with other answers: not a byte differs.
    assert form == labels_form(audit_of(plan_of(), [("Monocyte", None, 0.4)] * 60))


def test_a_filled_table_comes_back_with_its_labels():
    audit = audit_of(plan_of(), CELLS)
    rows = rows_of(labels_form(audit))
    filled = io.StringIO()
    writer = csv.DictWriter(filled, rows[0].keys())
    writer.writeheader()
    writer.writerows(row | {"label": " OTHER " if row["image"] == "0001.png" else ""} for row in rows)

    labels = read_labels(filled.getvalue().encode())

    assert labels == {image_sha256(1): OTHER}
    shown = {row["image"]: row["label"] for row in rows_of(labels_form(audit.with_labels(labels)))}
    assert shown["0001.png"] == OTHER
    assert shown["0002.png"] == ""


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("separator", [",", ";"])
def test_spreadsheets_of_any_country_are_read(start, separator):
    text = f"{start}label{separator}image_sha256\r\nmonocyte{separator}{image_sha256(3)}\r\n"

    assert read_labels(text.encode()) == {image_sha256(3): "Monocyte"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "columns label and image_sha256"),
        (b"image,label\na.png,other\n", "columns label and image_sha256"),
        (b"label,image_sha256\nother,1\nBlast,2\n", "row 3: expected one of Basophil"),
        (b"label,image_sha256\nother,1\nMonocyte,1\n", "row 3: the same image"),
        (b"label,image_sha256\n\x1b[2J,1\n", r"received '\\x1b\[2J'"),
        (b"label,image_sha256\n\xff\xfe,1\n", "UTF-8"),
        (b"label,image_sha256\n" + b"x" * 200_000 + b",1\n", "no CSV"),
        (b"x" * (MAX_FILE_BYTES + 1), "at most"),
    ],
)
def test_what_is_no_filled_table_is_told(content, said):
    with pytest.raises(ConfigurationError, match=said):
        read_labels(content)


def test_a_name_that_a_spreadsheet_would_run_is_text():
    cell = AuditCell(image_sha256=image_sha256(1), specimen="S-1", image="=cmd().png")
    audit = Audit.of(plan_of()).with_cell(cell, answer_of("Eosinophil"))

    assert rows_of(labels_form(audit))[0]["image"] == "'=cmd().png"
