import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.documents.reading import read_differential, write_differential
from orchestrator.emulator.examples import examples
from orchestrator.errors import MalformedMessage
from orchestrator.interop.reporting import has_percentages, notes
from orchestrator.specimen import ReleasedErrors

EXAMPLES = examples()
GOOD: dict[str, Any] = json.loads(write_differential(EXAMPLES["too_few_cells"].differential))
PLACE = {"number": 9, "is_cut": False, "is_clump": False, "is_identified": True}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_differential_comes_back_as_it_was(name):
    differential = EXAMPLES[name].differential
    assert read_differential(write_differential(differential)) == differential


@pytest.mark.parametrize(("ended", "says"), [(False, "error of the classifier"), (True, "has ended since")])
def test_what_audits_know_of_the_error_comes_back_and_is_said_in_every_format(ended, says):
    known = ReleasedErrors({"Neutrophil": 0.04}, ended)
    example = next(e.differential for e in EXAMPLES.values() if has_percentages(e.differential))
    of = replace(example, released_errors=known)
    assert not any(says in note for note in notes(example))

    found = read_differential(write_differential(of))

    assert found == of
    assert any(says in note for note in notes(found))


def test_a_document_of_a_version_that_did_not_hash_profiles_is_read():
    document = json.loads(json.dumps(GOOD))
    for cell in document["cells"]:
        if cell["result"] is not None:
            del cell["result"]["profile_sha256"]
    found = read_differential(json.dumps(document).encode())
    assert {cell.result.profile_sha256 for cell in found.specimen.cells if cell.result} == {None}


def changed(path: str, value: object) -> bytes:
    document = json.loads(json.dumps(GOOD))
    *way, last = path.split(".")
    node = document
    for step in way:
        node = node[int(step)] if isinstance(node, list) else node[step]
    node[int(last) if isinstance(node, list) else last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "the document"),
        (changed("comments.0.cell_id", "none"), "a cell that it does not have"),
        (changed("cells.0.place", PLACE), "a field that it does not have"),
        (b"\xff\xfe", "the document"),
        (b"[" * 100_000, "the document"),
        (b"[]", "the document"),
        (b"{}", "id"),
        (b" " * (64 * 2**20 + 1), "over 67108864 bytes"),
        (changed("computed_at", "yesterday"), "computed_at"),
        (changed("computed_at", "2026-01-01T00:00:00"), "timezone"),
        (changed("state", "done"), "state"),
        (changed("counts.0.count", "many"), "counts.0.count"),
        (changed("counts.0.label", "Blast"), "expected counts of"),
        (changed("counts", []), "expected counts of"),
        (changed("counts.0.percentage", float("nan")), "percentage"),
        (changed("counts.0.percentage", float("inf")), "percentage"),
        (changed("cells.0.result.class", "Blast"), "other classes"),
        (changed("cells.0.result.probabilities", {"Blast": 1.0}), "other classes"),
        (changed("cells.6.decision.label", "a\nb"), "pattern"),
        (changed("counts.0.part_of", "Hairy cell"), "part of one that has no count"),
        (changed("cells", None), "no cells"),
        (changed("label_shift", {"Blast": 1.0}), "label_shift"),
        (changed("released_errors", {"limits": {"Blast": 0.1}, "ended": False}), "released_errors"),
    ],
)
def test_what_is_no_differential_is_told_by_its_place(data, problem):
    with pytest.raises(MalformedMessage, match=problem):
        read_differential(data)


def test_a_number_too_large_for_a_float_is_refused():
    with pytest.raises(MalformedMessage):
        read_differential(json.dumps(GOOD).replace("0.92", "1e999", 1).encode())


def test_what_was_received_is_not_repeated_in_the_error():
    with pytest.raises(MalformedMessage) as error:
        read_differential(changed("state", "SECRET"))
    assert "SECRET" not in str(error.value)


@given(st.binary(max_size=100))
def test_any_bytes_are_refused_in_words(data):
    with pytest.raises(MalformedMessage):
        read_differential(data)
