"""What a server said about why it does not write: in its own words, as far as these may be told."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final

MAX_CHARACTERS: Final = 200

_ELIDED: Final = "…"
_TITLE: Final = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
_TAG: Final = re.compile(r"<(script|style)\b.*?</\1|<[^>]*>", re.IGNORECASE | re.DOTALL)
_TOKEN: Final = re.compile(r"[\w\\]+(?:[.,]+[\w\\]+)*")
_MAX_READ: Final = 4000
"""Characters of what was said that are looked at."""


def said_in(body: object) -> str:
    """The message in the body of an answer: JSON as OpenAI, Google, FastAPI and others send it, HTML, text.

    It may repeat what was sent.
    """
    match body:
        case str():
            page = body[:_MAX_READ]
            title = _TITLE.search(page)
            return title[1].strip() if title and title[1].strip() else _TAG.sub(" ", page)
        case {"error": dict() | str() | list() as error}:
            return said_in(error)
        case dict():
            message = next((body[key] for key in ("message", "detail", "msg") if body.get(key)), "")
            marks = [body.get("code"), body.get("status"), body.get("type"), *_marks(body.get("details"))]
            where = body.get("loc")
            named = [str(mark) for mark in marks if isinstance(mark, str) and mark]
            told = said_in(message) + (f" ({', '.join(named)})" if named else "")
            return f"{'.'.join(map(str, where))}: {told}" if isinstance(where, list) else told
        case [*parts]:
            return "; ".join(said_in(part) for part in parts)
    return ""


def _marks(details: object) -> list[object]:
    """Google's ``ErrorInfo`` says in its reason what the message may not."""
    return (
        [d["reason"] for d in details if isinstance(d, dict) and "reason" in d]
        if isinstance(details, list)
        else []
    )


def tellable(said: str, facts: str, key: str) -> str:
    """``said`` on one line, cut to :data:`MAX_CHARACTERS`, without the key and without any word or number of
    the facts (a JSON document) that were sent."""
    sent = set(_tokens(json.loads(facts)))
    text = said[:_MAX_READ].replace(key, _ELIDED) if key else said[:_MAX_READ]
    text = _TOKEN.sub(lambda found: _ELIDED if _is_sent(found[0], sent) else found[0], text)
    text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}{_ELIDED}"


def _is_sent(token: str, sent: set[str]) -> bool:
    return token.casefold() in sent or "\\u" in token  # an escape hides the word that it is part of


def _tokens(value: Any) -> Iterator[str]:
    match value:
        case dict():
            for one in value.values():
                yield from _tokens(one)
        case list():
            for one in value:
                yield from _tokens(one)
        case str():
            # Short words are everybody's: without "is" and "not" a message says nothing.
            yield from (t for t in map(str.casefold, _TOKEN.findall(value)) if len(t) > 3 or t[0].isdigit())
        case bool() | None:
            pass
        case _:
            yield str(value)
