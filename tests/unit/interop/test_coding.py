from itertools import product

import pytest

from orchestrator.interop import coding
from orchestrator.interop.fhir_check import is_loinc
from orchestrator.interop.site import CountMethod
from orchestrator.labels import CELL_LABELS, LABELS, UNIDENTIFIED
from orchestrator.model_contract import CLASS_NAMES

METHODS: tuple[CountMethod, ...] = ("unspecified", "automated", "manual")
CODES = [
    code
    for method in METHODS
    for code in (
        coding.panel(method),
        *(of(label, method) for of, label in product((coding.percentage, coding.absolute), CLASS_NAMES)),
    )
]


def test_every_loinc_code_has_a_right_check_digit_and_none_stands_twice():
    assert all(code.system == coding.LOINC and is_loinc(code.code) for code in [*CODES, coding.TOTAL_WBC])
    assert len({code.code for code in CODES}) == len(CODES) == 33


def test_the_codes_that_are_often_mistaken_are_not_used():
    # Band forms, which are often mislabelled as neutrophils; a deprecated neutrophil count.
    assert {"26508-2", "752-6"}.isdisjoint(code.code for code in CODES)


def test_persons_words_have_the_codes_of_loinc_where_there_is_one_and_else_own_ones():
    codes = {
        of(label.name, method)
        for method in METHODS
        for of, label in product((coding.percentage, coding.absolute), LABELS)
    }
    assert all(is_loinc(code.code) for code in codes if code.system == coding.LOINC)
    assert len({code.code for code in codes}) == len(codes)
    assert coding.percentage("Band", "unspecified").code == "26508-2"
    assert coding.percentage("Blast", "automated") == coding.percentage("Blast", "unspecified")
    red = coding.percentage("Nucleated red cell", "automated")
    assert red.display == "Nucleated erythrocytes/100 leukocytes [Ratio] in Blood by Automated count"
    assert {code.code for code in codes if "platelet" in code.code} == {
        "giant-platelet-percentage",
        "giant-platelet-absolute",
    }
    assert coding.percentage("Hairy cell", "manual").code == "hairy-cell-percentage"


@pytest.mark.parametrize("wrong", ["26511-7", "770-9", "26511", "", "a-1", "26511-6 "])
def test_a_wrong_check_digit_is_seen(wrong):
    assert not is_loinc(wrong)


def test_method_and_quantity_are_in_the_name_of_a_code():
    assert coding.percentage("Neutrophil", "unspecified").code == "26511-6"
    assert coding.percentage("Neutrophil", "automated").display.endswith("by Automated count")
    assert coding.absolute("Basophil", "manual").display == "Basophils [#/volume] in Blood by Manual count"


def test_unidentified_cells_have_no_code_of_loinc():
    for method in METHODS:
        codes = {of(UNIDENTIFIED, method).code for of in (coding.percentage, coding.absolute)}
        assert len(codes) == 2
        assert coding.percentage(UNIDENTIFIED, method).system == coding.OWN
    assert len(CELL_LABELS) == 6
