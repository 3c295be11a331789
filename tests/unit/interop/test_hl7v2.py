from dataclasses import replace
from typing import Any

import pytest
from hl7apy.parser import parse_segment
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.domain import DISCLAIMER
from orchestrator.emulator.examples import AWKWARD_TEXT, examples
from orchestrator.errors import UnsayableText
from orchestrator.interop import coding, hl7v2_check
from orchestrator.interop.hl7v2 import message
from orchestrator.interop.hl7v2_text import Message, at, read, timestamp
from orchestrator.interop.site import DEFAULT_SITE, OrderContext, Patient, Site
from orchestrator.model_contract import CLASS_NAMES
from orchestrator.specimen import Signature

EXAMPLES = examples()
UNITS = {"white_cells": "%", "per_100_white_cells": "/100{WBCs}", "none": "{cells}"}
FINAL = EXAMPLES["final"].differential
PRELIMINARY = EXAMPLES["preliminary"].differential
KINDS = ("oru", "oul")


def results(data: bytes) -> dict[str, Any]:
    """OBX segments by their code, as hl7apy reads them; OBX-29 is of a later version than it knows."""
    lines = [line for line in data.decode().split("\r") if line.startswith("OBX")]
    parsed = [parse_segment("|".join(line.split("|")[:26]), version="2.5.1") for line in lines]
    return {obx.obx_3.obx_3_1.value: obx for obx in parsed}


def structured(obx: Any) -> tuple[float, float]:
    field = obx.obx_5.to_er7()
    comparator, low, separator, high = field.split("^")
    assert (comparator, separator) == ("", "-")
    return float(low), float(high)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_message_is_valid_by_hl7s_definition_and_our_own_rules(name, kind):
    assert hl7v2_check.can_validate()
    example = EXAMPLES[name]
    assert hl7v2_check.problems(message(example.differential, kind, context=example.context)) == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", ["unspecified", "automated", "manual"])
@pytest.mark.parametrize("name", ["final", "without_total", "too_few_cells", "cancelled"])
def test_every_figure_of_the_differential_can_be_read_back(name, method, kind):
    differential = EXAMPLES[name].differential
    found = results(message(differential, kind, Site(method=method)))
    is_cancelled = name == "cancelled"
    for group, count in enumerate(differential.counts, start=1):
        code = coding.share(count, method).code
        share = found[code]
        assert share.obx_2.value == "NM"
        assert share.obx_4.value == str(group)
        assert share.obx_6.obx_6_1.value == UNITS[count.denominator]
        if count.denominator == "none":
            assert share.obx_5.value == str(count.count)
            continue
        assert share.obx_6.obx_6_3.value == "UCUM"
        has_value = count.percentage is not None and not is_cancelled
        if has_value:
            assert float(share.obx_5.value) == pytest.approx(count.percentage, abs=0.005)
            expected = (count.interval.low, count.interval.high)
            assert structured(found[f"{code}-ci95"]) == pytest.approx(expected, abs=0.005)
        else:
            assert share.obx_5.value == ""
            assert share.obx_11.value == "X"
            assert f"{code}-ci95" not in found
        flag = count.flag[0].upper() if count.flag and not is_cancelled else ""
        assert share.obx_8.value == flag
        limits = "" if count.reference is None else share.obx_7.value
        if count.reference is not None:
            low, high = limits.split("-")
            assert (float(low), float(high)) == (count.reference.low, count.reference.high)
        if not is_cancelled:
            assert found[f"{code}-count"].obx_5.value == str(count.count)
        volume = coding.absolute(count.label, method).code
        if differential.specimen.order.total_wbc is None or count.denominator != "white_cells":
            assert volume not in found
        elif count.absolute is None or is_cancelled:
            assert found[volume].obx_5.value == ""
        else:
            assert float(found[volume].obx_5.value) == pytest.approx(count.absolute, abs=0.0005)
            assert found[volume].obx_6.obx_6_1.value == "10*3/uL"
    state = found["device-state"]
    assert state.obx_2.value == "CWE"
    assert state.obx_4.value == str(len(differential.counts) + 1)
    assert state.obx_5.to_er7() == (
        "" if is_cancelled else "device-known^Microscope that the model was trained on^99WBC"
    )
    assert coding.TOTAL_WBC.code not in found
    assert {obx.obx_8.value for obx in found.values()} <= {"", "H", "L"}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("character_set", "family", "named", "codec"),
    [
        ("UTF-8", "Yılmaz", "UNICODE UTF-8", "utf-8"),
        ("8859/9", "Yılmaz", "8859/9", "iso8859-9"),
        ("8859/15", "Œuvré", "8859/15", "iso8859-15"),
        ("8859/9", "Smith", "", "ascii"),
    ],
)
def test_a_message_that_is_not_ascii_is_in_the_sites_character_set_and_names_it(
    character_set, family, named, codec, kind
):
    patient = OrderContext(Patient("1", family))
    data = message(FINAL, kind, Site(character_set=character_set), patient)
    assert read(data).value("MSH", 18) == named
    assert family in data.decode(codec)
    assert read(data).value("PID", 5) == family
    assert hl7v2_check.own_problems(data) == []


def test_text_that_the_character_set_lacks_is_told_before_it_is_sent():
    context = OrderContext(Patient("1", "Yılmaz"))
    with pytest.raises(UnsayableText, match=r"segment PID .*U\+0131.*8859/15 lacks"):
        message(FINAL, "oru", Site(character_set="8859/15"), context)


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_microscope_is_told_as_a_code_and_in_words(kind):
    data = message(EXAMPLES["unknown_device"].differential, kind)
    assert results(data)["device-state"].obx_5.obx_5_1.value == "device-unknown"
    assert b"The microscope is unknown to the service" in data
    assert b"The microscope is unknown" not in message(FINAL, kind)


def test_before_the_first_result_nothing_is_said_of_the_microscope():
    waiting = replace(PRELIMINARY.specimen, cells=())
    assert "device-state" not in results(message(replace(PRELIMINARY, specimen=waiting), "oru"))


def test_status_is_final_only_where_a_person_signed_who_is_then_named():
    def told(differential: Any) -> tuple[str, set[str], str]:
        read_back = read(message(differential, "oru"))
        statuses = {at(obx, 11) for obx in read_back.all("OBX")}
        return read_back.value("OBR", 25), statuses, read_back.value("OBR", 32)

    assert told(FINAL) == ("F", {"F"}, "dr.demir")
    assert told(PRELIMINARY) == ("P", {"P"}, "")
    assert told(EXAMPLES["cancelled"].differential) == ("X", {"X"}, "")
    signature = Signature("dr.demir", FINAL.computed_at)
    for state, signed in (("signed", None), ("analysed", signature)):
        specimen = replace(PRELIMINARY.specimen, state=state, signature=signed)
        assert told(replace(PRELIMINARY, specimen=specimen)) == ("P", {"P"}, "")


@pytest.mark.parametrize("kind", KINDS)
def test_what_people_wrote_follows_the_request_with_who_and_when_in_lines(kind):
    lines = message(EXAMPLES["addendum"].differential, kind).decode().split("\r")
    first_result = next(i for i, line in enumerate(lines) if line.startswith("OBX"))
    notes = [line.split("|")[3] for line in lines[:first_result] if line.startswith("NTE")]
    assert notes[-4:-1] == [
        "Comment on cell 3 (dr.demir, 2026-03-02 09:02 UTC): Vacuoles.",
        "Comment (dr.demir, 2026-03-02 09:02 UTC): Thick smear:\\.br\\stained anew.",
        "Addendum (dr.demir, 2026-03-02 10:05 UTC): Told to the ward by telephone.",
    ]
    assert "a\\F\\b\\S\\c\\R\\d\\E\\e\\T\\f" in notes[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_comment_with_characters_that_the_set_lacks_does_not_hold_the_result_back(kind):
    differential = EXAMPLES["addendum"].differential
    written = replace(differential.specimen.comments[0], text="Löbe \u0131, \U0001fa78\nnew")
    told = replace(differential, specimen=replace(differential.specimen, comments=(written,)))

    data = message(told, kind, Site(character_set="8859/15"))

    assert "Löbe [U+0131], [U+1FA78]\\.br\\new" in data.decode("iso8859_15")
    assert hl7v2_check.own_problems(data) == []


def test_an_addendum_makes_another_message_of_a_report_that_stays_final():
    differential = EXAMPLES["addendum"].differential
    comments = differential.specimen.comments[:2]
    before = replace(differential, specimen=replace(differential.specimen, comments=comments))
    old, new = read(message(before, "oru")), read(message(differential, "oru"))
    assert old.value("MSH", 10) != new.value("MSH", 10)
    assert (old.value("OBR", 25), new.value("OBR", 25)) == ("F", "F")
    assert (old.value("OBR", 22), new.value("OBR", 22)) == ("20260302090500+0000", "20260302100500+0000")
    assert old.all("OBX") == new.all("OBX")


@pytest.mark.parametrize("kind", KINDS)
def test_comments_say_for_research_only_and_what_holds_the_result_back(kind):
    def comments(differential: Any) -> list[str]:
        read_back = read(message(differential, kind))
        return [read_back.component(at(note, 3)) for note in read_back.all("NTE")]

    assert comments(FINAL)[0] == DISCLAIMER
    assert "4 of 100 cells wait for a person and are counted as unidentified." in comments(PRELIMINARY)
    assert any("at least 100 are needed" in c for c in comments(EXAMPLES["too_few_cells"].differential))
    assert any(c.startswith("Cancelled") for c in comments(EXAMPLES["cancelled"].differential))
    assert "Share estimated under label shift: 79.8 %." in comments(FINAL)
    assert not any("normal" in comment.lower() for comment in comments(FINAL))


def test_the_law_message_is_built_as_the_profile_wants_it():
    read_back = read(message(FINAL, "oul"))
    assert [segment[0] for segment in read_back.segments[:4]] == ["MSH", "SPM", "OBR", "ORC"]
    assert (read_back.value("MSH", 15), read_back.value("MSH", 16)) == ("NE", "AL")
    assert read_back.field("MSH", 21) == "LAB-29^IHE"
    assert read_back.value("SPM", 11) == "P"
    assert read_back.field("OBR", 2) == '""'  # an order that nobody placed
    assert (read_back.value("ORC", 1), read_back.value("ORC", 5)) == ("OK", "CM")
    assert {at(obx, 29) for obx in read_back.all("OBX")} == {"RSLT"}


def test_the_order_of_segments_for_a_lis():
    names = [segment[0] for segment in read(message(FINAL, "oru", context=context())).segments]
    assert names[:4] == ["MSH", "PID", "ORC", "OBR"]
    assert names[-1] == "SPM"


def context() -> OrderContext:
    return OrderContext(Patient("P|1", "O^Brien", "Zoë\n"), "O&1", FINAL.computed_at)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_sender_adds_is_told_escaped(kind):
    site = Site("manual", "WBC|1", "F^1", "LIS~1", "H\\1", "P", patient_authority="LAB&1")
    read_back = read(message(FINAL, kind, site, context()))
    header = [read_back.value("MSH", number) for number in (3, 4, 5, 6, 11)]
    assert header == ["WBC|1", "F^1", "LIS~1", "H\\1", "P"]
    assert [read_back.value("PID", 3, 1), read_back.value("PID", 3, 4)] == ["P|1", "LAB&1"]
    assert [read_back.value("PID", 5, 1), read_back.value("PID", 5, 2)] == ["O^Brien", "Zoë\n"]
    assert read_back.value("OBR", 2) == "O&1"
    assert read_back.value("OBR", 7) == read_back.value("SPM", 17) == timestamp(FINAL.computed_at)
    assert read_back.value("MSH", 18) == "UNICODE UTF-8"
    assert read(message(FINAL, "oru")).value("MSH", 18) == ""
    assert read_back.value("OBR", 4) == "24318-8"


def test_nobody_is_named_where_nobody_was_given_and_a_patient_without_a_name_has_none():
    assert read(message(FINAL, "oru")).all("PID") == []
    read_back = read(message(FINAL, "oru", context=OrderContext(Patient("4711"))))
    assert read_back.field("PID", 5) == "^^^^^^U"


def test_the_model_and_its_hash_are_the_equipment():
    (model,) = FINAL.models
    equipment = at(read(message(FINAL, "oul")).all("OBX")[0], 18).split("~")
    assert equipment == [f"{model.name}/{model.version}^WBC-ANALYZER", f"{model.sha256}^SHA256"]


def control_id(differential: Any, kind: Any = "oru", site: Site = DEFAULT_SITE, **more: Any) -> str:
    return read(message(differential, kind, site, **more)).value("MSH", 10)


def test_the_same_content_has_the_same_control_id_and_another_one_has_another():
    later = replace(FINAL, computed_at=FINAL.computed_at.replace(year=2031))
    assert control_id(later) == control_id(FINAL)
    assert message(later, "oru") != message(FINAL, "oru")  # MSH-7 is when it was written
    others = [
        control_id(PRELIMINARY),
        control_id(FINAL),
        control_id(FINAL, "oul"),
        control_id(FINAL, context=context()),
        control_id(FINAL, site=Site(processing_id="P")),
        control_id(EXAMPLES["without_total"].differential),
    ]
    assert len(set(others)) == len(others)
    assert all(len(identifier) == 20 for identifier in others)


def test_without_detail_there_are_only_codes_of_loinc_and_those_of_unidentified_cells():
    found = results(message(FINAL, "oru", detail=False))
    assert len(found) == 12
    own = {code for code, obx in found.items() if obx.obx_3.obx_3_3.value == "99WBC"}
    assert own == {"unidentified-percentage", "unidentified-absolute"}


@settings(max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_specimen_id_and_person_come_back_unchanged(specimen_id, person):
    order = replace(FINAL.specimen.order, specimen_id=specimen_id)
    specimen = replace(FINAL.specimen, order=order, signature=Signature(person, FINAL.computed_at))
    for kind in KINDS:
        read_back = read(message(replace(FINAL, specimen=specimen), kind, detail=False))
        assert specimen_of(read_back) == specimen_id
        assert read_back.value("OBR", 32) == person


def specimen_of(read_back: Message) -> str:
    return read_back.value("SPM", 2)


def test_awkward_text_stays_in_its_field_for_another_parser_too():
    example = EXAMPLES["awkward_text"]
    data = message(example.differential, "oru", context=example.context)
    assert specimen_of(read(data)) == AWKWARD_TEXT
    (line,) = [line for line in data.decode().split("\r") if line.startswith("SPM")]
    parsed = parse_segment(line, version="2.5.1")
    encoded = parsed.spm_2.to_er7()
    assert encoded.startswith("a\\F\\b\\S\\c\\R\\d\\E\\e\\T\\f")
    assert parsed.spm_4.spm_4_1.value == "BLD"


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("ORU^R01^ORU_R01", "ADT^A01^ADT_A01", "MSH-9"),
        ("|T|2.5.1", "|T|2.4", "MSH-12"),
        ("dr.demir", "dr.demır", "MSH-18"),
        (control_id(FINAL, detail=False), "", "MSH-10"),
        (control_id(FINAL, detail=False), "X" * 21, "MSH-10"),
        ("|%^%^UCUM|40-75|H|", "|%^%^UCUM|40-75|N|", "never says normal"),
        ("|78|%^%^UCUM|", "|many|%^%^UCUM|", "no number"),
        ("|78|%^%^UCUM|", "|78||", "no unit"),
        ("|78|%^%^UCUM|", "||%^%^UCUM|", "X has none"),
        ("OBX|2|", "OBX|3|", "in OBX-1"),
        ("OBX|2|NM", "OBX|2|XX", "NM, SN or CWE"),
        ("|HM|F|", "|HM|P|", "not that of the report"),
        ("|HM|F|", "|HM|Z|", "OBR-25"),
        (DISCLAIMER, "For every use.", "research use only"),
        ("MSH|", "MSX|", "MSH"),
    ],
)
def test_our_own_rules_or_the_standards_see_what_is_wrong(old, new, problem):
    text = message(FINAL, "oru", detail=False).decode()
    assert old in text
    assert problem in "\n".join(hl7v2_check.own_problems(text.replace(old, new, 1).encode()))


def test_hl7s_definition_sees_a_time_that_is_none_and_the_lack_of_a_required_segment():
    data = message(FINAL, "oru", detail=False)
    wrong = data.replace(timestamp(FINAL.computed_at).encode(), b"tomorrow")
    assert standard_objects_to(wrong)
    without_request = b"\r".join(line for line in data.split(b"\r") if not line.startswith(b"OBR"))
    assert standard_objects_to(without_request)


def standard_objects_to(wrong: bytes) -> bool:
    return any(problem.startswith("HL7 2.5.1") for problem in hl7v2_check.problems(wrong))


def test_a_message_without_results_is_wrong():
    data = b"\r".join(line for line in message(FINAL, "oru").split(b"\r") if not line.startswith(b"OBX"))
    assert "There is no OBX." in hl7v2_check.own_problems(data)


def test_the_six_labels_are_told_in_the_order_of_the_classes():
    codes = list(results(message(FINAL, "oul", detail=False)))[::2]
    assert codes == [coding.percentage(name, "unspecified").code for name in CLASS_NAMES] + [
        "unidentified-percentage"
    ]
