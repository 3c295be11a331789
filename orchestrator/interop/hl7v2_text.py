r"""The encoding of HL7 v2 messages ("ER7"): delimiters, escapes, and reading what a peer sends.

HL7 v2.5.1, chapter 2.7 (escape sequences) and 2.5 (fields). The delimiters are those that the standard
proposes, ``|^~\&``; what is read may use others, as its first segment says.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from orchestrator.errors import MalformedMessage, UnsayableText

SEGMENT_END: Final = "\r"
ENCODING_CHARACTERS: Final = "^~\\&"
NULL: Final = '""'
"""Not an empty text but the order to delete what the receiver has."""

_NAMED: Final = {"|": "F", "^": "S", "&": "T", "~": "R", "\\": "E"}
_TURNING: Final = frozenset(
    "\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
"""Separators of lines and paragraphs, and marks of direction."""

_CHARSETS: Final = {
    "": "utf-8",
    "UNICODE UTF-8": "utf-8",
    "UTF-8": "utf-8",
    "ASCII": "ascii",
    **{f"8859/{part}": f"iso8859_{part}" for part in (*range(1, 10), 15)},
}
"""Of HL7 table 0211, by MSH-18, those that are read; ``UTF-8`` is a name that many use."""

_WIDE: Final = ("utf-32-le", "utf-32-be", "utf-16-le", "utf-16-be")
_NAME: Final = re.compile(r"[A-Z][A-Z0-9]{2}")


def escape(text: str) -> str:
    r"""Text as it may stand in a component: delimiters and control characters escaped.

    Line breaks become ``\X0D\`` and ``\X0A\``: a real one would end the segment, and ``\.br\`` is only for
    formatted text. So do all that some reader takes for one (U+0085, U+2028), and marks that turn the
    direction of what follows, in UTF-8. Two quotes alone would be read as HL7's null. Halves of characters
    (which no encoding can carry) become U+FFFD.
    """
    if text == NULL:
        return '\\X22\\"'
    return "".join(_escaped(character) for character in text)


def _escaped(character: str) -> str:
    if character in _NAMED:
        return f"\\{_NAMED[character]}\\"
    point = ord(character)
    if point < 0x20 or 0x7F <= point < 0xA0 or character in _TURNING:
        return f"\\X{character.encode().hex().upper()}\\"
    return "\ufffd" if 0xD800 <= point < 0xE000 else character


def components(*texts: str) -> str:
    """A field of several components; the empty ones at its end are left out."""
    return "^".join(escape(text) for text in texts).rstrip("^")


def segment(name: str, fields: Sequence[str]) -> str:
    """A segment of encoded fields, the first of which has number 1; empty ones at its end are left out."""
    return "|".join([name, *fields]).rstrip("|")


CharacterSet = Literal["UTF-8", "8859/9", "8859/15"]

_NAMES_OF_SETS: Final[dict[CharacterSet, str]] = {"UTF-8": "UNICODE UTF-8"}
_CHARACTER_SET_FIELD: Final = 18


def encoded(header: Sequence[str], body: Sequence[str], character_set: CharacterSet = "UTF-8") -> bytes:
    """A message of the fields of MSH (the first is MSH-2) and its other segments.

    MSH-18 has a value only where the message is not ASCII, as some receivers know no other.

    Raises :class:`~orchestrator.errors.UnsayableText` where the character set lacks a character.
    """
    fields = [*header, *[""] * (_CHARACTER_SET_FIELD - 1 - len(header))]
    if not all(text.isascii() for text in (*header, *body)):
        fields[_CHARACTER_SET_FIELD - 2] = _NAMES_OF_SETS.get(character_set, character_set)
    lines = [segment("MSH", fields), *body]
    try:
        return SEGMENT_END.join([*lines, ""]).encode(_CHARSETS[character_set])
    except UnicodeEncodeError as error:
        name = error.object[: error.start].rpartition(SEGMENT_END)[2][:3]
        point = ord(error.object[error.start])
        raise UnsayableText(
            f"The segment {name} holds the character U+{point:04X}, which the character set {character_set} "
            "lacks; UTF-8 has it (WBC_INTEROP__CHARACTER_SET)."
        ) from error


def sayable(text: str, character_set: CharacterSet) -> str:
    """The text with each character that the set lacks told by its code point, such as ``[U+1FA78]``."""
    charset = _CHARSETS[character_set]
    return "".join(one if one.encode(charset, "ignore") else f"[U+{ord(one):04X}]" for one in text)


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
    segments = []
    for parts in _split(text, delimiters[0]):
        if not _NAME.fullmatch(parts[0]):
            raise MalformedMessage("A segment of the message has no name.")
        segments.append(parts)
    return Message(tuple(segments), delimiters)


def read_leniently(data: bytes) -> Message:
    """Read what a peer answers, of which a person should see as much as can be: what cannot be decoded is
    shown with U+FFFD, an unknown character set is read as UTF-8, and what is no segment is left out.

    Names and codes are ASCII in every character set of HL7 table 0211 but UTF-16 and UTF-32.

    Raises :class:`~orchestrator.errors.MalformedMessage` where there is no segment MSH.
    """
    wide = next((codec for codec in _WIDE if "MSH".encode(codec) in data), None)
    text = data.decode(wide or "latin-1", errors="replace")
    found = re.search(r"MSH(?=[!-/:-@\[-`{-~])", text)  # a separator is a sign of ASCII
    if found is None:
        raise MalformedMessage("The answer has no segment MSH.")
    begin = found.start()
    header = re.split(r"[\r\n]", text[begin:], maxsplit=1)[0]
    delimiters = header[3:8]
    if len(set(delimiters)) != 5 or any(c.isalnum() or c.isspace() for c in delimiters):
        delimiters = header[3] + ENCODING_CHARACTERS
    if wide is None:
        fields = header.split(delimiters[0])
        named = fields[17].split(delimiters[2])[0].strip() if len(fields) > 17 else ""
        codec = _CHARSETS.get(named, "utf-8")
        before, text = _decoded(data[:begin], codec), _decoded(data[begin:], codec)
    else:
        before, text = text[:begin], text[begin:]
    lines = [*_split(before, delimiters[0]), *_split(text, delimiters[0])]
    return Message(tuple(parts for parts in lines if _NAME.fullmatch(parts[0])), delimiters)


def _decoded(data: bytes, codec: str) -> str:
    """In the character set that is named, or in UTF-8 where it is in that; else with replacements."""
    for one in (codec, "utf-8"):
        try:
            return data.decode(one)
        except UnicodeDecodeError:
            continue
    return data.decode(codec, errors="replace")


def _split(text: str, separator: str) -> Iterator[tuple[str, ...]]:
    """The segments of a message, whichever way its lines end."""
    for line in re.split(r"\r\n?|\n", text):
        if not line:
            continue
        parts = line.split(separator)
        if parts[0] == "MSH":
            parts.insert(1, separator)
        yield tuple(parts)
