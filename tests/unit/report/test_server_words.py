"""What of a server's words is told: on one line, bounded, and nothing of what it was sent."""

import json

import pytest

from orchestrator.report.facts import facts_of
from orchestrator.report.server_words import MAX_CHARACTERS, said_in, tellable
from tests.report_requests import VARIED, request

FACTS = json.dumps(facts_of(request()).document())


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"error": {"message": "No.", "code": "c", "type": "t"}}, "No. (c, t)"),
        ([{"error": {"code": 400, "message": "No.", "status": "INVALID"}}], "No. (INVALID)"),
        ({"error": {"message": "No.", "details": [{"reason": "API_KEY_INVALID"}]}}, "No. (API_KEY_INVALID)"),
        ({"detail": [{"loc": ["body", "x"], "msg": "unknown", "input": 1}]}, "body.x: unknown"),
        ({"error": "model not loaded"}, "model not loaded"),
        ("<html><title> Sign in </title><p>Hello</html>", "Sign in"),
        ("no JSON", "no JSON"),
        (None, ""),
        (7, ""),
    ],
)
def test_the_message_is_found_in_whatever_envelope(body, said):
    assert said_in(body).strip() == said


def test_it_is_one_short_line():
    told = tellable("a\nb\t\x1b[31mc " + "word " * 500, FACTS, "")
    assert told.startswith("a b [31mc word")
    assert len(told) == MAX_CHARACTERS


def test_neither_the_key_nor_a_word_of_the_facts_is_told():
    for asked in VARIED:
        facts = facts_of(asked).document()
        for echo in (json.dumps(facts), json.dumps(facts, ensure_ascii=False), str(facts)):
            told = tellable(f"bad key secret-key: {echo}", json.dumps(facts), "secret-key")
            assert told.startswith("bad key …: ")
            for word in (
                facts["decided"]["class_name"],
                facts["decided"]["label"],
                facts["decided"]["percent"],
            ):
                assert word not in told


def test_a_server_s_own_words_stay_readable():
    said = (
        "Unsupported parameter: 'max_tokens' is not supported with this model; use 'max_completion_tokens'."
    )
    assert tellable(said, FACTS, "") == said
