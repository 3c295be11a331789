import codecs
import csv
import io
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.domain import DISCLAIMER
from orchestrator.emulator.examples import examples
from orchestrator.interop import csv_tables
from orchestrator.interop.csv_tables import CELL_COLUMNS, CLASS_COLUMNS, cell_table, class_table, safe
from orchestrator.interop.site import Site
from orchestrator.labels import CELL_LABELS
from orchestrator.model_contract import CLASS_NAMES

EXAMPLES = examples()


def rows(table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table, newline="")))


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_label_has_a_row_with_all_its_figures(name):
    differential = EXAMPLES[name].differential
    found = rows(class_table(differential, Site(method="manual")))
    labels = [count.label for count in differential.counts]
    assert [row["label"] for row in found] == labels
    assert labels[:6] == list(CELL_LABELS)
    is_cancelled = name == "cancelled"
    for row, count in zip(found, differential.counts, strict=True):
        assert tuple(row) == CLASS_COLUMNS
        assert row["disclaimer"] == DISCLAIMER
        assert int(row["count"]) == count.count
        assert (row["denominator"], row["part_of"]) == (count.denominator, count.part_of or "")
        if count.percentage is None or is_cancelled:
            assert row["percentage"] == row["interval_low"] == row["absolute"] == row["flag"] == ""
        else:
            assert float(row["percentage"]) == pytest.approx(count.percentage)
            assert float(row["interval_high"]) == pytest.approx(count.interval.high)
            assert row["flag"] == (count.flag or "")
            assert (row["absolute"] == "") == (count.absolute is None)
    assert found[4]["percentage_code"] == "23761-0"
    status = {"cancelled": "cancelled", **dict.fromkeys(("final", "addendum", "awkward_text"), "final")}.get(
        name, "preliminary"
    )
    assert {row["status"] for row in found} == {status}


@pytest.mark.parametrize(("name", "state"), [("final", "known"), ("unknown_device", "unknown")])
def test_both_tables_say_how_far_the_microscope_is_known(name, state):
    differential = EXAMPLES[name].differential
    for table in (class_table(differential), cell_table(differential)):
        assert {row["device_state"] for row in rows(table)} == {state}


def test_every_image_has_a_row_whatever_became_of_it():
    differential = EXAMPLES["too_few_cells"].differential
    found = rows(cell_table(differential))
    assert [tuple(row) for row in found] == [CELL_COLUMNS] * 12
    assert [row["state"] for row in found] == ["analysed"] * 8 + ["failed"] + ["waiting"] * 3
    for row, cell in zip(found, differential.specimen.cells, strict=True):
        assert row["label"] == (cell.label or "")
        assert row["image_sha256"] == cell.image_sha256
        probabilities = [row[f"p_{name.lower()}"] for name in CLASS_NAMES]
        result = cell.result
        told = (row["profile"], row["profile_sha256"], row["device_state"], row["model_sha256"], row["views"])
        assert told == (
            (result.profile, result.profile_sha256, "known", result.model.sha256, str(result.views))
            if result
            else ("",) * 5
        )
        assert row["not_wbc"] == (str(result.not_wbc) if result else "")
        assert probabilities == ([str(p) for p in cell.result.probabilities] if cell.result else [""] * 5)
    assert (found[6]["class"], found[6]["decision"], found[6]["decided_by"]) == (
        "Eosinophil",
        "Neutrophil",
        "dr.demir",
    )
    assert (found[7]["needs_review"], found[7]["review_codes"]) == ("yes", "close_call")
    assert "truncated" in found[8]["failure"]


def test_what_people_wrote_stands_with_the_cell_and_with_the_specimen_and_is_no_formula():
    cells = rows(cell_table(EXAMPLES["too_few_cells"].differential))
    assert [row["comments"] for row in cells if row["comments"]] == [
        "2026-03-02T08:56:00+00:00 dr.demir: Granules are fine:\nnot coarse."
    ]
    assert cells[6]["comments"]
    told = {row["comments"] for row in rows(class_table(EXAMPLES["addendum"].differential))}
    assert len(told) == 1
    said = told.pop()
    assert "dr.demir: Thick smear:\nstained anew." in said
    assert "dr.demir: Told to the ward by telephone." in said
    assert "Vacuoles" not in said
    assert not any(line.startswith(("=", "+", "-", "@")) for line in said.splitlines())


@pytest.mark.parametrize(
    "formula", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1", '=HYPERLINK("http://x")']
)
def test_no_text_is_a_formula(formula):
    differential = EXAMPLES["final"].differential
    order = replace(differential.specimen.order, specimen_id=formula)
    specimen = replace(differential.specimen, order=order)
    for table in (
        class_table(replace(differential, specimen=specimen)),
        cell_table(replace(differential, specimen=specimen)),
    ):
        assert {row["specimen_id"] for row in rows(table)} == {safe(formula)}
        assert safe(formula).startswith("'")


def test_ordinary_text_and_negative_numbers_stay_as_they_are():
    assert safe("S-2026=1") == "S-2026=1"
    assert rows(cell_table(EXAMPLES["final"].differential))[0]["energy"] == "-6.5"


def as_a_spreadsheet_opens(table: str, decimal: str) -> list[dict[str, str | float]]:
    """By the reader's locale: the byte order mark makes it UTF-8, and numbers have the locale's separator."""
    assert table.encode().startswith(codecs.BOM_UTF8)
    text = table.encode().decode("utf-8-sig")
    own, number = (";", r"-?\d+(,\d+)?") if decimal == "comma" else (",", r"-?\d+(\.\d+)?")
    return [
        {
            name: float(value.replace(",", ".")) if re.fullmatch(number, value) else value
            for name, value in row.items()
        }
        for row in csv.DictReader(io.StringIO(text, newline=""), delimiter=own)
    ]


@pytest.mark.parametrize("decimal", ["point", "comma"])
@pytest.mark.parametrize("name", ["final", "awkward_text"])
def test_a_spreadsheet_of_either_locale_sees_the_same_columns_and_numbers(name, decimal):
    differential = EXAMPLES[name].differential
    for write in (
        lambda spreadsheet: class_table(differential, spreadsheet=spreadsheet),
        lambda spreadsheet: cell_table(differential, spreadsheet),
    ):
        plain, opened = rows(write(None)), as_a_spreadsheet_opens(write(decimal), decimal)
        assert len(opened) == len(plain)
        for there, here in zip(opened, plain, strict=True):
            assert tuple(there) == tuple(here)
            for column, value in here.items():
                if re.fullmatch(r"-?\d+(\.\d+)?", value):
                    assert there[column] == float(value), column
                else:
                    assert there[column] == value, column


@pytest.mark.parametrize("text", ["a;=1+1", "a,=1+1", "a\t+1", "a\n@SUM(A1)", "a; -1", "a;\uff1d1"])
@pytest.mark.parametrize("spreadsheet", [None, "point", "comma"])
@pytest.mark.parametrize("opened_by", [",", ";", "\t"])
def test_no_text_is_a_formula_wherever_a_spreadsheet_splits_it(text, spreadsheet, opened_by):
    differential = EXAMPLES["final"].differential
    order = replace(differential.specimen.order, specimen_id=text)
    specimen = replace(differential.specimen, order=order)
    written = class_table(replace(differential, specimen=specimen), spreadsheet=spreadsheet)
    begins = re.compile(r"[=+@\uff1d]|-(?!\d)| *-1\b")
    for row in csv.reader(io.StringIO(written.lstrip("\ufeff"), newline=""), delimiter=opened_by):
        assert not [cell for cell in row if begins.match(cell.lstrip())]


@given(st.text())
def test_any_text_stays_in_its_cell(text):
    differential = EXAMPLES["too_few_cells"].differential
    specimen = replace(differential.specimen, order=replace(differential.specimen.order, specimen_id=text))
    found = rows(class_table(replace(differential, specimen=specimen)))
    assert len(found) == 6
    expected = safe(text).encode(errors="replace").decode()
    assert {row["specimen_id"] for row in found} == {expected}
    assert not found[0]["specimen_id"].lstrip(" ").startswith(("=", "+", "-", "@"))


@pytest.mark.parametrize("spreadsheet", [None, "point", "comma"])
def test_what_rounds_to_a_whole_number_is_written_as_one(spreadsheet):
    assert csv_tables.table(["figure"], [[4e-9], [0.9999999], [78.0]], spreadsheet).split()[1:] == [
        "0",
        "1",
        "78",
    ]
