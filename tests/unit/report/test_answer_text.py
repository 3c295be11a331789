"""Where the JSON object is in what a model wrote; what it is worth is the guard's business."""

import pytest

from orchestrator.report.answer_text import object_in, text_of, without_thoughts

OBJECT = '{"class": "Monocyte", "text": "A {brace} in it."}'


@pytest.mark.parametrize(
    "text",
    [
        OBJECT,
        f"```json\n{OBJECT}\n```",
        f"Of {{course}}: {OBJECT} Anything else?",
        f'<think>{{"class": "Basophil"}}</think>{OBJECT}',
        f'{{"class": "Basophil"}} is wrong.</think>\n{OBJECT}',
        f"<THINKING>hm</THINKING> {OBJECT}",
    ],
)
def test_the_object_is_found(text):
    assert object_in(text) == OBJECT


@pytest.mark.parametrize("text", ["", "No.", OBJECT[:-2], f"<think>{OBJECT}", "{" * 5000, "[1, 2]"])
def test_where_there_is_none_none_is_found(text):
    assert object_in(text) is None


def test_thoughts_without_an_end_are_thoughts_to_the_end():
    assert without_thoughts("<think>It is clear").strip() == ""


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a", "a"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab"),
        ([{"type": "thinking", "thinking": "x"}, {"type": "text", "text": "a"}, 7], "a"),
        (None, ""),
        (7, ""),
    ],
)
def test_content_may_be_text_or_parts(content, text):
    assert text_of(content) == text
