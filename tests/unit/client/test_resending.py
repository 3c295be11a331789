import pytest

from orchestrator.client.resending import Resending


def test_each_image_is_sent_once_and_in_order():
    resending = Resending(window=3)
    assert [resending.add(image) for image in (b"a", b"b")] == [0, 1]
    assert [resending.take_unsent() for _ in range(3)] == [(0, b"a"), (1, b"b"), None]


def test_an_answer_makes_room_for_another_image():
    resending = Resending(window=1)
    resending.add(b"a")
    assert resending.full
    with pytest.raises(RuntimeError, match="wait for their answers"):
        resending.add(b"b")
    assert resending.answered(0)
    assert resending.add(b"b") == 1


def test_on_a_new_connection_only_what_has_no_answer_is_sent():
    resending = Resending(window=3)
    for image in (b"a", b"b", b"c"):
        resending.add(image)
        resending.take_unsent()
    resending.answered(1)
    resending.begin_again()
    assert [resending.take_unsent() for _ in range(3)] == [(0, b"a"), (2, b"c"), None]


def test_a_second_answer_and_one_that_nobody_asked_for_are_told_apart():
    resending = Resending(window=2)
    resending.add(b"a")
    assert [resending.answered(0), resending.answered(0), resending.answered(7)] == [True, False, False]


def test_a_window_without_room_is_refused():
    with pytest.raises(ValueError, match="window: expected at least 1"):
        Resending(0)
