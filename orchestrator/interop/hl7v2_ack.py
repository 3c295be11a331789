"""Acknowledgements of HL7 v2: what a receiver says of a message (chapter 2.9, table 0008)."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from orchestrator.errors import MalformedMessage
from orchestrator.interop.hl7v2_text import (
    ENCODING_CHARACTERS,
    Message,
    at,
    components,
    encoded,
    escape,
    segment,
    timestamp,
)

Code = Literal["AA", "AE", "AR", "CA", "CE", "CR"]

ACCEPTED: Final = frozenset({"AA", "CA"})
"""The message arrived for good."""

COMMITTED: Final = "CA"
"""It is kept safely, and is not to be sent again; whether its content is accepted is told later."""

REFUSED: Final = frozenset({"AE", "CE"})
"""It holds an error; sent again it would hold it still."""

REJECTED: Final = frozenset({"AR", "CR"})
"""For reasons that are not its content's (2.9.2.2): the receiver, or the processing id or the version."""

_BY_WEIGHT: Final = ("AE", "CE", "AR", "CR", "CA", "AA")
"""The first of what an answer says decides."""

_PADDING: Final = "".join(map(chr, range(0x21)))

_ERROR: Final = "207^Application internal error^HL70357"
"""Of table 0357, the one that fits every reason; ERR-8 tells which."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """What MSA says: its ``code``, the ``control_id`` of the message meant (empty where none is named), and a
    text for people."""

    code: str
    control_id: str
    text: str

    @classmethod
    def of(cls, message: Message, control_id: str = "") -> "Acknowledgement":
        """By MSA-1 and MSA-2 alone, whatever else there is.

        Of several MSA those about the message ``control_id`` count, and of these the worst.

        Raises :class:`~orchestrator.errors.MalformedMessage` where the message is no acknowledgement.
        """
        said = [(_bare(at(one, 1)).upper(), _bare(at(one, 2)), one) for one in message.all("MSA")]
        known = [one for one in said if one[0] in _BY_WEIGHT]
        if not known:
            words = "; ".join(dict.fromkeys(filter(None, map(str.strip, _error_words(message)))))
            raise MalformedMessage(
                f"The answer has no segment MSA with a known code{f'; it says: {words}' if words else ''}."
            )
        meant = [one for one in known if message.unescape(one[1]) in ("", control_id)]
        code, named, msa = min(meant or known, key=lambda one: _BY_WEIGHT.index(one[0]))
        components_by = message.delimiters[1]
        said_of_it = [message.unescape(at(msa, 3)), _words(message, at(msa, 6).split(components_by))]
        texts = [*said_of_it, *_error_words(message)]
        told = dict.fromkeys(text.strip() for text in texts if text.strip())
        return cls(code, message.unescape(named), "; ".join(told))


def _bare(value: str) -> str:
    """A value without what some pad it with: spaces, zeros and other control characters."""
    return value.strip(_PADDING)


def _error_words(message: Message) -> Iterator[str]:
    """The reasons in the segments ERR, wherever the versions put them."""
    components_by, repetitions_by, subcomponents_by = (message.delimiters[n] for n in (1, 2, 4))
    for error in message.all("ERR"):
        yield message.component(at(error, 8))
        yield message.component(at(error, 7))
        yield _words(message, at(error, 3).split(components_by))
        for place in at(error, 1).split(repetitions_by):  # of versions before 2.5
            for code_of_error in place.split(components_by)[3:4]:
                yield _words(message, code_of_error.split(subcomponents_by))


def _words(message: Message, coded: Sequence[str]) -> str:
    """Of a coded element its text, or else its code."""
    return message.unescape(coded[1] if len(coded) > 1 and coded[1] else coded[0])


def acknowledge(message: Message, code: Code, now: datetime, text: str = "") -> bytes:
    """The answer to a message: sender and receiver change places, MSA-2 repeats its control id.

    Anything but ``AA`` and ``CA`` gets an ERR segment with the text.
    """
    trigger = message.value("MSH", 9, 2)
    fields = [
        ENCODING_CHARACTERS,
        *(escape(message.value("MSH", number)) for number in (5, 6, 3, 4)),
        timestamp(now),
        "",
        components("ACK", trigger, "ACK"),
        escape(message.value("MSH", 10)),
        escape(message.value("MSH", 11)) or "P",
        escape(message.value("MSH", 12)) or "2.5.1",
    ]
    lines = [segment("MSA", [code, escape(message.value("MSH", 10))])]
    if code not in ACCEPTED:
        lines.append(segment("ERR", ["", "", _ERROR, "E", "", "", "", escape(text)]))
    return encoded(fields, lines)
