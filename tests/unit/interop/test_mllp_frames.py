from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.interop.mllp_frames import Framer, FrameTooLarge, frame

MESSAGES = st.lists(st.binary(max_size=40).map(lambda data: data.translate(None, b"\x0b\x1c")), max_size=5)
GARBAGE = st.binary(max_size=10).map(lambda data: data.translate(None, b"\x0b"))


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


@given(MESSAGES, st.lists(GARBAGE, min_size=6, max_size=6), st.lists(st.integers(0, 500)))
def test_messages_come_out_however_the_stream_is_cut_and_whatever_stands_between(messages, garbage, cuts):
    stream = garbage[0]
    for message, between in zip(messages, garbage[1:], strict=False):
        stream += frame(message) + between
    framer = Framer()
    found = [message for piece in pieces(stream, cuts) for message in framer.feed(piece)]
    assert found == messages


@given(st.binary(max_size=300), st.lists(st.integers(0, 500)))
def test_any_stream_gives_the_same_in_one_packet_and_in_many(stream, cuts):
    whole, parts = Framer(), Framer()
    rest = b"rest" + frame(b"next")
    assert whole.feed(stream) == [m for piece in pieces(stream, cuts) for m in parts.feed(piece)]
    assert whole.feed(rest) == parts.feed(rest)


def test_two_messages_in_one_packet_and_half_of_a_third():
    framer = Framer()
    assert framer.feed(frame(b"one") + frame(b"two") + b"\x0bthr") == [b"one", b"two"]
    assert framer.feed(b"ee\x1c") == [b"three"]  # the carriage return may come later, or never
    assert framer.feed(b"\r" + frame(b"four")) == [b"four"]


def test_what_stands_outside_of_frames_is_dropped():
    assert Framer().feed(b"noise\x1c\r" + frame(b"one")) == [b"one"]


def test_a_message_that_begins_anew_replaces_the_one_that_was_cut():
    assert Framer().feed(b"\x0bcut in the mid" + frame(b"whole")) == [b"whole"]


def test_a_message_may_be_as_long_as_allowed_and_not_longer():
    assert Framer(max_bytes=5).feed(frame(b"12345")) == [b"12345"]
    with pytest.raises(FrameTooLarge, match="5 bytes"):
        Framer(max_bytes=5).feed(frame(b"123456"))


def test_an_endless_message_is_given_up_before_it_fills_the_memory():
    framer = Framer(max_bytes=1000)
    for packet in [b"\x0b", *[b"x" * 100] * 10]:
        assert framer.feed(packet) == []
    with pytest.raises(FrameTooLarge):
        framer.feed(b"x")


@pytest.mark.parametrize("mark", [b"\x0b", b"\x1c"])
def test_a_message_with_a_mark_of_frames_is_not_framed(mark):
    with pytest.raises(ValueError, match="without"):
        frame(b"a" + mark)
