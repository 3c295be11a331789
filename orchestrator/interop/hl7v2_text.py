r"""The encoding of HL7 v2 messages ("ER7"): delimiters, escapes, and reading what a peer sends.

HL7 v2.5.1, chapter 2.7 (escape sequences) and 2.5 (fields). The delimiters are those that the standard
proposes, ``|^~\&``; what is read may use others, as its first segment says.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from orchestrator.errors import MalformedMessage

SEGMENT_END: Final = "\r"
ENCODING_CHARACTERS: Final = "^~\\&"
NULL: Final = '""'
"""Not an empty text but the order to delete what the receiver has."""

_NAMED: Final = {"|": "F", "^": "S", "&": "T", "~": "R", "\\": "E"}
_CHARSETS: Final = {"": "utf-8", "UNICODE UTF-8": "utf-8", "ASCII": "ascii", "8859/1": "latin-1"}


def escape(text: str) -> str:
    r"""Text as it may stand in a component: delimiters and control characters escaped.

    Line breaks become ``\X0D\`` and ``\X0A\``: a real one would end the segment, and ``\.br\`` is only for
    formatted text. Two quotes alone would be read as HL7's null. Halves of characters (which no encoding can
    carry) become U+FFFD.
    """
    if text == NULL:
        return '\\X22\\"'
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in _NAMED:
        return f"\\{_NAMED[character]}\\"
    point = ord(character)
    if point < 0x20 or point == 0x7F:
        return f"\\X{point:02X}\\"
    return "\ufffd" if 0xD800 <= point < 0xE000 else character


def components(*texts: str) -> str:
    """A field of several components; the empty ones at its end are left out."""
    return "^".join(escape(text) for text in texts).rstrip("^")


def segment(name: str, fields: Sequence[str]) -> str:
    """A segment of encoded fields, the first of which has number 1; empty ones at its end are left out."""
    return "|".join([name, *fields]).rstrip("|")


def timestamp(moment: datetime) -> str:
    """HL7's ``TS`` to the second, with the zone. Raises ``ValueError`` for a time without one."""
    if moment.tzinfo is None:
        raise ValueError(f"expected a time with its zone, received {moment.isoformat()}")
    return moment.strftime("%Y%m%d%H%M%S%z")


@dataclass(frozen=True, slots=True)
class Message:
    """A message that was read. ``segments`` are the fields of each, still encoded; ``[0]`` is the name.

    Of MSH the first field is the delimiter itself, as in the standard, so that ``MSH-10`` has index 10.
    """

    segments: tuple[tuple[str, ...], ...]
    delimiters: str
    """Field, component, repetition, escape and subcomponent separator."""

    def all(self, name: str) -> list[tuple[str, ...]]:
        """The segments of a name, in their order."""
        return [segment for segment in self.segments if segment[0] == name]

    def field(self, name: str, number: int) -> str:
        """A field of the first segment of a name, encoded; empty where there is none."""
        found = self.all(name)
        return at(found[0], number) if found else ""

    def value(self, name: str, number: int, component: int = 1) -> str:
        """A component of a field's first repetition, unescaped."""
        return self.component(self.field(name, number), component)

    def component(self, field: str, number: int = 1) -> str:
        """The component ``number`` (from 1) of an encoded field, unescaped."""
        first = field.split(self.delimiters[2])[0]
        parts = first.split(self.delimiters[1])
        return self.unescape(parts[number - 1]) if number <= len(parts) else ""

    def unescape(self, text: str) -> str:
        """The reverse of :func:`escape`; sequences of formatting and unknown ones stay as they are."""
        mark = re.escape(self.delimiters[3])
        named = dict(zip("FSRET", self.delimiters, strict=True))

        def replaced(found: re.Match[str]) -> str:
            sequence = found[1]
            if sequence in named:
                return named[sequence]
            if re.fullmatch(r"X([0-9A-Fa-f]{2})+", sequence):
                return bytes.fromhex(sequence[1:]).decode("utf-8", errors="replace")
            return found[0]

        return re.sub(f"{mark}([^{mark}]*){mark}", replaced, text)


def at(segment: Sequence[str], number: int) -> str:
    """The field ``number`` of a segment; empty where it ends before."""
    return segment[number] if number < len(segment) else ""


def read(data: bytes) -> Message:
    """Read one message, in the character set that its MSH-18 names (UTF-8 where it names none).

    Line feeds after or instead of carriage returns, which the standard forbids, are forgiven.

    Raises :class:`~orchestrator.errors.MalformedMessage` where it is none.
    """
    header = data[:4096].split(b"\r")[0].split(b"\n")[0]
    if not header.startswith(b"MSH") or len(header) < 8:
        raise MalformedMessage("The message does not begin with a segment MSH.")
    delimiters = header[3:8].decode("latin-1")
    if len(set(delimiters)) != 5 or any(c.isalnum() or c.isspace() for c in delimiters):
        raise MalformedMessage("The message does not name five different delimiters.")
    fields = header.split(header[3:4])
    charset = fields[17].decode("latin-1").split(delimiters[2])[0].strip() if len(fields) > 17 else ""
    if charset not in _CHARSETS:
        raise MalformedMessage("The message is in a character set that is not supported; UTF-8 is.")
    try:
        text = data.decode(_CHARSETS[charset])
    except UnicodeDecodeError as error:
        raise MalformedMessage("The message is not in the character set that it names.") from error
    separator = delimiters[0]
    segments = []
    for line in re.split(r"\r\n?|\n", text):
        if not line:
            continue
        parts = line.split(separator)
        if not re.fullmatch(r"[A-Z][A-Z0-9]{2}", parts[0]):
            raise MalformedMessage("A segment of the message has no name.")
        if parts[0] == "MSH":
            parts.insert(1, separator)
        segments.append(tuple(parts))
    return Message(tuple(segments), delimiters)
