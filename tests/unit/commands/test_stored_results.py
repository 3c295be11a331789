import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.commands.stored_results import MAX_LINE_CHARACTERS, read_results
from orchestrator.errors import ConfigurationError
from orchestrator.model_contract import CLASS_NAMES

RESULT: dict[str, Any] = {
    "file": "a.png",
    "device_state": "known",
    "decision": {"class": "Neutrophil", "confidence": 0.9, "margin": 0.8, "decided_by": "none"},
    "review": {"needed": True, "reasons": [{"code": "blurred", "message": "It is blurred."}]},
    "probabilities": dict(zip(CLASS_NAMES, (0.0, 0.0, 0.1, 0.0, 0.9), strict=True)),
    "aux_neutrophil_probability": 0.9,
    "energy": -3.0,
    "focus": {"ratio": 0.9, "shares": {"nucleus": 0.7, "cytoplasm": 0.2, "background": 0.1}},
    "report": {"text": "Old.", "writer": "rule-based", "language": "tr"},
}


def test_a_line_becomes_the_facts_that_it_was_made_from():
    (stored,) = read_results([json.dumps(RESULT), "\n"], None)
    request = stored.request
    assert request is not None
    assert stored.document == RESULT
    assert (request.finding.class_name, request.finding.confidence) == ("Neutrophil", 0.9)
    assert [reason.code for reason in request.finding.review_reasons] == ["blurred"]
    assert request.focus is not None
    assert (request.focus.focus_ratio, request.focus.shares.nucleus) == (0.9, 0.7)
    assert request.language == "tr"


def test_a_line_of_a_version_that_did_not_ask_for_the_microscope_is_of_an_unknown_one():
    older = {key: value for key, value in RESULT.items() if key != "device_state"}
    (stored,) = read_results([json.dumps(older)], None)
    assert stored.request is not None
    codes = [reason.code for reason in stored.request.finding.review_reasons]
    assert codes == ["blurred", "device_unknown"]


def test_the_language_may_be_chosen():
    (stored,) = read_results([json.dumps({**RESULT, "focus": None, "report": None})], "en")
    assert stored.request is not None
    assert (stored.request.language, stored.request.focus) == ("en", None)


def test_a_line_that_tells_an_error_is_kept_and_has_nothing_to_write_about():
    document = {"file": "b.png", "error": "The file is truncated."}
    (stored,) = read_results([json.dumps(document)], None)
    assert (stored.document, stored.request) == (document, None)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not JSON"),
        ("[]", "line 2"),
        (json.dumps({**RESULT, "decision": {"class": "Blast", "decided_by": "none"}}), "decision.class"),
        (json.dumps({**RESULT, "probabilities": {"Neutrophil": 1.0}}), "probabilities"),
        (json.dumps({**RESULT, "probabilities": dict.fromkeys(CLASS_NAMES, 0.9)}), "sum to 1"),
        (json.dumps({**RESULT, "energy": float("nan")}), "energy"),
        (json.dumps({k: v for k, v in RESULT.items() if k != "review"}), "review"),
        (json.dumps({**RESULT, "device_state": "trusted"}), "device_state"),
        ("[" * 100_000, "line 2"),
        ("9" * 5000, "line 2"),
        (" " + "x" * MAX_LINE_CHARACTERS, "characters"),
    ],
)
def test_what_is_no_result_is_told_with_its_line(line, why):
    with pytest.raises(ConfigurationError, match=f"line 2.*{why}|{why}"):
        list(read_results([json.dumps(RESULT), line], None))


@given(st.text())
def test_any_text_is_a_result_or_an_error_that_a_person_can_mend(text):
    if text.strip():
        with pytest.raises(ConfigurationError, match="line 1 is no result"):
            list(read_results([text], None))
