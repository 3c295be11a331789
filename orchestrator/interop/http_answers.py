"""What a server's answer says to a person: its reasons, wherever the standards put them, or what it is.

FHIR R4 OperationOutcome; problem documents (RFC 9457); ``Location`` and ``text/plain`` of HTTP itself; the
warning of PS3.18. Nothing that came is repeated at length.
"""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any, Final
from urllib.parse import urlsplit

from orchestrator.interop.http_peer import Answer

NO_REASON: Final = "no reason was given"

MAX_TOLD: Final = 500
"""Characters of a peer's reasons that are repeated to a person."""

_FIRST_WORDS: Final = 160
_HARMLESS: Final = frozenset({"warning", "information", "success"})
"""Severities of issues, the last by R5."""


def document_of(answer: Answer) -> Any:
    """The JSON of its body; None where that is none."""
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        return None


def reason_of(answer: Answer) -> str:
    """Why a server did not take what was sent."""
    document = document_of(answer)
    said = (
        _place(answer)
        or outcome_words(document)
        or _xml_words(answer)
        or _problem_words(document)
        or first_words(_line(answer), MAX_TOLD)
        or first_words(answer.headers.get("Warning", ""))
    )
    return said or NO_REASON


def what_came(answer: Answer) -> str:
    """An answer that is not what the standard defines, such as the page of a proxy that wants a sign-in."""
    if place := _place(answer):
        return f"{answer.status}, {place}"
    if not answer.body:
        return f"{answer.status} without a body"
    kind = first_words(_media_type(answer)) or "no media type"
    said = outcome_words(document_of(answer)) or _xml_words(answer) or first_words(_line(answer))
    return f'{answer.status} with {kind}, "{said}"' if said else f"{answer.status} with {kind}"


def first_words(text: str, longest: int = _FIRST_WORDS) -> str:
    """The beginning of a text in one line."""
    words = " ".join(text.split())
    return words if len(words) <= longest else f"{words[: longest - 1]}…"


def outcome_words(document: Any) -> str:
    """What an OperationOutcome says; empty where it is none.

    Of each issue its own words, or else its code; the narrative where no issue has words.
    """
    if not isinstance(document, dict) or not isinstance(document.get("issue"), list):
        return ""
    issues = [issue for issue in document["issue"] if isinstance(issue, dict)]
    worded = [" ".join(dict.fromkeys(_issue_words(issue))) for issue in issues]
    codes = [_text(issue.get("code")) for issue in issues]
    told = [words or code for words, code in zip(worded, codes, strict=True)]
    if not any(worded):
        told.append(_without_tags(_text(_dict(document.get("text")).get("div"))))
    return first_words("; ".join(dict.fromkeys(text for text in told if text)), MAX_TOLD)


def is_success(document: Any) -> bool:
    """Whether an OperationOutcome tells of nothing worse than a warning, and tells of something."""
    issues = document.get("issue") if isinstance(document, dict) else None
    if not isinstance(issues, list) or not issues:
        return False
    return all(_text(_dict(issue).get("severity")) in _HARMLESS for issue in issues)


def _issue_words(issue: dict[str, Any]) -> Iterator[str]:
    details = _dict(issue.get("details"))
    found = details.get("coding")
    codings = [_dict(coding) for coding in found] if isinstance(found, list) else []
    coded = "; ".join(filter(None, (_text(one.get("display")) or _text(one.get("code")) for one in codings)))
    if described := _text(details.get("text")) or coded:
        yield described
    if diagnostics := _text(issue.get("diagnostics")):
        yield diagnostics


def _problem_words(document: Any) -> str:
    """The detail of a problem document, or else its title."""
    problem = _dict(document)
    return first_words(_text(problem.get("detail")) or _text(problem.get("title")), MAX_TOLD)


def _xml_words(answer: Answer) -> str:
    """What an OperationOutcome in XML says, which some servers answer whatever is asked for: its words are
    attributes. Its texts, or else its codes."""
    text = answer.body.decode("utf-8", errors="replace")
    if not re.match(r"(?s).{0,1000}<(?:\w+:)?OperationOutcome\b", text):
        return ""
    for names in ("diagnostics|display|text", "code"):
        values = re.findall(rf"""<(?:\w+:)?(?:{names})\s[^<>]*?value\s*=\s*(?:"([^"<]*)"|'([^'<]*)')""", text)
        if told := dict.fromkeys(filter(None, (unescape(a or b).strip() for a, b in values))):
            return first_words("; ".join(told), MAX_TOLD)
    return ""


def _place(answer: Answer) -> str:
    """Where a redirection points to, without what may be a secret in it."""
    if not 300 <= answer.status < 400:
        return ""
    try:
        parts = urlsplit(answer.headers.get("Location", ""))
    except ValueError:
        parts = urlsplit("")
    host = parts.netloc.rpartition("@")[2]
    place = first_words(f"{parts.scheme}://{host}{parts.path}" if host else parts.path)
    return f"it points to {place}, which is not followed" if place else "it points to no place"


def _line(answer: Answer) -> str:
    """The first line of a text; of a page what a person would read."""
    text = answer.body.decode("utf-8", errors="replace")
    media_type = _media_type(answer)
    if media_type == "text/plain":
        return next((line for line in text.splitlines() if line.strip()), "")
    return _without_tags(text) if "html" in media_type or text.lstrip().startswith("<") else text


def _without_tags(text: str) -> str:
    return unescape(re.sub(r"(?is)<(script|style)\b.*?</\1\s*>|<[^>]*>", " ", text))


def _media_type(answer: Answer) -> str:
    return answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
