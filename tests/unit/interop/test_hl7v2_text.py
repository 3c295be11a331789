import re
from datetime import datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from orchestrator.errors import MalformedMessage
from orchestrator.interop.hl7v2_text import components, escape, read, read_leniently, segment, timestamp

HEADER = "MSH|^~\\&|A|B|C|D|20260101000000+0000||ORU^R01^ORU_R01|1|T|2.5.1||||||UNICODE UTF-8"
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
HARD_TEXTS = st.text(
    st.sampled_from('|^~\\&\r\n"FSTRE.Xx0aD \x0b\x1c\x7f\x85\x9b\u2028\u2029\u202e\u2066Ö血😀')
)


@given(st.lists(TEXTS | HARD_TEXTS, min_size=1, max_size=4))
def test_any_text_comes_back_from_a_message_unchanged(texts):
    message = read(f"{HEADER}\r{segment('NTE', ['1', 'L', components(*texts)])}\r".encode())
    assert len(message.segments) == 2
    assert [message.value("NTE", 3, number) for number in range(1, len(texts) + 1)] == texts


@given(TEXTS | HARD_TEXTS)
def test_an_escaped_text_holds_no_delimiter_and_no_control_character(text):
    escaped = escape(text)
    assert not set("|^~&\r\n\x0b\x1c") & set(escaped)
    assert escaped != '""'  # which would delete what the receiver has
    assert all(ord(character) >= 0x20 for character in escaped)
    assert len(escaped.splitlines()) <= 1
    assert not set("\x9b\u202e\u2066") & set(escaped)


def test_half_a_character_becomes_visible_and_does_not_break_the_encoding():
    assert escape("a\ud83d|").encode().decode() == "a\ufffd\\F\\"


def test_formatting_and_unknown_sequences_of_a_peer_stay_as_they_are():
    message = read(f"{HEADER}\rNTE|1|L|a\\.br\\b\\H\\c\\XC3B6\\\\Zx\\".encode())
    assert message.value("NTE", 3) == "a\\.br\\b\\H\\cö\\Zx\\"


def test_a_message_with_other_delimiters_and_line_feeds_is_read():
    message = read(b"MSH#*@!%#A#B#C#D#20260101##ACK*R01*ACK#77#T#2.5.1\nMSA#AA#a!F!b!S!c!T!d!R!e!E!f\n")
    assert message.value("MSH", 9, 2) == "R01"
    assert message.value("MSH", 10) == "77"
    assert message.value("MSA", 2) == "a#b*c%d@e!f"


def test_the_character_set_that_a_message_names_is_used():
    assert read(HEADER.replace("UNICODE UTF-8", "8859/1").encode() + b"\rNTE|1||\xd6").value("NTE", 3) == "Ö"
    with pytest.raises(MalformedMessage, match="not supported"):
        read(HEADER.replace("UNICODE UTF-8", "GB 18030-2000").encode())
    with pytest.raises(MalformedMessage, match="not in the character set"):
        read(HEADER.encode() + b"\rNTE|1||\xd6")


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda rest: HEADER.encode() + b"\r" + rest))
def test_any_bytes_are_a_message_or_malformed(data):
    try:
        message = read(data)
    except MalformedMessage:
        return
    assert message.segments[0][0] == "MSH"


@given(st.binary(max_size=200) | st.binary(max_size=50).map(lambda rest: b"MSH" + rest))
@example(b"MSH\x80")
@example(b"MSHA")
@example(b"MSH^")
def test_any_bytes_with_a_header_are_read_leniently(data):
    try:
        message = read_leniently(data)
    except MalformedMessage:
        assert not re.search(rb"MSH[|^]", data)
        return
    assert message.segments[0][0] == "MSH"


def test_what_is_not_there_is_empty():
    message = read(HEADER.encode())
    assert message.value("PID", 3) == message.value("MSH", 40) == message.value("MSH", 9, 7) == ""


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="zone"):
        timestamp(datetime(2026, 1, 1))
