"""Finds the JSON object in what a model wrote: bare, fenced, after its thoughts, or among prose."""

import json
import re
from typing import Any, Final

_THOUGHTS: Final = re.compile(r"<(think|thinking|thought|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_END_OF_THOUGHTS: Final = re.compile(r"</think(?:ing)?>", re.IGNORECASE)
_DECODER: Final = json.JSONDecoder()
_MAX_CHARACTERS: Final = 200_000
_MAX_TRIES: Final = 100
"""Opening braces that are looked at: the work is bounded whatever a model writes."""


def text_of(content: object) -> str:
    """The text of a message's content: text, or a list of parts, of which those of thoughts are left out."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    parts = [
        part if isinstance(part, dict) else vars(part) if hasattr(part, "__dict__") else {}
        for part in content
    ]
    return "".join(
        str(part["text"])
        for part in parts
        if part.get("type") in ("text", "output_text", None) and part.get("text")
    )


def without_thoughts(text: str) -> str:
    """What stands behind the thoughts that a model wrote into its answer."""
    text = _THOUGHTS.sub("", text[:_MAX_CHARACTERS])
    # Some templates write the opening tag themselves, so that only the closing one is answered.
    return _END_OF_THOUGHTS.split(text)[-1]


def object_in(text: str) -> str | None:
    """The last JSON object that is not part of another, as it stands there; None where there is none."""
    text = without_thoughts(text)
    found: str | None = None
    at = text.find("{")
    for _ in range(_MAX_TRIES):
        if at < 0:
            break
        end = _end_of_object(text, at)
        if end is not None:
            found = text[at:end]
        at = text.find("{", at + 1 if end is None else end)
    return found


def _end_of_object(text: str, start: int) -> int | None:
    try:
        value: tuple[Any, int] = _DECODER.raw_decode(text, start)
    except (ValueError, RecursionError):
        return None
    return value[1]
