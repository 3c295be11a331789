"""What an element can hold of what another system wrote."""

import pytest

from orchestrator.interop import dicom_values


@pytest.mark.parametrize("identifier", ["A-42", "P|1^2=3", "Ö 7", "x" * 16])
def test_an_identifier_that_fits_stays_as_it_is(identifier):
    assert dicom_values.short_identifier(f" {identifier} ") == identifier
    assert dicom_values.long_identifier(identifier) == identifier


@pytest.mark.parametrize("identifier", ["x" * 65, "a\\b", "a\nb", "a\0", ""])
def test_an_identifier_that_does_not_fit_is_no_other_one_but_none(identifier):
    assert dicom_values.long_identifier(identifier) == ""
    assert dicom_values.short_identifier(identifier) == ""


def test_a_short_identifier_has_16_characters_at_most():
    assert dicom_values.short_identifier("x" * 17) == ""


def test_a_name_keeps_its_parts_and_scripts_each_of_64_characters_at_most():
    assert dicom_values.name("Yamada^Tarou=山田^太郎=やまだ^たろう") == "Yamada^Tarou=山田^太郎=やまだ^たろう"
    assert dicom_values.name("a" * 70 + "=" + "b" * 70 + "=c=d") == "a" * 64 + "=" + "b" * 64 + "=c"
    assert dicom_values.name("1^2^3^4^5^6") == "1^2^3^4^5"
    assert dicom_values.name("a\\b\r\nc") == "a b  c"
    assert dicom_values.name_part("de=la^Cruz\\x") == "de la Cruz x"


def test_text_is_one_line_of_any_length():
    assert dicom_values.unlimited("a\\b^c\r\n" + "x" * 100) == "a\\b^c  " + "x" * 100
    assert dicom_values.description("ABC " * 20) == ("ABC " * 16).strip()


@pytest.mark.parametrize(
    ("held", "good", "bad"),
    [
        (dicom_values.date, "20240229", ["20230229", "2024022", "2024-02-29", "1957.03.12", "²0240229"]),
        (dicom_values.time, "235959.123456", ["24", "0975", "12:30", "1", "235959."]),
        (dicom_values.offset, "-0330", ["0330", "+1500", "+0360", "east"]),
        (dicom_values.age, "045Y", ["45Y", "045", "045X"]),
        (dicom_values.sex, "F", ["f", "female", "MF"]),
    ],
)
def test_what_is_no_date_time_age_or_sex_is_left_out(held, good, bad):
    assert held(f" {good} ") == good
    assert [held(wrong) for wrong in ["", *bad]] == [""] * (1 + len(bad))
