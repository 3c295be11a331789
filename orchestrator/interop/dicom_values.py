"""What of another system's text an element of DICOM can hold (PS3.5, table 6.2-1); empty where it is nothing.

Names and descriptions are shortened and lose characters that divide values. An identifier is taken as it is,
or not at all: a changed one may be another's.
"""

import re
from datetime import datetime
from typing import Final

_MAX_SHORT: Final = 16
_MAX_LONG: Final = 64
"""Characters of the value representations SH and LO, and of each group of PN."""

_TIME: Final = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
_OFFSET: Final = re.compile(r"[+-](0\d|1[0-4])[0-5]\d")
_AGE: Final = re.compile(r"\d{3}[DWMY]")
_SEX: Final = re.compile(r"[MFO]")


def unlimited(text: str) -> str:
    """Text of any length (UT) in one line: control characters become spaces."""
    return "".join(c if c.isprintable() else " " for c in text).strip()


def description(text: str) -> str:
    """LO."""
    return _short(text, "\\")


def name_part(text: str, at_most: int = _MAX_LONG) -> str:
    """One component of a name."""
    return _short(text, "\\^=", at_most)


def name(text: str) -> str:
    """PN as another system wrote it: up to five components, in up to three scripts."""
    return "=".join(_short("^".join(group.split("^")[:5]), "\\") for group in text.split("=")[:3])


def short_identifier(text: str) -> str:
    """SH."""
    return _identifier(text, _MAX_SHORT)


def long_identifier(text: str) -> str:
    """LO."""
    return _identifier(text, _MAX_LONG)


def date(text: str) -> str:
    """DA: a day that there is."""
    text = text.strip()
    try:
        datetime.strptime(text, "%Y%m%d")
    except ValueError:
        return ""
    return text if len(text) == 8 else ""


def time(text: str) -> str:
    """TM."""
    return _matching(_TIME, text)


def offset(text: str) -> str:
    """Of a time zone from UTC: ``+0300``."""
    return _matching(_OFFSET, text)


def age(text: str) -> str:
    """AS."""
    return _matching(_AGE, text)


def sex(text: str) -> str:
    """One of the three that PatientSex knows."""
    return _matching(_SEX, text)


def _short(text: str, dividing: str, at_most: int = _MAX_LONG) -> str:
    return unlimited("".join(" " if c in dividing else c for c in text))[:at_most].strip()


def _identifier(text: str, at_most: int) -> str:
    text = text.strip(" ")
    return text if len(text) <= at_most and text.isprintable() and "\\" not in text else ""


def _matching(pattern: re.Pattern[str], text: str) -> str:
    return text.strip() if pattern.fullmatch(text.strip()) else ""
